"""A transaction is committed late: after others that began later."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from chaos.faults.site import Attestation, FaultSite, injected

_WAIT = "gauntlet_wait"
_LOCK = 4_711


@contextmanager
def commit_held(site: FaultSite, place: str, *, entity_id: str) -> Iterator[Attestation]:
    """Who has inserted a row of this entity waits with its COMMIT for the duration of the block. Hits: who does.

    A deferred trigger does the waiting: everything else of the transaction has been done by then, its ids are drawn.
    It asks for the lock again and again, for a service may bear less waiting for a lock than for a statement.
    """
    held = ExitStack()

    def hold() -> None:
        held.enter_context(site.database.holding(_LOCK))
        site.database.execute(
            f"""CREATE FUNCTION public.{_WAIT}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                WHILE NOT pg_try_advisory_xact_lock_shared({_LOCK}) LOOP PERFORM pg_sleep(0.005); END LOOP;
                RETURN NULL; END $$;
            CREATE CONSTRAINT TRIGGER {_WAIT} AFTER INSERT ON {place} DEFERRABLE INITIALLY DEFERRED
                FOR EACH ROW WHEN (NEW.entity_id = '{entity_id}') EXECUTE FUNCTION public.{_WAIT}()"""
        )

    def release() -> None:
        held.close()
        site.database.execute(f"DROP TRIGGER IF EXISTS {_WAIT} ON {place}; DROP FUNCTION IF EXISTS public.{_WAIT}()")

    with injected(site, "commit held", "database rows", effect=hold, undo=release) as attestation:
        yield attestation
        waiting = site.database.committing()
        attestation.add(waiting, f"{waiting} COMMITs waited")
