"""Faults in the broker: the work queue loses its bindings, or is deleted under its consumer; memory runs out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from chaos.faults.site import Attestation, FaultSite, injected
from harness.contract.log_lines import EventPublished
from harness.environment.waiting import eventually


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


@contextmanager
def work_queue_deleted(site: FaultSite) -> Iterator[Attestation]:
    """Delete the work queue while it is empty: the broker cancels its consumer, who has to notice and make it anew.

    There is nothing to undo but waiting: the system itself has to heal this.
    """
    with injected(
        site,
        "deleted",
        "the work queue",
        effect=site.broker.delete_work_queue,
        undo=lambda: eventually(
            site.broker.work_queue_has_consumer, within_s=10, describe="the work queue to be there again, consumed"
        ),
    ) as attestation:
        attestation.add(1, "the queue had a consumer, which the broker cancelled")
        yield attestation


@contextmanager
def memory_alarm(site: FaultSite) -> Iterator[Attestation]:
    """The broker stops to read from whoever publishes, for the duration of the block, which attests what it hit."""
    with injected(
        site,
        "memory alarm",
        "the broker's memory",
        effect=lambda: site.memory_alarm(True),
        undo=lambda: site.memory_alarm(False),
    ) as attestation:
        yield attestation
