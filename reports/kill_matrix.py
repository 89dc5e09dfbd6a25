"""The kill matrix: bug × scenario, in the terminal while it fills, and as Markdown."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from statistics import median

from rich.console import Console, Group, RenderableType
from rich.text import Text

from harness.evidence.hunted import Hunted, Judged, KillMatrix, Outcome
from reports.live_view import LiveView

_STYLES: dict[Outcome, str] = {
    "killed": "green",
    "wrong reason": "bold red",
    "survived": "bold red",
    "timeout": "bold red",
    "no stack": "bold red",
    "stale": "bold red",
    "not run": "dim",
}
_SHOWN = 12
_KEY = "**K** killed for a right reason · w red for another reason · ? unknown · · green · blank: not run"


class HuntView(LiveView):
    """Listens to a hunt. On a terminal a screen that changes, elsewhere a line for each bug."""

    def __init__(self, console: Console, *, of: int) -> None:
        super().__init__(console)
        self._of = of
        self._running: dict[str, tuple[str, float]] = {}
        self._ended: list[Hunted] = []

    def runs(self, bug: str, stage: str) -> None:
        self._running[bug] = (stage, time.monotonic())

    def ended(self, one: Hunted) -> None:
        self._running.pop(one.bug, None)
        self._ended.append(one)
        if self._live is None:
            self._console.print(hunted_text(one), soft_wrap=True)

    def _screen(self) -> RenderableType:
        now = time.monotonic()
        at_work = [
            Text(f"… {bug} {stage}, {now - since:.0f} s", "cyan") for bug, (stage, since) in _copy(self._running)
        ]
        far = f"{len(self._ended)} of {self._of} hunted"
        tail = Text(f"{far}{f': {counts_text(self._ended)}' if self._ended else ''} · {now - self._began:.0f} s")
        return Group(*map(hunted_text, self._ended[-_SHOWN:]), *at_work, tail)


def _copy(running: dict[str, tuple[str, float]]) -> list[tuple[str, tuple[str, float]]]:
    return list(running.items())  # other threads write to it


def hunted_text(one: Hunted) -> Text:
    """What became of one bug, in one line."""
    text = Text(f"{one.bug:<6}", "bold")
    text.append(f"{_outcome(one)} ", _STYLES[one.outcome])
    if one.scenario:
        text.append(f"in {one.scenario} ", "")
    if one.kill_s is not None:
        text.append(f"after {one.kill_s:.1f} s ", "dim")
    text.append(f"· {one.name}", "dim")
    if one.outcome != "killed":
        text.append(f": {one.says}", "red")
    return text


def _outcome(one: Hunted) -> str:
    return f"killed by {', '.join(one.by)}" if one.outcome == "killed" else one.outcome


def counts_text(hunted: Sequence[Hunted]) -> str:
    """How many came to which end."""
    counts = Counter(one.outcome for one in hunted)
    others = [f"{counts[outcome]} {outcome}" for outcome in _STYLES if counts[outcome] and outcome != "killed"]
    return ", ".join([f"{counts['killed']} of {len(hunted)} killed", *others])


def summary(matrix: KillMatrix) -> str:
    """One line: how many, how soon, how long it all took."""
    soon = [one.kill_s for one in matrix.hunted if one.outcome == "killed" and one.kill_s is not None]
    times = f"; median {median(soon):.1f} s after its stack is up, longest {max(soon):.1f} s" if soon else ""
    interrupted = " (interrupted)" if matrix.interrupted else ""
    return (
        f"{counts_text(matrix.hunted)}{times}; {matrix.took_s:.0f} s in all with {matrix.workers} stacks{interrupted}"
    )


def final_text(matrix: KillMatrix, *, all_of_it: bool = True) -> Iterator[Text]:
    """What became of each bug (or only of those that live), and the summary."""
    for one in matrix.hunted if all_of_it else matrix.alive:
        yield hunted_text(one)
        if one.outcome != "killed" and one.run:
            yield Text(f"      evidence: {one.run}", "dim")
    yield Text(summary(matrix))


def _seconds(one: Hunted) -> str:
    return "" if one.kill_s is None else f"{one.kill_s:.1f} s"


def markdown(matrix: KillMatrix, title: str = "The kill matrix") -> str:
    """The same for a file: what became of each bug, then bug × file of scenarios."""
    lines = [f"# {title}", "", f"{summary(matrix)}.", ""]
    lines += [f"Catalogue `{matrix.catalogue}`, seed {matrix.seed}, {matrix.began_at[:10]}, on {matrix.machine}.", ""]
    lines += ["| bug | what it does | outcome | in | after |", "|---|---|---|---|--:|"]
    for one in matrix.hunted:
        scenario = f"`{one.scenario}`" if one.scenario else _escaped(one.says)
        lines.append(f"| {one.bug} | {_escaped(one.name)} | {_outcome(one)} | {scenario} | {_seconds(one)} |")
    lines += ["", "## Bug × scenario", "", _KEY, "", *_grid(matrix.hunted)]
    return "\n".join(lines).rstrip() + "\n"


def _grid(hunted: Sequence[Hunted]) -> Iterator[str]:
    files = sorted({_file(judged) for one in hunted for judged in one.judged})
    yield f"| bug | {' | '.join(files)} |"
    yield f"|---{'|:-:' * len(files)}|"
    for one in hunted:
        marks = {file: _mark(one, [judged for judged in one.judged if _file(judged) == file]) for file in files}
        yield f"| {one.bug} | {' | '.join(marks.values())} |"


def _file(judged: Judged) -> str:
    """``crashes`` for ``test_crashes.py::test_x``; the first word of what is none of a gate's scenarios."""
    return judged.scenario.partition("::")[0].removeprefix("test_").removesuffix(".py").partition(" ")[0]


def _mark(one: Hunted, judged: Sequence[Judged]) -> str:
    if any(set(seen.failed) & set(one.expect) for seen in judged):
        return "**K**"
    verdicts = {seen.verdict for seen in judged}
    return "w" if "fail" in verdicts else "?" if "unknown" in verdicts else "·" if verdicts else ""


def _escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
