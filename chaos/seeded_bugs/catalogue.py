"""Reading a catalogue of seeded bugs and planting one into a copy of the code that it is a bug of.

There are two catalogues: bugs of the system under test, and bugs of those who judge it. A bug is a few exact text
edits. The tree itself is never touched, and the code contains no switch for any bug.
"""

from __future__ import annotations

import shutil
import tomllib
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

CATALOGUE = Path(__file__).with_name("catalogue.toml")
CHECKERS = Path(__file__).with_name("checkers.toml")
"""Bugs of the checks and of the trace: here, ``scenario`` names files of tests."""

SYSTEM = ("system_under_test",)
PROJECT = (
    "chaos", "cli", "conftest.py", "docs", "harness", "pyproject.toml", "reports", "scenarios", *SYSTEM, "targets",
    "tests",
)  # fmt: skip
"""All that the project's own tests need."""
_NOT_COPIED = shutil.ignore_patterns("__pycache__", ".hypothesis", ".*_cache")


class CatalogueError(Exception):
    """The catalogue is unreadable, names no such bug, or is stale: its text no longer stands in the system once."""


class Edit(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Replace ``old``, which occurs exactly once in ``file``, by ``new``."""

    file: str
    old: str
    new: str


class Bug(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A planted bug: its story and source, the properties that may convict it, the scenario that should find it.

    ``slow``: that scenario waits to the end of its patience for what this bug withholds: too long for a gate.
    """

    name: str
    story: str
    source: str
    expect: tuple[str, ...]
    scenario: str
    edit: tuple[Edit, ...]
    slow: bool = False


def load_catalogue(path: Path = CATALOGUE) -> dict[str, Bug]:
    """All bugs by id. Raises CatalogueError with file and place."""
    try:
        return msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), dict[str, Bug])
    except (OSError, tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise CatalogueError(f"{path}: {error}") from error


def plant(bug: Bug, source_root: Path, destination: Path, parts: Sequence[str] = SYSTEM) -> Path:
    """Copy these parts of ``source_root`` to ``destination`` with the bug in them; the new source root.

    Raises CatalogueError when an edit is stale; nothing is copied then.
    """
    edited = {edit.file: _read(source_root / edit.file) for edit in bug.edit}
    for edit in bug.edit:
        if Path(edit.file).parts[0] not in parts or ".." in Path(edit.file).parts:
            raise CatalogueError(f"stale: {bug.name}: {edit.file} is in none of {', '.join(parts)}")
        found = edited[edit.file].count(edit.old)
        if found != 1:
            first = edit.old.strip().splitlines()[0] if edit.old.strip() else "(empty)"
            raise CatalogueError(
                f"stale: {bug.name}: {edit.file} holds {found} times, expected once, the text that begins {first!r}"
            )
        edited[edit.file] = edited[edit.file].replace(edit.old, edit.new)
    copy(source_root, destination, parts)
    for name, text in edited.items():
        (destination / name).write_text(text, encoding="utf-8")
    return destination


def copy(source_root: Path, destination: Path, parts: Iterable[str]) -> None:
    """The same code elsewhere: these folders and files, without what was made of them."""
    destination.mkdir(parents=True, exist_ok=True)
    for part in parts:
        original = source_root / part
        if original.is_dir():
            shutil.copytree(original, destination / part, ignore=_NOT_COPIED)
        else:
            shutil.copy2(original, destination / part)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise CatalogueError(f"stale: {error}") from error
