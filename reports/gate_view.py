"""A gate while it goes on: on a terminal what every worker is at and what is broken right now, elsewhere lines."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from harness.evidence.clock import seconds_between, wall_now
from harness.evidence.present import Present
from reports.live_view import LiveView
from reports.results import Kind, ScenarioResult

_EVERY_S = 0.5
_ENOUGH_TO_FORETELL = 5
_NARROW = 5
"""For a worker's name, and for seconds: they stay whole however long the name of a scenario is."""
_MARKS: dict[Kind, tuple[str, str]] = {
    "pass": ("✓", "green"),
    "broken promise": ("✗", "bold red"),
    "scenario error": ("✗", "bold red"),
    "environment": ("✗", "bold red"),
    "not proven": ("?", "yellow"),
}


class GateView(LiveView):
    """Listens to a gate. ``presents``: what the workers are at, asked twice a second. ``quiet``: no line for what is
    green. The terminal's own lines pass it by, for pytest captures what goes through ``sys.stdout``."""

    def __init__(self, console: Console, *, presents: Callable[[], list[Present]], quiet: bool = False) -> None:
        super().__init__(console, redirect=False)
        self._presents, self._quiet = presents, quiet
        self._total = 0
        self._ended: Counter[Kind] = Counter()
        self._names: set[str] = set()
        self._paused = False

    def expects(self, total: int) -> None:
        """So many scenarios are going to run."""
        self._total = total
        if self._paused and self._live is not None:
            self._live.start()
        self._paused = False

    def pause(self) -> None:
        """Make room for what others are going to write on the terminal."""
        self._paused = True
        if self._live is not None:
            self._live.stop()

    def ended(self, result: ScenarioResult) -> None:
        """One scenario is done."""
        self._ended[result.kind] += 1
        self._names.add(result.name)
        if result.kind != "pass" or (self._live is None and not self._quiet):
            self._console.print(self._line(result), soft_wrap=True)

    def _line(self, result: ScenarioResult) -> Text:
        mark, style = _MARKS[result.kind]
        done = f"{self._ended.total():>{len(str(self._total))}}/{self._total}"
        told = ((f"{done}  ", "dim"), (f"{mark} {result.name}", style), (f"  {result.took_s:.1f} s", "dim"))
        line = Text.assemble(*told)
        return line.append(f"  {result.kind}: {result.headline}" if result.kind != "pass" else "")

    @contextmanager
    def ticking(self) -> Iterator[None]:
        """Shown, and kept up to date, for the duration of the block."""
        done = threading.Event()
        with self:
            ticker = threading.Thread(target=self._tick_until, args=(done,), daemon=True)
            ticker.start()
            try:
                yield
            finally:
                done.set()
                ticker.join()

    def _tick_until(self, done: threading.Event) -> None:
        while not done.wait(_EVERY_S):
            if self._total and not self._paused:
                self.tick()

    def _screen(self) -> RenderableType:
        table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 1), expand=True)
        table.add_column(style="dim", no_wrap=True, min_width=_NARROW)
        table.add_column(no_wrap=True, ratio=1)
        table.add_column(justify="right", style="dim", no_wrap=True, min_width=_NARROW)
        for present in self._presents():
            if present.scenario in self._names:  # its worker crashed with it
                continue
            table.add_row(present.worker, present.scenario, f"{seconds_between(present.since, wall_now()):.0f} s")
            for broken in present.broken:
                table.add_row("", Text(f"⚡ {broken}", style="magenta"), "")
        return Group(self._head(), table)

    def _head(self) -> Text:
        counts: Counter[tuple[str, str]] = Counter()
        for kind, number in self._ended.items():
            counts[_MARKS[kind]] += number
        since_s = time.monotonic() - self._began
        head = Text.assemble((f"{self._ended.total()}/{self._total}", "bold"))
        for (mark, style), number in counts.items():
            head.append(f"  {mark} {number}", style=style)
        return head.append(f"  {_minutes(since_s)}{self._left(since_s)}", style="dim")

    def _left(self, since_s: float) -> str:
        """As fast as until now; silent while that says nothing yet."""
        done = self._ended.total()
        if done < _ENOUGH_TO_FORETELL or done >= self._total:
            return ""
        return f", about {_minutes(since_s / done * (self._total - done))} left"


def _minutes(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02}"
