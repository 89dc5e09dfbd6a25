"""The actions of rules. Each may run twice for one run of its rule, and does no harm by it."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from targets.alternative.events import Event
from targets.alternative.failures import NonRetryable, PeerTrouble
from targets.alternative.outside import Mail, Peer, Webhook
from targets.alternative.store import Rule

_LOOKS = 5
_STALE = "urn:problem:stale-version"


@dataclass(frozen=True, slots=True)
class Reach:
    crm: Peer
    pipeline: Peer
    webhook: Webhook
    mail: Mail
    webhook_url: str


@dataclass(frozen=True, slots=True)
class Job:
    rule: Rule
    event: Event
    run_id: str
    attempt: int
    choose: Callable[[Sequence[str]], Awaitable[str]]


async def assign_user(reach: Reach, job: Job) -> None:
    """Who is next is written down before crm is told; an owner who is there by then stays."""
    user = await _someone(reach, job, "agent")
    for _ in range(_LOOKS):
        status, lead = await reach.crm.ask("GET", "/leads/{lead_id}", job.attempt, entity=job.event.entity_id)
        if status != 200:
            raise NonRetryable(f"crm answers {status} when asked for the lead")
        if lead["owner_id"] is not None or await _give(reach, job, owner_id=user, expected_version=lead["version"]):
            return
    raise PeerTrouble("crm", "it changed again at each look")


async def _someone(reach: Reach, job: Job, role: str) -> str:
    status, users = await reach.crm.ask("GET", "/users", job.attempt, role=role, active="true", limit="200")
    if status != 200 or not users["items"]:
        raise NonRetryable(f"there is no active {role} (crm answers {status})")
    return await job.choose([user["id"] for user in users["items"]])


async def _give(reach: Reach, job: Job, **change: Any) -> bool:
    """False, if the lead has changed since we looked."""
    route = "/leads/{lead_id}"
    status, answer = await reach.crm.ask("PATCH", route, job.attempt, entity=job.event.entity_id, json_body=change)
    if status != 200 and answer.get("type") != _STALE:
        raise NonRetryable(f"crm refuses the owner with {status}")
    return status == 200


async def create_deal(reach: Reach, job: Job) -> None:
    """crm allows one a lead: a second POST finds the first one's."""
    lead = job.event.entity_id
    status, deal = await reach.crm.ask("POST", "/deals", job.attempt, json_body={"lead_id": lead, **job.rule.arguments})
    if status == 201:
        return
    if status != 409:
        raise NonRetryable(f"crm refuses the deal with {status}")
    status, deal = await reach.crm.ask("GET", "/deals/{deal_id}", job.attempt, entity=str(deal.get("existing_id")))
    if status != 200 or deal.get("lead_id") != lead:
        raise NonRetryable(f"the deal that is in the way is not this lead's (crm answers {status})")


async def move_stage(reach: Reach, job: Job) -> None:
    """From the version that was seen, so that a second run finds it there."""
    wanted, entity = job.rule.arguments.get("stage"), job.event.entity_id
    route = stage_route(job.event)
    for _ in range(_LOOKS):
        status, seen = await reach.pipeline.ask("GET", route, job.attempt, entity=entity)
        if status != 200:
            raise NonRetryable(f"pipeline answers {status} when asked for the stage")
        if seen["stage"] == wanted:
            return
        change = {"stage": wanted, "expected_version": seen["version"]}
        status, answer = await reach.pipeline.ask("PATCH", route, job.attempt, entity=entity, json_body=change)
        if status == 200:
            return
        if answer.get("type") != _STALE:
            raise NonRetryable(f"pipeline refuses the move to {wanted} with {status}")
    raise PeerTrouble("pipeline", "it changed again at each look")


def stage_route(event: Event) -> str:
    return f"/{event.entity_type}s/{{{event.entity_type}_id}}/stage"


async def notify(reach: Reach, job: Job) -> None:
    """The same bytes under the same key each time, by which the receiver knows that it has them."""
    event, arguments = job.event, job.rule.arguments
    body = json.dumps(
        {
            "execution_id": job.run_id,
            "rule_id": job.rule.name,
            "event_id": event.event_id,
            "event_type": event.event_type,
            "entity_type": event.entity_type,
            "entity_id": event.entity_id,
            "occurred_at": event.occurred_at,
            "payload": event.payload,
        }
    )
    match arguments.get("channel", "webhook"):
        case "webhook":
            await reach.webhook.post(arguments.get("url", reach.webhook_url), body.encode(), job.run_id, job.attempt)
        case "mail":
            await reach.mail.send(body, job.run_id, event, job.rule.name, job.attempt)
        case channel:
            raise NonRetryable(f"there is no channel {channel!r}")


async def escalate(reach: Reach, job: Job) -> None:
    await _give(reach, job, owner_id=await _someone(reach, job, "manager"))
    await notify(reach, job)


Action = Callable[[Reach, Job], Awaitable[None]]
ACTIONS: dict[str, Action] = {
    "assign_user": assign_user,
    "create_deal": create_deal,
    "escalate": escalate,
    "move_stage": move_stage,
    "notify": notify,
}
WAITING = "escalate"
"""The action that waits for a timer first."""
