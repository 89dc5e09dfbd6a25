"""A row or a whole table is locked by somebody who takes his time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from chaos.faults.server_log import ServerLog
from chaos.faults.site import Attestation, FaultSite, injected
from harness.environment import postgres

_GAVE_UP = r"ERROR: .*canceling statement due to (lock|statement) timeout"


@contextmanager
def locked(site: FaultSite, place: str, *, rows: str = "") -> Iterator[Attestation]:
    """Lock a table (``crm.deals``), or those of its rows that match a condition, for the duration of the block.

    Hits: statements that gave up waiting meanwhile, and those that still wait at its end.
    """
    statement = f"SELECT 1 FROM {place} WHERE {rows} FOR UPDATE" if rows else f"LOCK TABLE {place}"
    kind, told = "row locked" if rows else "table locked", ServerLog(site.service(postgres.NAME))
    held = ExitStack()
    waiting: list[Callable[[], int]] = []

    def lock() -> None:
        waiting.append(held.enter_context(site.database.locking(statement)))

    with injected(site, kind, place, effect=lock, undo=held.close) as attestation:
        yield attestation
        still, gave_up = sum(count() for count in waiting), told.count(_GAVE_UP)
        attestation.add(still + gave_up, f"{gave_up} statements gave up waiting for the lock, and {still} still waited")
