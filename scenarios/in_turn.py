"""Many trials on a few workers: which of them run at this moment, and what became of each as soon as it is known."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait

from scenarios.trials import Trial, TrialResult, Trials


def in_turn(at_work: Trials, todo: Sequence[Trial]) -> Iterator[tuple[Trial, TrialResult | None]]:
    """Run them in this order, as many at a time as there are workers.

    Gives each trial twice: without a result when it begins, with it when it has ended. Raises EnvironmentFailed.
    """
    waiting = iter(todo)
    running: dict[Future[TrialResult], Trial] = {}
    while True:
        while len(running) < at_work.workers and (trial := next(waiting, None)) is not None:
            running[at_work.start(trial)] = trial
            yield trial, None
        if not running:
            return
        for future in wait(running, return_when=FIRST_COMPLETED).done:
            yield running.pop(future), future.result()
