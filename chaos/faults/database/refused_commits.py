"""A transaction is rolled back at the last moment: all its statements went well, its COMMIT does not."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from chaos.faults.database.deferred import at_commit, no_longer
from chaos.faults.server_log import ServerLog
from chaos.faults.site import Attestation, FaultSite, injected
from harness.environment import postgres

_REFUSE = "gauntlet_refuse_commit"
_REFUSED = r"ERROR: .*gauntlet: this COMMIT is refused"


@contextmanager
def commit_refused(site: FaultSite, place: str, *, entity_id: str) -> Iterator[Attestation]:
    """Who has inserted a row of this entity cannot commit for the duration of the block. Hits: COMMITs refused.

    With the error that a serialisable database gives (SQLSTATE 40001): a service may try the whole again.
    """
    told = ServerLog(site.service(postgres.NAME))
    refuse = "RAISE EXCEPTION 'gauntlet: this COMMIT is refused' USING ERRCODE = 'serialization_failure';"
    with injected(
        site,
        "commit refused",
        "database rows",
        effect=lambda: at_commit(site, _REFUSE, place, entity_id=entity_id, do=refuse),
        undo=lambda: no_longer(site, _REFUSE, place),
    ) as attestation:
        yield attestation
        refused = told.count(_REFUSED)
        attestation.add(refused, f"{refused} COMMITs were refused")
