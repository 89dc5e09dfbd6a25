"""create_deal: open the lead's deal in crm. crm allows one a lead, so a second POST finds the first one's."""

from __future__ import annotations

from typing import Any

from system_under_test.automation.actions.job import Job, Reach
from system_under_test.automation.retries import NonRetryable
from system_under_test.service_kit.calls import Peer


async def create_deal(reach: Reach, job: Job) -> dict[str, Any]:
    lead_id = str(job.event.entity_id)
    wanted = {"lead_id": lead_id, **job.parameters}
    status, deal = await reach.crm.request("POST", "/deals", json=wanted, attempt=job.attempt)
    if status == 201:
        return {"deal_id": deal["id"], "existed": False}
    if status == 409:
        return await _existing(reach.crm, lead_id, deal.get("existing_id"), job.attempt)
    raise NonRetryable(f"crm refuses the deal with {status}")


async def _existing(crm: Peer, lead_id: str, deal_id: object, attempt: int) -> dict[str, Any]:
    status, deal = await crm.request("GET", "/deals/{deal_id}", path={"deal_id": deal_id}, attempt=attempt)
    if status != 200 or deal.get("lead_id") != lead_id:
        raise NonRetryable(f"the deal that is in the way is not this lead's (crm answers {status})")
    return {"deal_id": deal["id"], "existed": True}
