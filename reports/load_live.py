"""A load run while it goes on: on a terminal a screen that changes, elsewhere a line now and then."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Console, Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.text import Text

from harness.load.progress import Progress
from reports.live_view import LiveView

_LINE_EVERY_S = 10.0
_BROKEN = "broken now"


class LoadView(LiveView):
    """Listens to a load run."""

    def __init__(self, console: Console, *, title: str, quiet: bool = False) -> None:
        super().__init__(console)
        self._title, self._quiet = title, quiet
        self._phase, self._told_s = "", -_LINE_EVERY_S
        self._now: Progress | None = None
        self._live = None if quiet else self._live

    def phase(self, text: str) -> None:
        """What is done now."""
        self._phase, self._now = text, None
        if self._live is not None:
            super().tick()
        elif not self._quiet:
            self._console.print(f"… {text}", soft_wrap=True, highlight=False, markup=False)

    def tick(self, progress: Progress | None = None) -> None:
        """How far it has come."""
        self._now = progress or self._now
        if self._live is not None:
            super().tick()
        elif progress is not None and not self._quiet and progress.since_s - self._told_s >= _LINE_EVERY_S:
            self._told_s = progress.since_s
            self._console.print("  " + "; ".join(_texts(progress)), soft_wrap=True, highlight=False, markup=False)

    def _screen(self) -> RenderableType:
        head = Text(f"{self._title}   {self._phase}")
        if self._now is None:
            return head
        bar = ProgressBar(total=self._now.lasts_s, completed=min(self._now.since_s, self._now.lasts_s), width=60)
        return Group(head, bar, *(Text(text, style=_style(text)) for text in _texts(self._now)))


def _style(text: str) -> str:
    return "bold red" if text.startswith(_BROKEN) else ""


def _texts(now: Progress) -> Iterator[str]:
    left_s = max(0.0, now.lasts_s - now.since_s)
    yield f"{max(0.0, now.since_s):.0f} of {now.lasts_s:.0f} s, {left_s:.0f} s left"
    yield f"{now.rate:.0f}/s answered, {now.planned_rate:.0f}/s planned; {now.answered} of {now.scheduled}"
    if now.failed:
        yield f"{now.failed} not answered as meant"
    if now.e2e_p50_ms is not None and now.e2e_p99_ms is not None:
        e2e = f"PATCH → deal p50 {now.e2e_p50_ms:.0f} ms, p99 {now.e2e_p99_ms:.0f} ms"
        yield f"{e2e}; {now.flows_open} of {now.flows} open"
    if now.unsent is not None and now.oldest_unsent_s is not None:
        yield f"{now.unsent} unsent (oldest {now.oldest_unsent_s:.1f} s), {now.depth} queued, {now.dead_letters} dead"
    for what in now.broken:
        yield f"{_BROKEN}: {what}"
