"""What an action gets: the job in hand, and what is within its reach."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from system_under_test.automation.mail import Mail
from system_under_test.automation.webhook import Webhook
from system_under_test.service_kit.calls import Peer, PeerTrouble
from system_under_test.service_kit.envelope import Envelope

MOST_LOOKS = 5


@dataclass(frozen=True, slots=True)
class Reach:
    crm: Peer
    pipeline: Peer
    webhook: Webhook
    mail: Mail


@dataclass(frozen=True, slots=True)
class Job:
    rule_id: str
    parameters: dict[str, Any]
    event: Envelope
    execution_id: UUID
    attempt: int
    choose: Callable[[Sequence[str]], Awaitable[str]]
    """One of these, the same one whenever this execution asks again."""


Action = Callable[[Reach, Job], Awaitable[dict[str, Any]]]


def keeps_changing(peer: str) -> PeerTrouble:
    return PeerTrouble(peer, f"changed again at each of {MOST_LOOKS} looks")
