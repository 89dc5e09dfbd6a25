"""Boots of a run take turns, and so do those of the runs inside it (canaries). The first has the machine to itself, for
the first scenario is to begin early; after it there are as many at a time as there are cores: more would all be late,
and one alone leaves a core idle while a server of it is waited for.
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
def turn_to_boot(run: Path) -> Iterator[None]:
    """Wait until no more boot than may; for the duration of the block, this is one of them."""
    turns = Path(os.environ.get(VARIABLE) or run / _FILE)
    turns.parent.mkdir(parents=True, exist_ok=True)
    with turns.open("ab") as tickets:
        fcntl.flock(tickets, fcntl.LOCK_EX)
        number = os.fstat(tickets.fileno()).st_size  # so many have been given out before
        tickets.write(b".")
        tickets.flush()
        if number == 0:
            yield  # and nobody else gets a ticket meanwhile
            return
    lane = number % len(os.sched_getaffinity(0))
    with turns.with_name(f"{turns.name}-{lane}").open("wb") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        yield
