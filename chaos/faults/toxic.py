"""Any toxic of Toxiproxy on one direction of an edge (https://github.com/Shopify/toxiproxy#toxics)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from chaos.faults.site import Attestation, FaultSite, injected


@contextmanager
def toxic(
    site: FaultSite, edge: str, *, kind: str, stream: str, attributes: Mapping[str, int]
) -> Iterator[Attestation]:
    """A toxic for the duration of the block. Hits: what the proxy has counted that the toxic acted on.

    Needs a proxy that counts: raises ProxyError where it does not.
    """
    told = "".join(f" {name}={value}" for name, value in attributes.items())
    before = acted_on(site, edge, kind=kind, stream=stream)
    with injected(
        site,
        f"{kind} {stream}{told}",
        edge,
        effect=lambda: site.proxy.add_toxic(edge, kind, stream=stream, attributes=dict(attributes)),
        undo=lambda: site.proxy.restore(edge),
    ) as attestation:
        yield attestation
        hits = acted_on(site, edge, kind=kind, stream=stream) - before
        attestation.add(hits, f"the proxy counts {hits} {unit(kind)} that it acted on")


def acted_on(site: FaultSite, edge: str, *, kind: str, stream: str) -> int:
    """How much such a toxic has acted on since the proxy was made, in its ``unit``.

    Needs a proxy that counts: raises ProxyError where it does not.
    """
    acted = site.proxy.seen(edge).toxics.get(f"{kind}-{stream}")
    if acted is None:
        return 0
    return acted.chunks if unit(kind) == "chunks" else acted.connections


def unit(kind: str) -> str:
    """What a toxic acts on: connections as a whole, which it ends or whose end it delays, or the chunks on them."""
    return "connections" if kind in ("slow_close", "reset_peer", "limit_data", "timeout") else "chunks"
