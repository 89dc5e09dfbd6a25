"""Reading the catalogue of seeded bugs and planting one into a copy of the system under test.

A bug is a few exact text edits. The tree itself is never touched, and the system contains no switch for any bug.
"""

from __future__ import annotations

import shutil
import tomllib
from pathlib import Path

import msgspec

CATALOGUE = Path(__file__).with_name("catalogue.toml")


class CatalogueError(Exception):
    """The catalogue is unreadable, names no such bug, or is stale: its text no longer stands in the system once."""


class Edit(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Replace ``old``, which occurs exactly once in ``file``, by ``new``."""

    file: str
    old: str
    new: str


class Bug(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A planted bug: its story and source, the properties that may convict it, the scenario that should find it."""

    name: str
    story: str
    source: str
    expect: tuple[str, ...]
    scenario: str
    edit: tuple[Edit, ...]


def load_catalogue(path: Path = CATALOGUE) -> dict[str, Bug]:
    """All bugs by id. Raises CatalogueError with file and place."""
    try:
        return msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), dict[str, Bug])
    except (OSError, tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise CatalogueError(f"{path}: {error}") from error


def plant(bug: Bug, source_root: Path, destination: Path) -> Path:
    """Copy ``system_under_test`` from ``source_root`` to ``destination`` with the bug in it; the new source root.

    Raises CatalogueError when an edit is stale; nothing is copied then.
    """
    edited = {edit.file: "" for edit in bug.edit}
    for name in edited:
        text = _read(source_root / name)
        for edit in (edit for edit in bug.edit if edit.file == name):
            found = text.count(edit.old)
            if found != 1:
                first = edit.old.strip().splitlines()[0] if edit.old.strip() else "(empty)"
                raise CatalogueError(
                    f"stale: {bug.name}: {name} holds {found} times, expected once, the text that begins {first!r}"
                )
            text = text.replace(edit.old, edit.new)
        edited[name] = text
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(source_root / "system_under_test", destination / "system_under_test", ignore=ignored)
    for name, text in edited.items():
        (destination / name).write_text(text, encoding="utf-8")
    return destination


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise CatalogueError(f"stale: {error}") from error
