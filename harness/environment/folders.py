"""Folders outside a run: what is worth keeping between runs, per user."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from harness.environment.failures import EnvironmentFailed


def cache_folder(*parts: str) -> Path:
    """A folder that survives runs (made if need be): in the user's cache, or under /tmp for a user without a home."""
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    for base in (Path(home) / "gauntlet", Path(f"/tmp/gauntlet-cache-{os.getuid()}")):
        try:
            base.mkdir(mode=0o700, parents=True, exist_ok=True)
            folder = base.joinpath(*parts)
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError:
            continue
        if _is_private(base) and os.access(folder, os.W_OK):
            return folder
    raise EnvironmentFailed(f"neither {home} nor /tmp lets user {os.getuid()} keep a folder; set XDG_CACHE_HOME")


def _is_private(folder: Path) -> bool:
    """In /tmp anyone may have made the folder before us: a foreign one could plant programs and passwords."""
    found = folder.lstat()
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & stat.S_IWOTH
