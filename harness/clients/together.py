"""Many clients at once: the only way to see a race is to start it from one line."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Value = TypeVar("Value")


def together(actions: Sequence[Callable[[], Value]], *, within_s: float = 30.0) -> list[Value]:
    """Run all actions at the same time, each in a thread of its own, released by one barrier. Answers in order.

    Raises what an action raises, and TimeoutError when one has not ended ``within_s``.
    """
    barrier = threading.Barrier(len(actions))

    def run(action: Callable[[], Value]) -> Value:
        barrier.wait(within_s)
        return action()

    with ThreadPoolExecutor(len(actions)) as pool:
        futures = [pool.submit(run, action) for action in actions]
        return [future.result(within_s) for future in futures]
