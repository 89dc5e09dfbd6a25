"""Whose sessions in the database are meant by a place: one service's (its edge) or everybody's (the server)."""

from __future__ import annotations

from chaos.faults.site import FaultSite
from harness.environment import postgres


def roles_at(site: FaultSite, place: str) -> list[str]:
    """``crm→database``: the role of that name; ``postgres``: all roles of the target. Raises ValueError otherwise."""
    roles = list(site.target.database.roles)
    if place == postgres.NAME:
        return roles
    role, _, dependency = place.partition("→")
    if dependency != "database" or role not in roles:
        known = ", ".join([*(f"{name}→database" for name in roles), postgres.NAME])
        raise ValueError(f"no sessions of services at {place!r}; there are: {known}")
    return [role]
