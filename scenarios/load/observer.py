"""Looking at the system while it is under load, some times a second, from beside: rows, queues, processor, memory."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

from harness.environment import keeper
from harness.environment.stack import Stack
from harness.evidence.run_directory import write_records
from harness.load.records import Observation, Usage
from harness.load.usage import MachineCpu, usage_of
from scenarios.world import World

EVERY_S = 0.5
_WHO_EVERY_S = 3.0
"""Which processes there are is asked less often: to find them, all of the machine's are looked at."""


class Observer:
    """At work in a thread for the duration of a ``with`` block; writes each observation down.

    While the database or the broker is away there is no observation: nobody knows how much waits there then.
    """

    def __init__(self, world: World, file: Path, *, generator: Callable[[], Iterable[int]]) -> None:
        self._world, self._file, self._generator = world, file, generator
        self._machine = MachineCpu()
        self._processes: dict[str, set[int]] = {}
        self._asked_who = 0.0
        self._ending = threading.Event()
        self._came = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="observer", daemon=True)
        self.latest: Observation | None = None
        self.seen: deque[tuple[int, bool]] = deque(maxlen=10_000)
        """When nothing waited anywhere, and when something did."""

    def __enter__(self) -> Observer:
        write_records(self._file, ())
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._ending.set()
        self._thread.join()

    def await_empty(self, *, since_ns: int, within_s: float) -> bool:
        """Wait until nothing waits anywhere, by an observation from then on. Whether it has come so far."""

        def empty() -> bool:
            return any(nothing and at_ns >= since_ns for at_ns, nothing in self.seen)

        with self._came:
            return self._came.wait_for(empty, timeout=within_s)

    def empty_for_good_since(self, since_ns: int) -> int | None:
        """From which observation on nothing waited any more; None if something still does."""
        drained_ns = None
        for at_ns, nothing in self.seen:
            if at_ns >= since_ns:
                drained_ns = (drained_ns or at_ns) if nothing else None
        return drained_ns

    def _run(self) -> None:
        while not self._ending.is_set():
            try:
                self._observe_on()
            except Exception:  # what is broken now is broken for the system too: others tell of that
                self._ending.wait(EVERY_S)

    def _observe_on(self) -> None:
        broker, database = self._world.broker, self._world.database
        with ExitStack() as asking:
            depths = asking.enter_context(broker.depths())
            backlog = asking.enter_context(database.backlog())
            while not self._ending.wait(EVERY_S):
                self._note(depths(), backlog())

    def _note(self, depths: dict[str, int], backlog: tuple[int, float]) -> None:
        dead = self._world.target.broker.dead_letter_queue
        unsent, oldest_unsent_s = backlog
        observation = Observation(
            at_ns=time.time_ns(),
            unsent=unsent,
            oldest_unsent_s=round(oldest_unsent_s, 3),
            depths={queue: depth for queue, depth in depths.items() if queue != dead},
            dead_letters=depths[dead],
            usage=self._usage(),
            machine_cpu=self._machine(),
        )
        write_records(self._file, [observation], append=True)
        with self._came:
            self.latest = observation
            self.seen.append((observation.at_ns, not unsent and not any(observation.depths.values())))
            self._came.notify_all()

    def _usage(self) -> dict[str, Usage]:
        if time.monotonic() - self._asked_who >= _WHO_EVERY_S:
            self._processes, self._asked_who = _who(self._world.stack), time.monotonic()
        usage = {name: usage_of(pids) for name, pids in self._processes.items()}
        return usage | {"generator": usage_of(self._generator())}


def _who(stack: Stack) -> dict[str, set[int]]:
    """The process ids of everything of the stack that runs, by its name."""
    running = {name: process for name, process in stack.processes.items() if process.starts and process.alive}
    parents = keeper.all_parents()
    return {name: keeper.tree([process.starts[-1].pid], parents) for name, process in running.items()}
