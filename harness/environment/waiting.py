"""The one way to wait: ask again until it is so, or say well what never came.

A bare sleep is a guess that is too long on a good day and too short on a bad one.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

Answer = TypeVar("Answer")


class Hopeless(Exception):
    """Raised by a probe which knows that more waiting cannot help: it goes straight through ``eventually``."""


class NeverHappened(Exception):
    """What was awaited did not come in time. The message says what, for how long, what was last seen, where to look."""


def eventually(
    probe: Callable[[], Answer | None],
    *,
    within_s: float,
    describe: str,
    every_s: float = 0.02,
    log: Path | None = None,
) -> Answer:
    """Ask ``probe`` until it answers something true, and return that.

    An exception of the probe means "not yet" (a server that is coming up refuses, resets and times out) and is
    quoted if the time runs out. The probe is asked at least twice, so that one slow answer is not mistaken for none.
    """
    started = time.monotonic()
    asked = 0
    while True:
        problem: Exception | None = None
        answer: Answer | None = None
        try:
            answer = probe()
            if answer:
                return answer
        except Hopeless:
            raise
        except Exception as error:
            problem = error
        asked += 1
        waited_s = time.monotonic() - started
        if waited_s >= within_s and asked > 1:
            seen = f"{type(problem).__name__}: {problem}" if problem else repr(answer)
            look = f"; see {log}" if log else ""
            raise NeverHappened(
                f"{describe}: not so after {waited_s:.1f} s ({asked} looks); last seen: {seen}{look}"
            ) from problem
        time.sleep(every_s)
