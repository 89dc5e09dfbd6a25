"""The server's connections are used up: who has some keeps them, and nobody gets another one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from chaos.faults.database.roles import roles_at
from chaos.faults.server_log import ServerLog
from chaos.faults.site import Attestation, FaultSite, injected
from harness.environment import postgres

_REFUSED = r"FATAL: .*too many connections for"


@contextmanager
def exhausted(site: FaultSite, place: str) -> Iterator[Attestation]:
    """Let no new session of a service (``crm→database``) or of any (``postgres``) in. Hits: attempts refused.

    By the limit of the roles: the refusal is the same (SQLSTATE 53300) as when all slots are taken, and comes at the
    same moment of connecting, but taking 200 slots takes a second, and would be felt by the witnesses too.
    """
    roles, told = roles_at(site, place), ServerLog(site.service(postgres.NAME))

    def limit(count: int) -> None:
        for role in roles:
            site.database.execute(f"ALTER ROLE {role} CONNECTION LIMIT {count}")

    with injected(site, "exhausted", place, effect=lambda: limit(0), undo=lambda: limit(-1)) as attestation:
        yield attestation
        refused = told.count(_REFUSED)
        attestation.add(refused, f"{refused} attempts to connect were refused")
