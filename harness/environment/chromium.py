"""A browser for those who look at pages by themselves: optional on a machine, as a stack needs none."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

PACKAGE = "chromium"
VARIABLE = "GAUNTLET_CHROMIUM"
_NAMES = ("chromium", "chromium-browser", "google-chrome")


def program() -> Path | None:
    """Where it is: the file that GAUNTLET_CHROMIUM names, or the first on the PATH; None, if it is nowhere."""
    if named := os.environ.get(VARIABLE):
        return Path(named) if os.access(named, os.X_OK) else None
    return next((Path(place) for name in _NAMES if (place := shutil.which(name))), None)
