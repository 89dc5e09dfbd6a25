"""Faults in the broker: the work queue loses its bindings, so that an event is published to nobody."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from chaos.faults.site import Attestation, FaultSite, injected
from harness.contract.log_lines import EventPublished


@contextmanager
def unbound(site: FaultSite) -> Iterator[Attestation]:
    """Take all bindings from the work queue for the duration of the block. Hits: events that the broker returned."""
    with injected(
        site,
        "unbound",
        "the work queue's bindings",
        effect=site.broker.unbind_work_queue,
        undo=site.broker.bind_work_queue,
    ) as attestation:
        yield attestation
        returned = sum(isinstance(line, EventPublished) and line.status == "returned" for line in site.log())
        attestation.add(returned, f"{returned} publishes were returned as unroutable")
