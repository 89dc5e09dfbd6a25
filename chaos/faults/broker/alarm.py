"""The broker believes that it has used up its memory: it stops to read from whoever publishes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from chaos.faults.site import Attestation, FaultSite, injected

MEMORY = "the broker's memory"


@contextmanager
def memory_alarm(site: FaultSite, place: str = MEMORY) -> Iterator[Attestation]:
    """An alarm for the duration of the block. Hits: connections that had something to publish and were blocked."""
    with injected(
        site,
        "memory alarm",
        place,
        effect=partial(site.node.set_memory_alarm, on=True),
        undo=partial(site.node.set_memory_alarm, on=False),
    ) as attestation:
        yield attestation
        blocked = site.node.blocked_connections()
        attestation.add(blocked, f"{blocked} connections that had something to publish were blocked")
