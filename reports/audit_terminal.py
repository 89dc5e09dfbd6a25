"""An audit for people and for pipes: progress and summary on stderr, findings as NDJSON wherever they are wanted."""

from __future__ import annotations

import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import msgspec
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from harness.audit.audit import Audit, AuditReport
from harness.audit.engines import EngineName, engine
from harness.audit.mapping import Mapping
from harness.audit.sources import STDIN, gather

MOST_KINDS = 12


def run_audit(
    names: Sequence[str],
    out: BinaryIO,
    *,
    processes: int,
    engine_name: EngineName,
    mapping: Mapping | None,
    grace_s: float,
) -> tuple[AuditReport, bool]:
    """Audit the sources, write the findings to ``out``. The report, and whether it is of the whole log.

    Raises SourceError, EngineError.
    """
    console = Console(stderr=True)
    # The workers are forked before the progress bar begins its thread.
    with engine(engine_name, processes) as workers, tempfile.TemporaryDirectory(prefix="gauntlet-audit-") as scratch:
        audit: Audit | None = None
        began = time.monotonic()
        with _progress(console) as bar:
            whole = True
            try:
                if STDIN in names and not console.is_terminal:
                    console.print("… reading standard input")
                unpacking = bar.add_task("unpacking", total=None, lines="", visible=False)
                sources = gather(names, Path(scratch), lambda size: bar.update(unpacking, advance=size, visible=True))
                bar.update(unpacking, visible=False)
                audit = Audit(sources, mapping=mapping, grace_s=grace_s)
                report = audit.run(workers, _Watch(bar, sum(source.size for source in sources), began))
            except KeyboardInterrupt:
                whole = False
                report = audit.so_far() if audit else AuditReport()
        total = sum(source.size for source in sources) if audit else 0
        for finding in report.findings:
            out.write(msgspec.json.encode(finding) + b"\n")
        out.flush()
        for text in summary(report, time.monotonic() - began, None if whole else total):
            console.print(text, highlight=False, markup=False, soft_wrap=True)
    return report, whole


@contextmanager
def _progress(console: Console) -> Iterator[Progress]:
    columns = (
        TextColumn("{task.description}"), BarColumn(bar_width=30), DownloadColumn(binary_units=False),
        TextColumn("{task.fields[lines]}"), TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=console, transient=True, refresh_per_second=5) as bar:
        yield bar


class _Watch:
    """Keeps the bar up to date, and for whoever has no terminal says how far it is, every ten percent."""

    def __init__(self, bar: Progress, total: int, began: float) -> None:
        self._bar, self._total, self._began = bar, total, began
        self._task = bar.add_task("auditing", total=total, lines="")
        self._lines = self._bytes = 0
        self._told = 0

    def __call__(self, lines: int, size: int) -> None:
        self._lines += lines
        self._bytes += size
        rate = self._lines / max(1e-9, time.monotonic() - self._began)
        self._bar.update(self._task, completed=self._bytes, lines=f"{self._lines:,} lines, {rate:,.0f}/s")
        tenth = 10 * self._bytes // max(1, self._total)
        if tenth > self._told and not self._bar.console.is_terminal:
            self._told = tenth
            left = (self._total - self._bytes) / max(1, self._bytes) * (time.monotonic() - self._began)
            self._bar.console.print(f"… {tenth}0 %: {self._lines:,} lines, {rate:,.0f}/s, {left:.0f} s left")


def summary(report: AuditReport, seconds: float, interrupted_of: int | None) -> Iterator[str]:
    """What it was, what was found, and the verdict. ``interrupted_of``: how many bytes there would have been."""
    rate = report.lines / max(seconds, 1e-9)
    size = f"{report.bytes / 1e6:,.1f} MB"
    memory = f"{report.memory_kb / 1024:.0f} MB a process"
    yield f"{report.lines:,} lines, {size} in {seconds:.1f} s ({rate:,.0f} lines/s, {memory})"
    states = {"complete": 0, **report.states}
    if report.states:
        counts = ", ".join(f"{count:,} {state.replace('_', ' ')}" for state, count in states.items() if count)
        yield f"{sum(states.values()):,} flows: {counts or 'none'}"
    kinds = Counter((finding.severity, finding.kind, finding.edge or "") for finding in report.findings)
    for (severity, kind, edge), count in kinds.most_common(MOST_KINDS):
        yield f"  {severity:<5} {count:>8,}  {kind.replace('_', ' ')}{f'  {edge}' if edge else ''}"
    if len(kinds) > MOST_KINDS:
        yield f"  … and {len(kinds) - MOST_KINDS} more kinds of findings"
    if interrupted_of is not None:
        share = (
            f" of {interrupted_of / 1e6:,.1f} MB ({100 * report.bytes / interrupted_of:.0f} %)"
            if interrupted_of
            else ""
        )
        yield f"INTERRUPTED after {size}{share}: refused lines so far are told above; flows and seq were not judged"
    else:
        yield {"pass": "PASS", "fail": "FAIL", "unknown": "UNKNOWN"}[report.verdict]
