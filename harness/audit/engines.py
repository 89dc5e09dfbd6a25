"""Where the pieces of work are done: here, in some processes, or on a Ray cluster. The findings are the same."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Literal, Protocol, TypeVar

Task = TypeVar("Task")
Result = TypeVar("Result")
EngineName = Literal["processes", "ray"]


class EngineError(Exception):
    """The engine that was asked for is not there. The message says how to get it."""


class Engine(Protocol):
    def __call__(self, work: Callable[[Task], Result], tasks: Iterable[Task]) -> Iterator[Result]:
        """The results, in the order of the tasks, of which only some are taken ahead."""


def _here(work: Callable[[Task], Result], tasks: Iterable[Task]) -> Iterator[Result]:
    return map(work, tasks)


@contextmanager
def engine(name: EngineName, processes: int) -> Iterator[Engine]:
    """Raises EngineError."""
    if name == "ray":
        with _ray(processes) as there:
            yield there
    elif processes == 1:
        yield _here
    else:
        # Forked from a small parent, before anything of it has begun a thread.
        with multiprocessing.get_context("fork").Pool(processes, _leave_interrupts_to_the_parent) as pool:
            yield _ahead(lambda work, task: pool.apply_async(work, (task,)).get, processes)


def _leave_interrupts_to_the_parent() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # by which the parent ends them


@contextmanager
def _ray(processes: int) -> Iterator[Engine]:
    try:
        import ray
    except ImportError:
        raise EngineError("--engine ray needs Ray: pip install 'gauntlet[scale]'") from None
    here: dict[str, Any] = {} if "RAY_ADDRESS" in os.environ else {"num_cpus": processes, "include_dashboard": False}
    ray.init(log_to_driver=False, ignore_reinit_error=True, **here)

    def submit(work: Callable[[Any], Any], task: Any) -> Callable[[], Any]:
        reference = ray.remote(work).remote(task)
        return lambda: ray.get(reference)

    try:
        yield _ahead(submit, processes)
    finally:
        ray.shutdown()


def _ahead(submit: Callable[[Callable[[Any], Any], Any], Callable[[], Any]], processes: int) -> Engine:
    """Keep every worker busy, and no more than one task waiting for each."""

    def run(work: Callable[[Task], Result], tasks: Iterable[Task]) -> Iterator[Result]:
        waiting: deque[Callable[[], Result]] = deque()
        for task in tasks:
            waiting.append(submit(work, task))
            if len(waiting) >= 2 * processes:
                yield waiting.popleft()()
        while waiting:
            yield waiting.popleft()()

    return run
