"""A transaction is committed late: after others that began later."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from chaos.faults.database.deferred import at_commit, no_longer
from chaos.faults.site import Attestation, FaultSite, injected

_WAIT = "gauntlet_wait"
_LOCK = 4_711


@contextmanager
def commit_held(site: FaultSite, place: str, *, entity_id: str) -> Iterator[Attestation]:
    """Who has inserted a row of this entity waits with its COMMIT for the duration of the block. Hits: who does.

    It asks for the lock again and again, for a service may bear less waiting for a lock than for a statement.
    """
    held = ExitStack()
    wait = f"WHILE NOT pg_try_advisory_xact_lock_shared({_LOCK}) LOOP PERFORM pg_sleep(0.005); END LOOP;"

    def hold() -> None:
        held.enter_context(site.database.holding(_LOCK))
        at_commit(site, _WAIT, place, entity_id=entity_id, do=wait)

    def release() -> None:
        held.close()
        no_longer(site, _WAIT, place)

    with injected(site, "commit held", "database rows", effect=hold, undo=release) as attestation:
        yield attestation
        waiting = site.database.committing()
        attestation.add(waiting, f"{waiting} COMMITs waited")
