"""Faults on an edge: cut (connections drop, new ones are refused), slow (every byte comes late), and any one toxic."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Literal

from chaos.faults.site import Attestation, FaultSite, injected
from harness.contract.log_lines import Line
from harness.evidence.clock import wall_now

_ON_CONNECTIONS = ("slow_close", "reset_peer", "limit_data", "timeout")
"""Toxics that do something to a connection as a whole, not to what passes on it."""


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
    """Delay both directions of an edge. Hits: what its service did meanwhile that took at least one delay.

    (Toxiproxy's own byte counters do not tell: they are written when a connection closes.)
    """

    def delay_both_ways() -> None:
        for stream in ("upstream", "downstream"):
            site.proxy.add_toxic(edge, "latency", stream=stream, attributes={"latency": delay_ms})

    began = wall_now()
    with injected(
        site,
        f"slow {delay_ms} ms each way",
        edge,
        effect=delay_both_ways,
        undo=lambda: site.proxy.restore(edge),
    ) as attestation:
        yield attestation
        service = edge.partition("→")[0]
        late = [
            line for line in site.log() if line.service == service and line.ts > began and took_ms(line) >= delay_ms
        ]
        attestation.add(len(late), f"{len(late)} operations of {service} took {delay_ms} ms or more")


@contextmanager
def toxic(
    site: FaultSite, edge: str, kind: str, *, stream: Literal["upstream", "downstream"], attributes: Mapping[str, int]
) -> Iterator[Attestation]:
    """A toxic of Toxiproxy on one direction of an edge. Hits: what the proxy itself counted that the toxic acted on.

    Needs a proxy that counts: raises ProxyError where it does not.
    """

    def poison() -> None:
        site.proxy.forget(edge)
        site.proxy.add_toxic(edge, kind, stream=stream, attributes=dict(attributes))

    with injected(
        site,
        f"{kind} {stream}",
        edge,
        effect=poison,
        undo=lambda: site.proxy.restore(edge),
    ) as attestation:
        yield attestation
        hits, proof = acted_on(site, edge, kind, stream)
        attestation.add(hits, proof)


def acted_on(site: FaultSite, edge: str, kind: str, stream: str) -> tuple[int, str]:
    """How much a toxic has acted on so far, and the proxy's count in words. Of what closes connections, those count."""
    seen = site.proxy.seen(edge).toxics.get(f"{kind}-{stream}")
    if seen is None:
        return 0, "the proxy has seen nothing of it"
    hits = seen.connections if kind in _ON_CONNECTIONS else seen.chunks
    return hits, f"the proxy counts {seen.connections} connections, {seen.chunks} chunks, {seen.bytes} bytes"


def took_ms(line: Line) -> float:
    """How long the operation took of which this line tells the end; 0 for lines that tell no such thing."""
    return float(getattr(line, "duration_ms", None) or getattr(line, "confirm_ms", None) or 0.0)
