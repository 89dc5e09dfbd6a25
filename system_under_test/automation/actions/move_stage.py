"""move_stage: bring the entity to a stage. It is moved from the version that we saw, so a second run finds it there."""

from __future__ import annotations

from typing import Any

from system_under_test.automation.actions.job import MOST_LOOKS, Job, Reach, keeps_changing
from system_under_test.automation.retries import NonRetryable


async def move_stage(reach: Reach, job: Job) -> dict[str, Any]:
    kind, wanted = job.event.entity_type, job.parameters.get("stage")
    route, path = f"/{kind}s/{{{kind}_id}}/stage", {f"{kind}_id": job.event.entity_id}
    for _ in range(MOST_LOOKS):
        status, seen = await reach.pipeline.request("GET", route, path=path, attempt=job.attempt)
        if status != 200:
            raise NonRetryable(f"pipeline answers {status} when asked for the stage")
        if seen["stage"] == wanted:
            return {"version": seen["version"], "moved": False}
        change = {"stage": wanted, "expected_version": seen["version"]}
        status, answer = await reach.pipeline.request("PATCH", route, path=path, json=change, attempt=job.attempt)
        if status == 200:
            return {"version": answer["version"], "moved": True}
        if answer.get("type") != "urn:problem:stale-version":
            raise NonRetryable(f"pipeline refuses the move to {wanted} with {status}")
    raise keeps_changing("pipeline")
