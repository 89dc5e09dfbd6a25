"""A timer that never rings too early: uvloop's tick in milliseconds, by a clock that stands still while it works."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable


class Alarm:
    """Rings once, if it is not called off before. ``when`` is a moment of ``time.monotonic``."""

    __slots__ = ("_handle", "_then", "_when")

    def __init__(self, when: float, then: Callable[[], None]) -> None:
        self._when = when
        self._then = then
        self._set(when - time.monotonic())

    def call_off(self) -> None:
        self._handle.cancel()

    def _set(self, left_s: float) -> None:
        whole_ms = max(1, math.ceil(left_s * 1000)) / 1000  # 0 would be a busy wait
        self._handle = asyncio.get_running_loop().call_later(whole_ms, self._look)

    def _look(self) -> None:
        left_s = self._when - time.monotonic()
        if left_s > 0:
            self._set(left_s)
        else:
            self._then()
