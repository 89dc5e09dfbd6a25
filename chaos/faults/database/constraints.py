"""One more constraint stands on a table than its service knows of, as after a migration that came too early."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from chaos.faults.server_log import ServerLog
from chaos.faults.site import Attestation, FaultSite, injected
from harness.environment import postgres

_ONE = "gauntlet_one"
_REFUSED = rf'ERROR: .*duplicate key value violates unique constraint "{_ONE}"'


@contextmanager
def one_row_only(site: FaultSite, place: str, *, rows: str) -> Iterator[Attestation]:
    """For the duration of the block a table (``crm.deals``) takes one row only of those that match a condition.

    It may hold one already. The next one is refused as a duplicate would be (SQLSTATE 23505), and is none. Hits: those.
    """
    schema, told = place.partition(".")[0], ServerLog(site.service(postgres.NAME))
    create = f"CREATE UNIQUE INDEX {_ONE} ON {place} ((true)) WHERE {rows}"
    drop = f"DROP INDEX IF EXISTS {schema}.{_ONE}"
    with injected(
        site,
        "one row only",
        place,
        effect=lambda: site.database.execute(create),
        undo=lambda: site.database.execute(drop),
    ) as attestation:
        yield attestation
        refused = told.count(_REFUSED)
        attestation.add(refused, f"{refused} rows were refused by a constraint that nobody knew of")
