"""notify: tell somebody outside, by webhook or by mail.

Each attempt sends the same bytes under the same key (of mail: Message-ID), the execution's id, by which the
receiver knows that it has them already.
"""

from __future__ import annotations

from typing import Any

import msgspec

from system_under_test.automation.actions.job import Job, Reach
from system_under_test.automation.retries import NonRetryable


async def notify(reach: Reach, job: Job) -> dict[str, Any]:
    channel, key, event = job.parameters.get("channel", "webhook"), str(job.execution_id), job.event
    message = {
        "execution_id": key,
        "rule_id": job.rule_id,
        "event_id": event.event_id,
        "event_type": event.event_type,
        "entity_type": event.entity_type,
        "entity_id": event.entity_id,
        "occurred_at": event.occurred_at,
        "payload": event.payload,
    }
    body = msgspec.json.encode(message)
    if channel == "webhook":
        await reach.webhook.post(body, key, url=job.parameters.get("url"), attempt=job.attempt)
    elif channel == "mail":
        await reach.mail.send(body.decode(), key, event, job.rule_id, attempt=job.attempt)
    else:
        raise NonRetryable(f"there is no channel {channel!r}")
    return {"channel": channel, "key": key}
