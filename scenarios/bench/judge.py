"""How long judging takes: ``gauntlet check``, in a process of its own, on a run of 100,000 operations."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from msgspec import Struct

from scenarios.bench.judge_corpus import write_corpus

OPERATIONS, LINES = 100_000, 1_000_000
MOST_S, MOST_MB = 15, 1_000


class Judging(Struct, frozen=True, kw_only=True):
    """What one judgement took, from the start of its process to the end."""

    lines: int
    took_s: float
    cpu_s: float
    peak_mb: float
    verdict: str

    @property
    def met(self) -> bool:
        return self.verdict == "pass" and self.took_s <= MOST_S and self.peak_mb <= MOST_MB

    def __str__(self) -> str:
        return (
            f"{self.lines:,} lines judged in {self.took_s:.1f} s ({self.cpu_s:.1f} s of CPU time, at most {MOST_S} s): "
            f"{self.lines / self.took_s:,.0f} lines/s, at the peak {self.peak_mb:,.0f} MB (at most {MOST_MB:,} MB), "
            f"verdict {self.verdict}: {'met' if self.met else 'missed'}"
        )


def measure(on_step: Callable[[str], None], *, operations: int = OPERATIONS) -> Judging:
    """Write a corpus to a temporary folder, and judge it."""
    with tempfile.TemporaryDirectory(prefix="gauntlet-judge-") as folder:
        root = Path(folder) / "run"
        on_step(f"a run of {operations:,} operations, in {root}")
        lines = write_corpus(root, operations=operations)
        on_step(f"judging {lines:,} lines")
        return judged(root, lines)


def judged(root: Path, lines: int) -> Judging:
    """``gauntlet check`` of one run, with what it used."""
    began = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-m", "cli", "check", str(root)], stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)  # or its end would be waited for once more
    return Judging(
        lines=lines,
        took_s=time.perf_counter() - began,
        cpu_s=used.ru_utime + used.ru_stime,
        peak_mb=used.ru_maxrss / 1024,
        verdict={0: "pass", 1: "fail", 2: "unknown"}.get(process.returncode, f"none (exit code {process.returncode})"),
    )
