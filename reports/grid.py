"""A grid of verdicts: for the terminal, where it fills while trials run, and as Markdown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import msgspec
from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

State = Literal["waiting", "running", "pass", "fail", "unknown", "not applicable", "not run"]
MARKS: dict[State, tuple[str, str]] = {
    "waiting": (" ", "dim"),
    "running": ("…", "cyan"),
    "pass": ("✓", "green"),
    "fail": ("✗", "bold red"),
    "unknown": ("?", "yellow"),
    "not applicable": ("–", "dim"),
    "not run": (" ", "dim"),
}
_TOLD: tuple[State, ...] = ("pass", "fail", "unknown", "not applicable", "running", "waiting", "not run")
_MOST_REDS = 20
_COLUMN = 6
"""As narrow as a column may become on a small terminal."""


class Entry(msgspec.Struct, kw_only=True):
    """One mark of the grid. ``why``: what is not green about it, or why there is nothing to run; ``hit``: the proof
    that its fault hit something."""

    name: str
    row: str
    column: str
    state: State = "waiting"
    why: str = ""
    hit: str = ""
    took_s: float = 0.0


class GridFile(msgspec.Struct, kw_only=True):
    """A whole grid as it is written to a run directory."""

    title: str
    seed: int
    took_s: float
    entries: list[Entry]


@dataclass
class Grid:
    """Entries by name. Several of one row and column stand side by side, in the order in which they were added."""

    title: str
    corner: str
    key: str = ""
    entries: dict[str, Entry] = field(default_factory=dict)

    def add(self, name: str, *, row: str, column: str, not_applicable: str | None = None) -> None:
        """One more entry; ``not_applicable``: why there is nothing to run in it."""
        state: State = "not applicable" if not_applicable else "waiting"
        self.entries[name] = Entry(name=name, row=row, column=column, state=state, why=not_applicable or "")

    @property
    def counts(self) -> Counter[State]:
        return Counter(entry.state for entry in self.entries.values())

    def rows(self) -> dict[str, dict[str, list[Entry]]]:
        """Row → column → its entries."""
        found: dict[str, dict[str, list[Entry]]] = {}
        for entry in self.entries.values():
            found.setdefault(entry.row, {}).setdefault(entry.column, []).append(entry)
        return found

    def columns(self) -> list[str]:
        return list(dict.fromkeys(entry.column for entry in self.entries.values()))

    def table(self) -> Table:
        """All of it, as it stands now."""
        table = Table(
            title=self.title,
            title_justify="left",
            box=SIMPLE_HEAD,
            padding=(0, 1, 0, 0),
            caption=self.key or None,
            caption_justify="left",
        )
        table.add_column(self.corner, overflow="fold")
        for column in self.columns():
            table.add_column(column, justify="center", overflow="fold", min_width=min(len(column), _COLUMN))
        for row, cells in self.rows().items():
            table.add_row(row, *(_marks(cells.get(column, ())) for column in self.columns()))
        return table

    def live(self, took_s: float) -> RenderableType:
        """All of it, with how far it has come."""
        return Group(self.table(), self.summary(took_s))

    def progress(self, took_s: float) -> RenderableType:
        """Of a grid that is longer than a screen: how far it has come, what runs, and what is not green so far."""
        running = [Text(f"… {entry.name}", "cyan") for entry in self.entries.values() if entry.state == "running"]
        reds = [Text(line, "red") for line in self.not_green()]
        return Group(*reds[-_MOST_REDS:], *running, self.summary(took_s))

    def summary(self, took_s: float) -> Text:
        """One line of counts."""
        counts = self.counts
        parts = [f"{counts[state]} {state}" for state in _TOLD if counts[state]]
        return Text(f"{self.title}: {', '.join(parts)} · {took_s:.0f} s")

    def not_green(self) -> Iterator[str]:
        """A line for each that failed or is unknown."""
        for entry in self.entries.values():
            if entry.state in ("fail", "unknown"):
                yield f"{MARKS[entry.state][0]} {entry.name}: {entry.why}"

    def reasons(self) -> dict[str, int]:
        """Why there is nothing to run, and for how many."""
        return dict(Counter(entry.why for entry in self.entries.values() if entry.state == "not applicable"))

    def file(self, *, seed: int, took_s: float) -> GridFile:
        return GridFile(title=self.title, seed=seed, took_s=round(took_s, 1), entries=list(self.entries.values()))


def _marks(entries: Sequence[Entry]) -> Text:
    text = Text()
    for entry in entries:
        text.append(*MARKS[entry.state])
    return text


def final_text(grid: Grid, took_s: float) -> list[RenderableType]:
    """A grid that is done: the table, what is not green, why some could not be run, the counts."""
    parts: list[RenderableType] = [grid.table()]
    parts += [Text(line) for line in grid.not_green()]
    parts += [Text(f"– not applicable ({count}): {why}", "dim") for why, count in grid.reasons().items()]
    return [*parts, grid.summary(took_s)]


def markdown(grid: Grid, took_s: float) -> str:
    """The same for a file."""
    columns = grid.columns()
    lines = [f"# {grid.title}", "", str(grid.summary(took_s)), ""]
    lines += [f"| {grid.corner} | {' | '.join(columns)} |", f"|---{'|:-:' * len(columns)}|"]
    for row, cells in grid.rows().items():
        marks = ("".join(MARKS[entry.state][0] for entry in cells.get(column, ())) for column in columns)
        lines.append(f"| {_escaped(row)} | {' | '.join(marks)} |")
    lines += ["", grid.key, ""] if grid.key else [""]
    lines += [f"* {_escaped(line)}" for line in grid.not_green()]
    lines += [f"* – not applicable ({count}): {_escaped(why)}" for why, count in grid.reasons().items()]
    return "\n".join(lines).rstrip() + "\n"


def _escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("*", "\\*")


def why_not_green(failed: Sequence[str], doubts: Mapping[str, Sequence[str]], error: str | None) -> str:
    """What is not green about a scenario, on one line."""
    parts = [f"broken: {', '.join(failed)}"] if failed else []
    parts += [f"itself: {error.splitlines()[0]}"] if error else []
    parts += [f"{name} unknown: {found[0]}" for name, found in doubts.items() if found]
    return "; ".join(parts)
