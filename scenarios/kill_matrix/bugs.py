"""Hunting many bugs, some side by side, each on a stack of its own; and the record of it all."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Protocol

from chaos.seeded_bugs.catalogue import Bug
from harness.evidence.hunted import Hunted
from harness.target import Target
from scenarios.kill_matrix.hunt import Hunting, hunt
from scenarios.kill_matrix.stages import stages, whole_gate

_TICK_S = 0.25


class Listener(Protocol):
    """Whoever watches a hunt."""

    def runs(self, bug: str, stage: str) -> object:
        """A bug meets its next stage."""

    def ended(self, one: Hunted) -> object:
        """This is what became of a bug."""

    def tick(self) -> object:
        """Time has passed."""


def hunt_all(
    bugs: Mapping[str, Bug],
    known: Mapping[str, Bug],
    target: Target,
    run_dir: Path,
    hunting: Hunting,
    *,
    workers: int,
    listener: Listener,
) -> list[Hunted]:
    """What became of each bug, in their order. ``known``: bugs whose killers are known.

    Ctrl-C ends what runs and everything that it has started; what was not hunted to its end says so.
    """

    def one(name: str) -> Hunted:
        bug = bugs[name]
        meets = [whole_gate(bug, known)] if hunting.exhaustive else stages(bug, known, target)
        return hunt(name, bug, run_dir / name, meets, hunting, listener.runs)

    with ThreadPoolExecutor(workers, thread_name_prefix="hunt") as pool:
        futures = {pool.submit(one, name): name for name in bugs}
        found: dict[str, Hunted] = {}
        try:
            for hunted in _as_they_end(futures, listener.tick):
                found[hunted.bug] = hunted
                listener.ended(hunted)
        except KeyboardInterrupt:
            hunting.interrupted.set()
            pool.shutdown(cancel_futures=True)
            found |= {future.result().bug: future.result() for future in futures if not future.cancelled()}
    return [found.get(name) or _not_run(name, bug) for name, bug in bugs.items()]


def _as_they_end(futures: Mapping[Future[Hunted], str], tick: Callable[[], object]) -> Iterator[Hunted]:
    waiting = set(futures)
    while waiting:
        done, waiting = wait(waiting, timeout=_TICK_S, return_when=FIRST_COMPLETED)
        tick()
        for future in done:
            yield future.result()


def _not_run(name: str, bug: Bug) -> Hunted:
    return Hunted(bug=name, name=bug.name, outcome="not run", expect=bug.expect, says="interrupted")
