"""The work queue is deleted under its consumer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from chaos.faults.site import Attestation, FaultSite, injected
from harness.environment.waiting import eventually

WORK_QUEUE = "the work queue"


@contextmanager
def work_queue_deleted(site: FaultSite, place: str = WORK_QUEUE) -> Iterator[Attestation]:
    """Delete the work queue while it is empty. Hits: its consumers, whom the broker cancelled.

    There is nothing to undo but waiting: the system itself has to notice, and to make it anew.
    """
    consumers: list[int] = []
    with injected(
        site,
        "deleted",
        place,
        effect=lambda: consumers.append(site.broker.delete_work_queue()),
        undo=lambda: eventually(
            site.broker.work_queue_has_consumer, within_s=10, describe="the work queue to be there again, consumed"
        ),
    ) as attestation:
        attestation.add(sum(consumers), f"the queue had {sum(consumers)} consumers, which the broker cancelled")
        yield attestation
