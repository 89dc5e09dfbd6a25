"""Exploring and replaying, shown while they go on and summed up at their end."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Iterator, Sequence

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from harness.evidence.explored import Discovery, Explored, Ran
from reports.live_view import LiveView

_SHOWN = 8
_STYLES = {"pass": "green", "fail": "bold red", "unknown": "yellow"}
_MARKS = {"pass": "✓", "fail": "✗", "unknown": "?"}


class ExploreView(LiveView):
    """Listens to an exploration or a replay. On a terminal a table that changes, elsewhere a line for each schedule."""

    def __init__(self, console: Console, *, title: str, for_s: float | None = None) -> None:
        super().__init__(console)
        self._title, self._for_s = title, for_s
        self._ran: list[Ran] = []
        self._latest: deque[Ran] = deque(maxlen=_SHOWN)
        self._phase = ""

    def ran(self, one: Ran) -> None:
        self._ran.append(one)
        self._latest.append(one)
        if self._live is None:
            self._console.print(ran_text(one), soft_wrap=True)

    def phase(self, text: str) -> None:
        self._phase = text
        if self._live is None:
            self._console.print(f"… {text}", soft_wrap=True, highlight=False, markup=False)

    def _screen(self) -> RenderableType:
        since = time.monotonic() - self._began
        time_text = f"{since:.0f} s" + (f" of {self._for_s:.0f} s" if self._for_s else "")
        head = Text(f"{self._title}   {time_text}   {counts_text(self._ran)}")
        return Group(head, *(ran_text(one) for one in self._latest), Text(f"… {self._phase}", style="dim"))


def ran_text(one: Ran) -> Text:
    """One schedule in one line."""
    what = ", ".join(one.failed) or one.error or (one.says if one.verdict == "unknown" else "")
    text = Text(f"{_MARKS[one.verdict]} {one.name} ", style=_STYLES[one.verdict])
    text.append(f"{one.took_s:.1f} s ", style="dim")
    text.append(f"{what}  " if what else "", style=_STYLES[one.verdict])
    text.append(one.schedule, style="")
    text.append(f"  [{', '.join(fault.met for fault in one.faults)}]" if one.faults else "", style="dim")
    return text


def counts_text(ran: Sequence[Ran]) -> str:
    """Schedules by verdict, faults by what became of them."""
    verdicts: Counter[str] = Counter(one.verdict for one in ran)
    met: Counter[str] = Counter(fault.met for one in ran for fault in one.faults)
    faults = met.total()
    hit = f"{met['hit']} of {faults} faults hit ({met['hit'] / faults:.0%})" if faults else "no faults yet"
    rest = ", ".join(f"{met[name]} {name}" for name in ("missed", "never came") if met[name])
    by_verdict = ", ".join(
        f"{verdicts[name]} {word}"
        for name, word in (("pass", "green"), ("fail", "red"), ("unknown", "unknown"))
        if verdicts[name] or name == "pass"
    )
    return f"{len(ran)} schedules: {by_verdict}; {hit}{f', {rest}' if rest else ''}"


def explored_text(explored: Explored) -> Iterator[str]:
    """The summary at the end."""
    yield f"seed {explored.seed}: {counts_text(explored.ran)}; {explored.took_s:.0f} s"
    for one in explored.ran:
        if one.verdict == "unknown":
            yield f"? {one.name}: {one.says or one.error}"
    for found in explored.found:
        yield from _found_lines(found)
    if explored.interrupted:
        yield "interrupted: this is what was done until then"
    if not explored.found and explored.ran:
        yield f"0 findings: fewer than {explored.below:.1%} of such schedules are red (95 %, 3 of N)"


def _found_lines(found: Discovery) -> Iterator[str]:
    yield ""
    yield f"✗ {found.says}"
    yield f"    broken       {', '.join(found.properties)}"
    yield f"    schedule     {found.schedule}"
    small = f"{found.faults} fault(s), {found.steps} step(s), after {found.tried} tries"
    yield f"    shrunk to    {small}{'' if found.minimal else '; it may get smaller still'}"
    yield f"    red          {found.red} of {found.of} times that it was run again"
    yield f"    again        gauntlet replay {found.file}"


def replayed_table(ran: Sequence[Ran]) -> Table:
    """Runs of one schedule: how often each property failed."""
    table = Table("property", "red", "of", box=None)
    failed = Counter(name for one in ran for name in (one.failed or (("(the run itself)",) if one.error else ())))
    for name, count in failed.most_common():
        table.add_row(name, str(count), str(len(ran)))
    verdicts = Counter(one.verdict for one in ran)
    words = {"pass": "green", "fail": "red", "unknown": "unknown"}
    for verdict, count in sorted(verdicts.items()):
        table.add_row(Text(f"runs that are {words[verdict]}", style=_STYLES[verdict]), str(count), str(len(ran)))
    return table
