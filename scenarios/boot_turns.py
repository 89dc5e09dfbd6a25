"""Boots of a run take turns, and so do those of the runs inside it (canaries): together they would all be late, and so
the first scenario of the run.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

VARIABLE = "GAUNTLET_BOOTING"
"""Names the file by which turns are taken. Whatever a run starts inherits it."""
_FILE = ".booting"


def take_turns(run: Path) -> None:
    """From now on, all that this process and its children boot takes turns with the run in this folder; or with the
    run that it is inside of."""
    os.environ.setdefault(VARIABLE, str(run / _FILE))


@contextmanager
def one_at_a_time(run: Path) -> Iterator[None]:
    """Wait until nobody else boots; nobody else does for the duration of the block."""
    turns = Path(os.environ.get(VARIABLE) or run / _FILE)
    turns.parent.mkdir(parents=True, exist_ok=True)
    with turns.open("w") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        yield
