"""A table refuses to be written, with an error that no service foresees."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from chaos.faults.server_log import ServerLog
from chaos.faults.site import Attestation, FaultSite, injected
from harness.environment import postgres

_REFUSED = r"ERROR: .*gauntlet: writes to \S+ are refused"
_FUNCTION = "public.gauntlet_refuse"
_TRIGGER = "gauntlet_refuse"


@contextmanager
def refusing_writes(site: FaultSite, place: str) -> Iterator[Attestation]:
    """Every INSERT or UPDATE on a table (``crm.deals``) fails for the duration of the block. Hits: those that did."""
    told = ServerLog(site.service(postgres.NAME))

    def refuse() -> None:
        site.database.execute(
            f"""CREATE FUNCTION {_FUNCTION}() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN RAISE EXCEPTION 'gauntlet: writes to % are refused', TG_TABLE_NAME; END $$;
            CREATE TRIGGER {_TRIGGER} BEFORE INSERT OR UPDATE ON {place} FOR EACH ROW EXECUTE FUNCTION {_FUNCTION}()"""
        )

    def allow() -> None:
        site.database.execute(f"DROP TRIGGER IF EXISTS {_TRIGGER} ON {place}; DROP FUNCTION IF EXISTS {_FUNCTION}()")

    with injected(site, f"writes to {place} refused", "database rows", effect=refuse, undo=allow) as attestation:
        yield attestation
        refused = told.count(_REFUSED)
        attestation.add(refused, f"{refused} writes were refused")
