"""Runs of the past as a table, and the scenarios that could not make up their minds."""

from __future__ import annotations

from collections.abc import Iterator

from rich.table import Table
from rich.text import Text

from harness.checks.history import Ended, Flip, History, PastRun
from reports.page.picture import took

_STYLES: dict[Ended, str] = {"pass": "green", "fail": "bold red", "unknown": "yellow", "not judged": "dim"}
_MOST_NAMED = 3


def history_parts(past: History) -> Iterator[Table | Text]:
    """The table, a line for each scenario that flips, one for each folder that could not be read."""
    table = Table()
    for heading in ("run", "verdict", "begun (UTC)", "seed", "took", "scenarios", "killed", "code"):
        right = heading in ("seed", "took", "scenarios", "killed")
        table.add_column(heading, justify="right" if right else "left", overflow="fold")
    for run in past.runs:
        table.add_row(*_cells(run))
    yield table
    yield from (Text(_flip(flip), "bold yellow") for flip in past.flips)
    yield from (Text(f"cannot be read: {text}", "red") for text in past.unreadable)


def _cells(run: PastRun) -> Iterator[Text]:
    killed = (
        "" if run.hunted is None else f"{run.killed} of {run.hunted} ({(run.killed or 0) / max(1, run.hunted):.0%})"
    )
    yield Text(run.run)
    yield Text(run.verdict, _STYLES[run.verdict])
    for cell in (
        run.began_at[:16].replace("T", " "),
        str(run.seed),
        took(run.took_s),
        str(run.scenarios),
        killed,
        run.code,
    ):
        yield Text(cell)


def _flip(flip: Flip) -> str:
    told = "; ".join(f"{verdict} in {_named(runs)}" for verdict, runs in sorted(flip.runs.items()))
    return f"flips: {flip.scenario}: {told} (the same code, {flip.code})"


def _named(runs: list[str]) -> str:
    more = f" and {len(runs) - _MOST_NAMED} more" if len(runs) > _MOST_NAMED else ""
    return f"{', '.join(runs[:_MOST_NAMED])}{more}"
