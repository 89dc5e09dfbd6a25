"""The work queue is full: what does not fit is refused, and whoever published it gets a nack."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from chaos.faults.site import Attestation, FaultSite, injected
from harness.contract.log_lines import EventPublished
from harness.evidence.clock import wall_now

WORK_QUEUE = "the work queue"


@contextmanager
def queue_full(site: FaultSite, place: str = WORK_QUEUE, *, max_length: int = 1) -> Iterator[Attestation]:
    """Let the work queue hold so many messages that wait for a consumer. Hits: publishes that were nacked.

    It refuses only when it holds more than that: as long as its consumer keeps up, it refuses nothing.
    """
    queue, began = site.target.broker.work_queue, wall_now()
    with injected(
        site,
        f"full at {max_length}",
        place,
        effect=partial(site.node.limit_queue, queue, max_length=max_length),
        undo=partial(site.node.unlimit, queue),
    ) as attestation:
        yield attestation
        nacked = sum(
            isinstance(line, EventPublished) and line.status == "nacked" and line.ts >= began for line in site.log()
        )
        attestation.add(nacked, f"{nacked} publishes were nacked")
