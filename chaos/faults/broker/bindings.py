"""The work queue loses its bindings: whatever is published has nowhere to go."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from chaos.faults.site import Attestation, FaultSite, injected
from harness.contract.log_lines import EventPublished
from harness.evidence.clock import wall_now

BINDINGS = "the work queue's bindings"


@contextmanager
def unbound(site: FaultSite, place: str = BINDINGS) -> Iterator[Attestation]:
    """Take all bindings from the work queue for the duration of the block. Hits: events that the broker returned."""
    began = wall_now()
    with injected(
        site, "unbound", place, effect=site.broker.unbind_work_queue, undo=site.broker.bind_work_queue
    ) as attestation:
        yield attestation
        returned = sum(
            isinstance(line, EventPublished) and line.status == "returned" and line.ts >= began for line in site.log()
        )
        attestation.add(returned, f"{returned} publishes were returned as unroutable")
