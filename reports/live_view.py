"""What views of long work share: on a terminal a screen that changes, elsewhere lines."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self

from rich.console import Console, RenderableType
from rich.live import Live


class LiveView:
    """Shown for the duration of a ``with`` block. ``_live`` is None where there is no terminal."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._began = time.monotonic()
        self._live = Live(console=console, auto_refresh=False, transient=True) if console.is_terminal else None

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._live is not None:
            self._live.stop()

    def tick(self) -> None:
        """Time has passed: show how far it is now."""
        if self._live is not None:
            self._live.update(self._screen(), refresh=True)

    def _screen(self) -> RenderableType:
        raise NotImplementedError
