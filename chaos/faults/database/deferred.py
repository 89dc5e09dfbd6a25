"""What happens to a transaction at its COMMIT: everything else of it has been done by then, its ids are drawn."""

from __future__ import annotations

from chaos.faults.site import FaultSite


def at_commit(site: FaultSite, name: str, place: str, *, entity_id: str, do: str) -> None:
    """Whoever has inserted a row of this entity into a table does this (PL/pgSQL) at its COMMIT: a deferred trigger."""
    site.database.execute(
        f"""CREATE FUNCTION public.{name}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {do} RETURN NULL; END $$;
        CREATE CONSTRAINT TRIGGER {name} AFTER INSERT ON {place} DEFERRABLE INITIALLY DEFERRED
            FOR EACH ROW WHEN (NEW.entity_id = '{entity_id}') EXECUTE FUNCTION public.{name}()"""
    )


def no_longer(site: FaultSite, name: str, place: str) -> None:
    site.database.execute(f"DROP TRIGGER IF EXISTS {name} ON {place}; DROP FUNCTION IF EXISTS public.{name}()")
