"""Runs of the past as a table, and the scenarios that could not make up their minds."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from rich.box import SIMPLE_HEAD
from rich.console import JustifyMethod
from rich.table import Table
from rich.text import Text

from harness.checks.history import Ended, Flip, History, PastRun
from reports.durations import took

_STYLES: dict[Ended, str] = {"pass": "green", "fail": "bold red", "unknown": "yellow", "not judged": "dim"}
_MOST_NAMED, _OF_CODE = 3, 7


def history_parts(past: History) -> Iterator[Table | Text]:
    """The table, a line for each scenario that flips, one for each folder that could not be read."""
    headings = ["run", "verdict", "begun (UTC)", "seed", "took", "scenarios", "code"]
    if any(run.hunted is not None for run in past.runs):
        headings.append("killed")
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for heading in headings:
        justify: JustifyMethod = "right" if heading in ("seed", "took", "scenarios") else "left"
        table.add_column(heading, justify=justify, overflow="fold", no_wrap=heading != "run")
    for run in past.runs:
        table.add_row(*islice(_cells(run), len(headings)))
    yield table
    yield from (Text(_flip(flip), "bold yellow") for flip in past.flips)
    yield from (Text(f"cannot be read: {text}", "red") for text in past.unreadable)


def _cells(run: PastRun) -> Iterator[Text]:
    yield Text(run.run)
    yield Text(run.verdict, _STYLES[run.verdict])
    begun = run.began_at[:16].replace("T", " ")
    yield from map(Text, (begun, str(run.seed), took(run.took_s), str(run.scenarios), run.code[:_OF_CODE]))
    share = "" if run.hunted is None else f" ({(run.killed or 0) / max(1, run.hunted):.0%})"
    yield Text("" if run.hunted is None else f"{run.killed} of {run.hunted}{share}")


def _flip(flip: Flip) -> str:
    told = "; ".join(f"{verdict} in {_named(runs)}" for verdict, runs in sorted(flip.runs.items()))
    return f"flips: {flip.scenario}: {told} (the same code, {flip.code[:_OF_CODE]})"


def _named(runs: list[str]) -> str:
    more = f" and {len(runs) - _MOST_NAMED} more" if len(runs) > _MOST_NAMED else ""
    return f"{', '.join(runs[:_MOST_NAMED])}{more}"
