"""assign_user: give a lead without an owner to the next agent.

Who is next is written down before crm is told, so a second run names the same one; and a lead that has an
owner by then, this one or one that somebody chose by hand, keeps it.
"""

from __future__ import annotations

from typing import Any

from system_under_test.automation.actions.job import MOST_LOOKS, Job, Reach, keeps_changing
from system_under_test.automation.retries import NonRetryable


async def assign_user(reach: Reach, job: Job) -> dict[str, Any]:
    user_id = await choose_user(reach, job, "agent")
    for _ in range(MOST_LOOKS):
        status, lead = await reach.crm.request(
            "GET", "/leads/{lead_id}", path={"lead_id": job.event.entity_id}, attempt=job.attempt
        )
        if status != 200:
            raise NonRetryable(f"crm answers {status} when asked for the lead")
        if lead["owner_id"] is not None:
            return {"owner_id": lead["owner_id"], "assigned": lead["owner_id"] == user_id}
        if await give(reach, job, {"owner_id": user_id, "expected_version": lead["version"]}):
            return {"owner_id": user_id, "assigned": True}
    raise keeps_changing("crm")


async def choose_user(reach: Reach, job: Job, role: str) -> str:
    query = {"role": role, "active": "true", "limit": "200"}
    status, users = await reach.crm.request("GET", "/users", query=query, attempt=job.attempt)
    if status != 200 or not users["items"]:
        raise NonRetryable(f"there is no active {role} (crm answers {status})")
    return await job.choose([user["id"] for user in users["items"]])


async def give(reach: Reach, job: Job, change: dict[str, Any]) -> bool:
    """False, if the lead has changed since the version that we saw."""
    path = {"lead_id": job.event.entity_id}
    status, answer = await reach.crm.request("PATCH", "/leads/{lead_id}", path=path, json=change, attempt=job.attempt)
    if status != 200 and answer.get("type") != "urn:problem:stale-version":
        raise NonRetryable(f"crm refuses the owner with {status}")
    return status == 200
