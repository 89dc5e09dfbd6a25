"""Faults in the database: a table that refuses to be written, and a transaction that is committed late."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from chaos.faults.site import Attestation, FaultSite, injected

_FUNCTION = "public.gauntlet_refuse"
_TRIGGER = "gauntlet_refuse"
_WAIT = "gauntlet_wait"
_LOCK = 4_711


@contextmanager
def refusing_writes(site: FaultSite, table: str) -> Iterator[Attestation]:
    """Every INSERT or UPDATE on the table fails for the duration of the block, with an error no service foresees."""

    def refuse() -> None:
        site.database.execute(
            f"""CREATE FUNCTION {_FUNCTION}() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN RAISE EXCEPTION 'gauntlet: writes to % are refused', TG_TABLE_NAME; END $$;
            CREATE TRIGGER {_TRIGGER} BEFORE INSERT OR UPDATE ON {table} FOR EACH ROW EXECUTE FUNCTION {_FUNCTION}()"""
        )

    def allow() -> None:
        site.database.execute(f"DROP TRIGGER IF EXISTS {_TRIGGER} ON {table}; DROP FUNCTION IF EXISTS {_FUNCTION}()")

    with injected(site, f"writes to {table} refused", "database rows", effect=refuse, undo=allow) as attestation:
        yield attestation


@contextmanager
def commit_held(site: FaultSite, table: str, entity_id: str) -> Iterator[Attestation]:
    """Who has inserted a row of this entity waits with its COMMIT for the duration of the block, which attests it.

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
            CREATE CONSTRAINT TRIGGER {_WAIT} AFTER INSERT ON {table} DEFERRABLE INITIALLY DEFERRED
                FOR EACH ROW WHEN (NEW.entity_id = '{entity_id}') EXECUTE FUNCTION public.{_WAIT}()"""
        )

    def release() -> None:
        held.close()
        site.database.execute(f"DROP TRIGGER IF EXISTS {_WAIT} ON {table}; DROP FUNCTION IF EXISTS public.{_WAIT}()")

    with injected(site, "commit held", "database rows", effect=hold, undo=release) as attestation:
        yield attestation
