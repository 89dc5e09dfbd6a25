"""What views of long work share: on a terminal a screen that changes, elsewhere lines."""

from __future__ import annotations

import time
from functools import partial
from types import TracebackType
from typing import Self

from rich.console import Console, RenderableType
from rich.live import Live


class LiveView:
    """Shown for the duration of a ``with`` block. ``_live`` is None where there is no terminal.

    ``redirect``: what others print meanwhile appears above it.
    """

    def __init__(self, console: Console, *, redirect: bool = True) -> None:
        self._console = console
        self._began = time.monotonic()
        shown = partial(Live, auto_refresh=False, transient=True, redirect_stdout=redirect, redirect_stderr=redirect)
        self._live = shown(console=console) if console.is_terminal else None

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
