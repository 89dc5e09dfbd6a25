"""The server ends sessions under the feet of those who use them, as it does at a failover or by an administrator."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from chaos.faults.database.roles import roles_at
from chaos.faults.site import Attestation, FaultSite, injected


@contextmanager
def terminated(site: FaultSite, place: str) -> Iterator[Attestation]:
    """Terminate all sessions of a service (``crm→database``) or of all (``postgres``). Hits: how many there were.

    There is nothing to undo: nobody is kept from connecting again.
    """
    roles = roles_at(site, place)
    ended: list[bool] = []
    with injected(
        site, "terminated", place, effect=lambda: ended.extend(site.database.terminate(roles)), undo=lambda: None
    ) as attestation:
        attestation.add(len(ended), f"{len(ended)} sessions were terminated, {sum(ended)} of them in a transaction")
        yield attestation
