"""Traffic that goes on while something else happens, from clients that follow readiness."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import cycle

from harness.environment.waiting import eventually
from harness.evidence.records import Operation
from scenarios.world import WITHIN_S, World

_MOST = 2_000
_CLIENTS = 3
_THINKS_S = 0.1
"""Between two operations of a client: the traffic shall be there all the time, not load the machine."""


@contextmanager
def traffic(operate: Callable[[], Operation]) -> Iterator[list[Operation]]:
    """Several clients operate, one operation after the other, for the duration of the block. What they did so far.

    The block is entered when each client has been served once, and left when each has been served again at its end.
    """
    done: list[Operation] = []
    failures: list[BaseException] = []
    ending = threading.Event()

    def client() -> None:
        try:
            while not ending.is_set() and len(done) < _MOST:
                done.append(operate())
                ending.wait(_THINKS_S)
        except BaseException as failure:  # a thread's failure is the scenario's failure
            failures.append(failure)

    def served(since: int) -> bool:
        return bool(failures) or len(done) >= since + _CLIENTS

    threads = [threading.Thread(target=client, name=f"client {number}", daemon=True) for number in range(_CLIENTS)]
    for thread in threads:
        thread.start()
    try:
        eventually(lambda: served(0), within_s=WITHIN_S, describe="the first operations of the traffic")
        yield done
        now = len(done)
        eventually(lambda: served(now), within_s=WITHIN_S, describe="operations of the traffic after its disturbance")
    finally:
        ending.set()
        for thread in threads:
            thread.join(timeout=WITHIN_S)
    if failures:
        raise failures[0]


def to_a_ready_one(
    world: World, replicas: Sequence[str], operate: Callable[[str], Operation]
) -> Callable[[], Operation]:
    """An operation that goes to one of the replicas which say that they are ready, by turns, as a balancer does."""
    turns = cycle(range(len(replicas)))

    def operation() -> Operation:
        turn = next(turns)
        order = [*replicas[turn:], *replicas[:turn]]
        chosen = eventually(
            lambda: next(filter(world.ready, order), None),  # one may go and the other come between two looks
            within_s=WITHIN_S,
            describe=f"one of {', '.join(replicas)} to be ready",
        )
        return operate(chosen)

    return operation
