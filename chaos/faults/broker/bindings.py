"""The work queue loses its bindings: what is published has nowhere to go."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial

from chaos.faults.site import Attestation, FaultSite, injected
from harness.contract.log_lines import EventPublished
from harness.evidence.clock import wall_now

BINDINGS = "the work queue's bindings"


@contextmanager
def unbound(site: FaultSite, place: str = BINDINGS, *, but: Sequence[str] = ()) -> Iterator[Attestation]:
    """Take all bindings from the work queue for the duration of the block. Hits: events that the broker returned.

    ``but``: routing keys that still lead there.
    """
    began = wall_now()
    with injected(
        site,
        "unbound",
        place,
        effect=partial(site.broker.unbind_work_queue, but=but),
        undo=partial(site.broker.bind_work_queue, instead_of=but),
    ) as attestation:
        yield attestation
        returned = sum(
            isinstance(line, EventPublished) and line.status == "returned" and line.ts >= began for line in site.log()
        )
        attestation.add(returned, f"{returned} publishes were returned as unroutable")
