"""Any toxic of Toxiproxy on one direction of an edge (https://github.com/Shopify/toxiproxy#toxics)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from chaos.faults.site import Attestation, FaultSite, injected


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
