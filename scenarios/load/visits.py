"""What an arrival asks: one request each, about a lead that is ready for it.

Arrivals have to stay open: when one comes must not depend on any answer. A walk of one lead (create, engage, qualify)
is a chain in which each request needs the answer to the one before; were the walk one arrival, its later requests would
come when the system lets them, and a slow system would be asked less. So each step of a walk is an arrival of its own,
at a moment that was drawn before, and takes *some* lead that is ready for that step. Only where none is ready, at the
beginning or when the system has fallen behind, a lead is made instead: the answers decide what is asked, never when.
"""

from __future__ import annotations

import uuid
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import cycle
from typing import Any, Literal

from scenarios.load.profiles import Kind

_KEPT = 2_000
"""So many leads that nobody walks on are kept, to be read and to be conflicted about."""
Action = Literal["create_lead", "move_stage", "read"]


@dataclass(slots=True)
class Lead:
    """A lead as its last answer has told of it. ``version``: of its stage; None as long as it has not moved."""

    id: str
    version: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """One request. ``meant``: the statuses with which it is content. ``becomes``: what its lead is then ready for."""

    kind: Kind
    service: Literal["crm", "pipeline"]
    method: Literal["GET", "POST", "PATCH"]
    route: str
    path: str
    action: Action
    body: dict[str, Any] | None = None
    meant: tuple[int, ...] = (200,)
    lead: Lead | None = None
    flow: Literal["", "deal"] = ""

    @property
    def endpoint(self) -> str:
        return f"{self.method} {self.route}"


@dataclass
class Leads:
    """The leads of one process, by what they are ready for."""

    new: deque[Lead] = field(default_factory=lambda: deque(maxlen=_KEPT))
    engaged: deque[Lead] = field(default_factory=lambda: deque(maxlen=_KEPT))
    qualified: deque[Lead] = field(default_factory=lambda: deque(maxlen=_KEPT))
    _reads: Iterator[str] = field(default_factory=lambda: cycle(("crm", "pipeline")))

    def visits(self, kind: Kind, requests: int) -> list[Visit]:
        """What an arrival of this kind asks now: all of it at once."""
        match kind:
            case "engage" if self.new:
                return [_move(kind, self.new.popleft(), "engaged")]
            case "qualify" if self.engaged or self.new:
                return [_move(kind, (self.engaged or self.new).popleft(), "qualified")]
            case "read" if self.qualified:
                return [_read(self._any(), next(self._reads))]
            case "conflict" if self.qualified:
                lead = self._any()
                return [_move(kind, lead, "demo", expected_version=(lead.version or 1) - 1, meant=(409,))]
            case "race" if self.engaged:
                lead = self.engaged.popleft()
                race = _move(kind, lead, "qualified", expected_version=lead.version, meant=(200, 409))
                return [race] * requests
        return [_create() for _ in range(requests)]

    def answered(self, visit: Visit, status: int, answer: dict[str, Any]) -> None:
        """What an answer makes of its lead. One whose answer never came is walked no further."""
        if status == 201:
            self.new.append(Lead(str(answer["id"])))
        elif status == 200 and visit.action == "move_stage" and visit.lead is not None:
            visit.lead.version = int(answer["version"])
            (self.engaged if visit.kind == "engage" else self.qualified).append(visit.lead)

    def _any(self) -> Lead:
        """By turns."""
        self.qualified.rotate(-1)
        return self.qualified[0]


def _create() -> Visit:
    body = {"name": "Ada Example", "email": f"{uuid.uuid4().hex}@example.test"}
    return Visit(
        kind="create", service="crm", method="POST", route="/leads", path="/leads", action="create_lead", body=body,
        meant=(201,),
    )  # fmt: skip


def _move(
    kind: Kind, lead: Lead, stage: str, *, expected_version: int | None = None, meant: tuple[int, ...] = (200,)
) -> Visit:
    condition = {} if expected_version is None else {"expected_version": expected_version}
    return Visit(
        kind=kind, service="pipeline", method="PATCH", route="/leads/{lead_id}/stage", path=f"/leads/{lead.id}/stage",
        action="move_stage", body={"stage": stage, **condition}, meant=meant, lead=lead,
        flow="deal" if stage == "qualified" else "",
    )  # fmt: skip


def _read(lead: Lead, service: str) -> Visit:
    if service == "crm":
        return Visit(
            kind="read", service="crm", method="GET", route="/leads/{lead_id}", path=f"/leads/{lead.id}",
            action="read", lead=lead,
        )  # fmt: skip
    return Visit(
        kind="read", service="pipeline", method="GET", route="/leads/{lead_id}/stage", path=f"/leads/{lead.id}/stage",
        action="read", lead=lead,
    )  # fmt: skip
