"""Filling a grid while its trials run, on the terminal and then into the run directory."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec
from rich.console import Console, RenderableType
from rich.live import Live
from rich.table import Table

from harness.checks.judge import ScenarioVerdict
from reports.grid import Grid, final_text, markdown, why_not_green

Step = tuple[str, ScenarioVerdict | None, str, float]
"""Name of an entry; its verdict, or None when it begins; the proof that its fault hit something; seconds."""


def fill(grid: Grid, steps: Iterable[Step], show: Callable[[Grid, float], RenderableType]) -> float:
    """Take the steps as they come, and show each. Returns how long it took, in seconds."""
    began = time.monotonic()
    console = Console(highlight=False, markup=False)
    with Live(console=console, auto_refresh=False, transient=True) as live:
        try:
            for step in steps:
                _take(grid, step)
                if console.is_terminal:
                    live.update(show(grid, time.monotonic() - began), refresh=True)
                elif step[1] is not None:
                    entry = grid.entries[step[0]]
                    told = f"{entry.state:<8} {entry.took_s:5.1f} s  {entry.name}  ({entry.why or entry.hit})"
                    console.print(told, soft_wrap=True)
        finally:
            for entry in grid.entries.values():
                if entry.state in ("waiting", "running"):
                    entry.state = "not run"
    return time.monotonic() - began


def _take(grid: Grid, step: Step) -> None:
    name, verdict, hit, took_s = step
    entry = grid.entries[name]
    if verdict is None:
        entry.state = "running"
        return
    doubts = {result.property: result.doubts for result in verdict.results}
    entry.state, entry.hit, entry.took_s = verdict.verdict, hit, round(took_s, 2)
    entry.why = why_not_green(verdict.failed, doubts, verdict.error)


def tell(grid: Grid, run: Path, *, file: str, seed: int, took_s: float) -> None:
    """Print the grid as it has become, and write ``FILE.json`` and ``FILE.md`` into the run directory."""
    console = Console(highlight=False, markup=False)
    for part in final_text(grid, took_s):
        console.print(part, soft_wrap=not isinstance(part, Table))
    told = msgspec.json.encode(grid.file(seed=seed, took_s=took_s))
    (run / f"{file}.json").write_bytes(msgspec.json.format(told, indent=1) + b"\n")
    (run / f"{file}.md").write_text(markdown(grid, took_s), encoding="utf-8")
    console.print(f"all of it: {run / file}.json, {file}.md; judge it again: gauntlet check {run}", soft_wrap=True)
