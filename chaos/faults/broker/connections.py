"""The broker closes the connections of one service, or everybody's, as an administrator or a policy of its does."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from chaos.faults.site import Attestation, FaultSite, injected
from harness.environment import rabbitmq


@contextmanager
def closed(site: FaultSite, place: str) -> Iterator[Attestation]:
    """Close all connections of an edge to the broker (``pipeline→broker``), or of all (``rabbitmq``). Hits: how many.

    A service's connections are those whose name (``connection_name``) begins with its own. There is nothing to undo:
    nobody is kept from connecting again.
    """
    named = "" if place == rabbitmq.NAME else f"{_service(site, place)}-"
    counts: list[int] = []
    with injected(
        site, "closed", place, effect=lambda: counts.append(site.node.close_connections(named)), undo=lambda: None
    ) as attestation:
        attestation.add(sum(counts), f"{sum(counts)} connections were closed by the broker")
        yield attestation


def _service(site: FaultSite, edge: str) -> str:
    service, dependency = site.target.edge_parts(edge)
    if dependency != "broker":
        raise ValueError(f"closed: expected an edge to the broker or {rabbitmq.NAME!r}, not {edge!r}")
    return service
