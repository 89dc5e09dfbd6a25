"""Alerts: a webhook for each dead letter, sent until it is delivered, however often we start anew meanwhile."""

from __future__ import annotations

from uuid import UUID, uuid5

import msgspec

from system_under_test.automation.delivery import Letter
from system_under_test.automation.due import Due, Row
from system_under_test.automation.retries import NonRetryable
from system_under_test.automation.webhook import Webhook
from system_under_test.service_kit import correlation, logs, metrics
from system_under_test.service_kit.calls import PeerTrouble
from system_under_test.service_kit.clock import rfc3339
from system_under_test.service_kit.correlation import Context, new_span
from system_under_test.service_kit.database import Work
from system_under_test.service_kit.settings import Settings

_DEAD_LETTERS = UUID("6b0f4a1e-3a55-5f0e-9d0a-0c5b7f3d2e11")


async def raise_for(work: Work, letter: Letter, reason: str) -> None:
    """Once for a dead letter: an event that dies again after a replay is another one."""
    context = correlation.current()
    await work.connection.execute(
        "INSERT INTO automation.alerts (id, event_id, correlation_id, entity_type, entity_id, span_id, reason)"
        " VALUES (%s, %s, %s, %s, %s, %s, %s) ON CONFLICT (id) DO NOTHING",
        (
            uuid5(_DEAD_LETTERS, f"{context.event_id or context.correlation_id} {letter.replays}"),
            context.event_id,
            context.correlation_id,
            context.entity_type,
            context.entity_id,
            context.span_id,
            reason,
        ),
    )


class Alerts:
    def __init__(self, due: Due, webhook: Webhook, settings: Settings) -> None:
        assert settings.outside is not None
        self._due, self._webhook, self._url = due, webhook, settings.outside.alert_webhook_url
        self._first_s, self._most_s = settings.profile.alert_first_s, settings.profile.alert_most_s

    async def run(self) -> None:
        await self._due.work_off(self._send)

    async def _send(self, row: Row) -> None:
        with correlation.using(_context_of(row)):
            try:
                await self._webhook.post(_body(row), str(row["id"]), url=self._url, attempt=row["attempts"] + 1)
            except (PeerTrouble, NonRetryable) as trouble:
                logs.library("alerts", f"not delivered yet: {logs.describe(trouble)}", level="warning")
                await self._due.later(row, min(self._most_s, self._first_s * 2 ** min(row["attempts"], 16)))
            else:
                metrics.count("alerts.delivered")
                await self._due.done(row)


def _context_of(row: Row) -> Context:
    event_id, entity_id = row["event_id"], row["entity_id"]
    return Context(
        correlation_id=str(row["correlation_id"]),
        event_id=event_id and str(event_id),
        entity_type=row["entity_type"],
        entity_id=entity_id and str(entity_id),
        span_id=new_span(),
        parent_span_id=row["span_id"],
    )


def _body(row: Row) -> bytes:
    named = {key: row[key] for key in ("event_id", "correlation_id", "entity_type", "entity_id", "reason")}
    return msgspec.json.encode({"alert_id": row["id"], **named, "raised_at": rfc3339(row["raised_at"])})
