"""escalate: give the lead to a manager and say so. The manager is chosen once, and the webhook has one key."""

from __future__ import annotations

from typing import Any

from system_under_test.automation.actions.assign_user import choose_user, give
from system_under_test.automation.actions.job import Job, Reach
from system_under_test.automation.actions.notify import notify


async def escalate(reach: Reach, job: Job) -> dict[str, Any]:
    manager_id = await choose_user(reach, job, "manager")
    await give(reach, job, {"owner_id": manager_id})
    return {"owner_id": manager_id, **await notify(reach, job)}
