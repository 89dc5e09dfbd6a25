"""Any toxic of Toxiproxy on one direction of an edge (https://github.com/Shopify/toxiproxy#toxics)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from chaos.faults.site import Attestation, FaultSite, injected

ON_CONNECTIONS = ("slow_close", "reset_peer", "limit_data", "timeout")
"""These do something to a connection as a whole, not to what passes on it."""


@contextmanager
def toxic(
    site: FaultSite, edge: str, *, kind: str, stream: str, attributes: Mapping[str, int]
) -> Iterator[Attestation]:
    """A toxic for the duration of the block, which attests what it hit."""
    told = "".join(f" {name}={value}" for name, value in attributes.items())
    with injected(
        site,
        f"{kind} {stream}{told}",
        edge,
        effect=lambda: site.proxy.add_toxic(edge, kind, stream=stream, attributes=dict(attributes)),
        undo=lambda: site.proxy.restore(edge),
    ) as attestation:
        yield attestation


def acted_on(site: FaultSite, edge: str, *, kind: str, stream: str) -> int:
    """How much such a toxic has acted on since the proxy was made: chunks, or the connections that it ended or delayed.

    Needs a proxy that counts: raises ProxyError where it does not.
    """
    acted = site.proxy.seen(edge).toxics.get(f"{kind}-{stream}")
    if acted is None:
        return 0
    return acted.connections if kind in ON_CONNECTIONS else acted.chunks
