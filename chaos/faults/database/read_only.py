"""The database can be read and not written, as after a failover to a replica, or when its disk is about to fill up."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from chaos.faults.server_log import ServerLog
from chaos.faults.site import Attestation, FaultSite, injected
from harness.environment import postgres

_REFUSED = r"ERROR: .*cannot execute .* in a read-only transaction"


@contextmanager
def read_only(site: FaultSite, place: str = postgres.NAME) -> Iterator[Attestation]:
    """Every transaction begun in the block is read-only, also in sessions that are there. Hits: writes refused."""
    told = ServerLog(site.service(postgres.NAME))
    with injected(
        site,
        "read-only",
        place,
        effect=lambda: site.database.set_read_only(True),
        undo=lambda: site.database.set_read_only(False),
    ) as attestation:
        yield attestation
        refused = told.count(_REFUSED)
        attestation.add(refused, f"{refused} statements that would have written were refused")
