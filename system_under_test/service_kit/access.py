"""Who calls: bearer tokens, each with a name and a role."""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable, Mapping
from typing import Annotated

from fastapi import Depends, Request

from system_under_test.service_kit.problems import Problem
from system_under_test.service_kit.settings import Identity, Role


def identify(authorization: bytes, identities: Mapping[str, Identity]) -> Identity | None:
    """Every token is compared, each in constant time: the time taken says nothing of how near a guess is."""
    scheme, _, presented = authorization.partition(b" ")
    found: Identity | None = None
    for token, identity in identities.items():
        if hmac.compare_digest(presented.strip(), token.encode()):
            found = identity
    return found if scheme.lower() == b"bearer" else None


def unauthorized() -> Problem:
    return Problem(401, "unauthorized", "a valid bearer token is needed", headers={"WWW-Authenticate": "Bearer"})


async def caller(request: Request) -> Identity:
    identity: Identity = request.scope["identity"]
    return identity


Caller = Annotated[Identity, Depends(caller)]


def only(role: Role) -> Callable[[Caller], Awaitable[None]]:
    async def check(identity: Caller) -> None:
        if identity.role != role:
            raise Problem(403, "forbidden", f"this needs the role {role}")

    return check
