"""A process with another wall clock, by libfaketime (https://github.com/wolfcw/libfaketime): optional on a machine.

The monotonic clock stays true, so time-outs last as long as ever. Known of libfaketime 0.9.10: a process that is killed
leaves two small files in /dev/shm; Python's ``time.sleep`` fails with EINVAL (asyncio, locks and queues do not).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from harness.environment.failures import EnvironmentFailed

PACKAGE = "faketime"
VARIABLE = "GAUNTLET_LIBFAKETIME"
_LIBRARY = "libfaketimeMT.so.1"
_SHARED = Path("/dev/shm")


def library() -> Path | None:
    """Where it is: the file that GAUNTLET_LIBFAKETIME names, or where packages put it; None, if it is nowhere."""
    return next((place for place in _places() if place.is_file()), None)


def _places() -> Iterator[Path]:
    if named := os.environ.get(VARIABLE):
        yield Path(named)
        return
    for base in ("/usr/lib", "/usr/lib64", "/usr/local/lib"):
        yield from Path(base).glob(f"*/faketime/{_LIBRARY}")
        yield Path(base) / "faketime" / _LIBRARY


def environment(skew_s: float) -> dict[str, str]:
    """What a process needs in its environment so that its clock is so many seconds fast (negative: slow)."""
    if not skew_s:
        return {}
    found = library()
    if found is None:
        raise EnvironmentFailed(f"no process can be given a skewed clock: libfaketime was not found; {apt_line()}")
    return {
        "LD_PRELOAD": str(found),
        "FAKETIME": f"{skew_s:+f}s",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "NO_FAKE_STAT": "1",
    }


def apt_line() -> str:
    """The command that provides it."""
    return f"{'' if os.geteuid() == 0 else 'sudo '}apt-get install {PACKAGE}"


def clear_up(pid: int) -> None:
    """Remove what a process with a skewed clock may have left. Only when it is gone."""
    for name in (f"faketime_shm_{pid}", f"sem.faketime_sem_{pid}"):
        (_SHARED / name).unlink(missing_ok=True)
