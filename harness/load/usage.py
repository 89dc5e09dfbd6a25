"""What processes use of the machine, as Linux tells it in ``/proc`` (proc(5))."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from harness.load.records import Usage

_TICK_S = 1 / os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def usage_of(pids: Iterable[int]) -> Usage:
    """Of all of them together, with the children that they have had. Who has just ended counts for nothing.

    Memory is that which each has for itself: what a database's sessions share is counted for none of them.
    """
    cpu_s, rss_bytes = 0.0, 0
    for pid in pids:
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            resident, shared = Path(f"/proc/{pid}/statm").read_text().split()[1:3]
        except OSError:
            continue
        cpu_s += sum(map(int, fields[11:15])) * _TICK_S  # utime, stime, cutime, cstime
        rss_bytes += (int(resident) - int(shared)) * _PAGE_BYTES
    return Usage(cpu_s=round(cpu_s, 3), rss_bytes=rss_bytes)


class MachineCpu:
    """The share of all cores that was busy since it was asked last."""

    def __init__(self) -> None:
        self._busy, self._all = _jiffies()

    def __call__(self) -> float:
        busy, every = _jiffies()
        share = (busy - self._busy) / max(1, every - self._all)
        self._busy, self._all = busy, every
        return round(share, 4)


def _jiffies() -> tuple[int, int]:
    with open("/proc/stat") as file:
        numbers = list(map(int, file.readline().split()[1:9]))
    return sum(numbers) - numbers[3] - numbers[4], sum(numbers)
