"""Faults in the database: a table that refuses to be written, so that its service answers 500 while it is healthy."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from chaos.faults.site import Attestation, FaultSite, injected

_FUNCTION = "public.gauntlet_refuse"
_TRIGGER = "gauntlet_refuse"


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
