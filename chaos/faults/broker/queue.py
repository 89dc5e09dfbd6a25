"""The work queue is deleted under its consumer, and perhaps made anew by somebody else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from chaos.faults.site import Attestation, FaultSite, injected
from harness.environment.waiting import eventually

WORK_QUEUE = "the work queue"


@contextmanager
def work_queue_deleted(site: FaultSite, place: str = WORK_QUEUE) -> Iterator[Attestation]:
    """Delete the work queue while it is empty. Hits: its consumers, whom the broker cancelled.

    There is nothing to undo but waiting: the system itself has to notice, and to make it anew.
    """
    with _taken(site, "deleted", place, site.broker.delete_work_queue) as attestation:
        yield attestation


@contextmanager
def work_queue_made_anew(site: FaultSite, place: str = WORK_QUEUE) -> Iterator[Attestation]:
    """Delete the work queue while it is empty, and declare it again at once, as an administrator may. Hits as above.

    All looks well to whoever looks at the queue: that nobody consumes it, only those know whom the broker has told.
    """

    def make_anew() -> int:
        consumers = site.broker.consumers_of_empty_work_queue()
        site.node.make_anew(site.target.broker.work_queue)
        return consumers

    with _taken(site, "made anew", place, make_anew) as attestation:
        yield attestation


@contextmanager
def _taken(site: FaultSite, kind: str, place: str, take: Callable[[], int]) -> Iterator[Attestation]:
    consumers: list[int] = []
    with injected(
        site,
        kind,
        place,
        effect=lambda: consumers.append(take()),
        undo=lambda: eventually(
            site.broker.work_queue_has_consumer, within_s=10, describe="the work queue to be there again, consumed"
        ),
    ) as attestation:
        attestation.add(sum(consumers), f"the queue had {sum(consumers)} consumers, which the broker cancelled")
        yield attestation
