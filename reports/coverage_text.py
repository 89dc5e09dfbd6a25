"""How much of the contract a run exercised: tables that fit in 80 columns, and one line for the end of a gate."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from rich.table import Table
from rich.text import Text

from harness.checks.coverage import Coverage, KindSeen

_NEVER = "bold red"
_MOST_UNSEEN = 6


def coverage_line(coverage: Coverage) -> str:
    """``contract coverage: 24/24 kinds, 49/52 statuses, 17/18 edges, 17/28 faults × edges; never seen: …``"""
    unseen = coverage.unseen_kinds
    unseen += [text for text in coverage.unseen_statuses if text.split()[0] not in unseen]
    unseen += coverage.unseen_edges
    told = ", ".join(unseen[:_MOST_UNSEEN])
    more = f" and {len(unseen) - _MOST_UNSEEN} more" if len(unseen) > _MOST_UNSEEN else ""
    return f"contract coverage: {', '.join(_ratios(coverage))}" + (f"; never seen: {told}{more}" if told else "")


def coverage_tables(coverage: Coverage) -> Iterator[Table | str]:
    """Everything: what was seen how often, and what never."""
    yield _kinds(coverage.kinds)
    yield _fields(coverage.kinds)
    yield _counted("causal edge", "closed", coverage.edges)
    yield _cells(coverage.cells)
    yield _counted("fault elsewhere", "hits", coverage.places)
    yield coverage_line(coverage)


def _ratios(coverage: Coverage) -> Iterator[str]:
    statuses = sum(len(kind.statuses) for kind in coverage.kinds.values())
    cells = sum(len(kinds) for kinds in coverage.cells.values())
    for what, all_of_them, unseen in (
        ("kinds", len(coverage.kinds), coverage.unseen_kinds),
        ("statuses", statuses, coverage.unseen_statuses),
        ("edges", len(coverage.edges), coverage.unseen_edges),
        ("faults × edges", cells, coverage.unseen_cells),
    ):
        yield f"{all_of_them - len(unseen)}/{all_of_them} {what}"


def _table(*headings: str) -> Table:
    table = Table()
    for heading in headings:
        table.add_column(heading, overflow="fold", justify="right" if heading in _NUMBERS else "left")
    return table


_NUMBERS = ("lines", "closed", "hits")


def _kinds(kinds: Mapping[str, KindSeen]) -> Table:
    table = _table("kind", "lines", "statuses")
    for name, kind in kinds.items():
        statuses = [_counted_text(status, count) for status, count in kind.statuses.items()]
        table.add_row(Text(name), _number(kind.lines), Text(", ").join(statuses))
    return table


def _fields(kinds: Mapping[str, KindSeen]) -> Table:
    """Fields that may be null: those of which a run showed one side only."""
    table = _table("kind", "always null", "never null")
    for name, kind in kinds.items():
        always = [field for field, seen in kind.fields.items() if kind.lines and not seen.value]
        never = [field for field, seen in kind.fields.items() if kind.lines and not seen.null]
        if always or never:
            table.add_row(name, ", ".join(always), ", ".join(never))
    return table


def _counted(heading: str, number: str, counts: Mapping[str, int]) -> Table:
    table = _table(heading, number)
    for name, count in counts.items():
        table.add_row(Text(name), _number(count))
    return table


def _cells(cells: Mapping[str, Mapping[str, int]]) -> Table:
    kinds: Sequence[str] = list(next(iter(cells.values()), {}))
    table = _table("fault on edge", *kinds)
    for edge, hits in cells.items():
        table.add_row(edge, *_numbers(hits[kind] for kind in kinds))
    return table


def _numbers(counts: Iterable[int]) -> Iterator[Text]:
    return (_number(count) for count in counts)


def _number(count: int) -> Text:
    return Text(str(count)) if count else Text("never", style=_NEVER)


def _counted_text(name: str, count: int) -> Text:
    return Text(f"{name}={count}") if count else Text(f"{name}=never", style=_NEVER)
