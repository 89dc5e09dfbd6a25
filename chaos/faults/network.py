"""Faults on an edge: cut (connections drop, new ones are refused) and slow (every byte comes late)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from chaos.faults.site import Attestation, FaultSite, injected
from harness.contract.log_lines import Line
from harness.evidence.clock import wall_now


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


def took_ms(line: Line) -> float:
    """How long the operation took of which this line tells the end; 0 for lines that tell no such thing."""
    return float(getattr(line, "duration_ms", None) or getattr(line, "confirm_ms", None) or 0.0)
