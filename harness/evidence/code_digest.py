"""Which code took part in a run: two runs with the same digest ran the same."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

from harness.target import PROJECT_ROOT

_OURS = ("chaos", "harness", "scenarios", "targets")
_SYSTEM = "system_under_test"


def code_digest(source_root: Path = PROJECT_ROOT) -> str:
    """A digest of all that takes part in a run. ``source_root``: the folder that holds the system's code."""
    digest = hashlib.sha256()
    for root, path in _files(source_root):
        digest.update(str(path.relative_to(root)).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:12]


def _files(source_root: Path) -> Iterator[tuple[Path, Path]]:
    """Each with the folder that its name counts from, always in the same order."""
    for root, package in [*((PROJECT_ROOT, package) for package in _OURS), (source_root, _SYSTEM)]:
        found = (path for path in (root / package).rglob("*") if path.suffix in (".py", ".sql", ".toml"))
        yield from ((root, path) for path in sorted(found) if path.is_file())
    yield PROJECT_ROOT, PROJECT_ROOT / "conftest.py"
