"""Faults on an edge: cut (connections drop, new ones are refused) and slow (every byte comes late)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from chaos.faults.site import Attestation, FaultSite, injected


@contextmanager
def cut(site: FaultSite, edge: str) -> Iterator[Attestation]:
    """Cut an edge for the duration of the block. Hits: the connections that were established and are now dropped."""
    dropped = site.proxy.connections_on(edge)
    with injected(
        site,
        "cut",
        edge,
        effect=lambda: site.proxy.cut(edge),
        undo=lambda: site.proxy.restore(edge),
    ) as attestation:
        attestation.add(dropped, f"{dropped} established connections dropped")
        yield attestation


@contextmanager
def slow(site: FaultSite, edge: str, *, delay_ms: int) -> Iterator[Attestation]:
    """Delay both directions of an edge. Hits: the bytes that went through it meanwhile."""

    def delay_both_ways() -> None:
        for stream in ("upstream", "downstream"):
            site.proxy.add_toxic(edge, "latency", stream=stream, attributes={"latency": delay_ms})

    before = site.proxy.bytes_through(edge)
    with injected(
        site,
        f"slow {delay_ms} ms each way",
        edge,
        effect=delay_both_ways,
        undo=lambda: site.proxy.restore(edge),
    ) as attestation:
        yield attestation
        late = site.proxy.bytes_through(edge) - before
        attestation.add(late, f"{late} bytes went through late")
