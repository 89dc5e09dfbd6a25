"""Handling one event: once per event, each of its rules, each rule once per entity."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from uuid import UUID

from system_under_test.automation import executions, rules, timers
from system_under_test.automation.actions import ACTIONS, DEFERRED
from system_under_test.automation.actions.job import Job, Reach
from system_under_test.automation.delivery import Delivery
from system_under_test.automation.dependencies import Hold
from system_under_test.automation.executions import Claim
from system_under_test.automation.retries import LeaseLost, NonRetryable
from system_under_test.automation.rules import Rule
from system_under_test.automation.topology import EVENTS
from system_under_test.service_kit import correlation, logs, metrics
from system_under_test.service_kit.clock import Backoff
from system_under_test.service_kit.correlation import new_span
from system_under_test.service_kit.database import UNAVAILABLE, Database, Work
from system_under_test.service_kit.envelope import Envelope
from system_under_test.service_kit.settings import Settings


class Handling:
    def __init__(self, database: Database, reach: Reach, hold: Hold, settings: Settings) -> None:
        self._database, self._reach, self._hold = database, reach, hold
        self._owner, self._profile = settings.instance, settings.profile

    async def handle(self, delivery: Delivery, event: Envelope) -> None:
        lost = delivery.life.lost
        due = await self._hold.through(lambda: self._database.read(lambda work: _due(work, event)), lost)
        if due is None:
            _deduplicated(delivery)
            return
        for rule in due:
            if _evaluate(rule, event):
                if rule.action in DEFERRED:
                    await self._hold.through(partial(self._defer, rule, event, delivery.replays), lost)
                else:
                    await self._hold.through(partial(self.execute, rule, event, delivery.attempt), lost)
        await self._hold.through(lambda: self._database.run(lambda work: _processed(work, event, delivery)), lost)

    async def execute(self, rule: Rule, event: Envelope, attempt: int) -> None:
        """Run the rule's action, once for the entity in its lifetime."""
        claim = await self._claimed(rule, event)
        with correlation.using(_caused_by(event)):
            line = partial(
                logs.line,
                rule_id=rule.id,
                action=rule.action,
                execution_id=str(claim.execution_id),
                attempt=claim.attempts,
            )
            line("action.started", "started")
            started = time.perf_counter()
            status = "failed"
            try:
                status = await self._act(rule, event, attempt, claim)
            finally:
                duration_ms = round((time.perf_counter() - started) * 1000, 3)
                level: logs.Level = "warning" if status == "failed" else "info"
                line("action.completed", status, level=level, duration_ms=duration_ms)
                metrics.count("actions", action=rule.action, status=status)

    async def _act(self, rule: Rule, event: Envelope, attempt: int, claim: Claim) -> str:
        if claim.state == "done":
            return "skipped"
        try:
            choose = partial(self._choose, claim.execution_id)
            job = Job(rule.id, rule.parameters, event, claim.execution_id, attempt, choose)
            result = await ACTIONS[rule.action](self._reach, job)
            if not await self._database.run(
                lambda work: executions.succeed(work, claim.execution_id, self._owner, result)
            ):
                raise LeaseLost("another worker took this execution over")
        except Exception as error:
            await self._note_failure(claim, logs.describe(error))
            raise
        return "succeeded"

    async def _defer(self, rule: Rule, event: Envelope, replays: int) -> None:
        await self._database.run(lambda work: timers.schedule(work, rule, event, self._profile.sla_s, replays))

    async def _choose(self, execution_id: UUID, candidates: Sequence[str]) -> str:
        return await self._database.run(lambda work: executions.choose(work, execution_id, candidates))

    async def _claimed(self, rule: Rule, event: Envelope) -> Claim:
        """Claim it. While another worker holds it we wait: it succeeds, it fails, or its lease runs out."""
        backoff = Backoff(self._profile.probe_first_s, self._profile.probe_most_s)
        while True:
            claim = await self._database.run(
                lambda work: executions.claim(work, rule, event, self._owner, self._profile.lease_s)
            )
            if claim.state != "busy":
                return claim
            await asyncio.sleep(backoff.next_s())

    async def _note_failure(self, claim: Claim, error: str) -> None:
        """If this fails too, the row stays `started` in our name and the next try takes it over."""
        with suppress(*UNAVAILABLE):
            await self._database.run(lambda work: executions.fail(work, claim.execution_id, self._owner, error))


async def _due(work: Work, event: Envelope) -> list[Rule] | None:
    """The rules to look at, or None if this event is done with."""
    if await work.one("SELECT 1 AS one FROM automation.processed_events WHERE event_id = %s", event.event_id):
        return None
    return await rules.enabled_for(work, event)


def _evaluate(rule: Rule, event: Envelope) -> bool:
    matched = rule.matches(event)
    status = "not_matched" if not matched else "matched" if rule.action in ACTIONS else "error"
    with correlation.using(_caused_by(event)):
        logs.line("rule.evaluated", status, rule_id=rule.id, event_type=event.event_type)
    if status == "error":
        raise NonRetryable(f"rule {rule.id} wants an action that does not exist")
    return matched


def _caused_by(event: Envelope) -> correlation.Context:
    """One span deeper, and the event is now the cause."""
    context = correlation.current()
    return replace(
        context,
        causation_id=str(event.event_id),
        span_id=new_span(),
        parent_span_id=context.span_id,
        hop_count=event.hop_count + 1,
    )


async def _processed(work: Work, event: Envelope, delivery: Delivery) -> None:
    """The event is done with, by this delivery or by one that was faster: then this one was its duplicate."""
    if event.event_type.endswith(".stage.changed"):
        await timers.cancel_left(work, event)
    row = await work.one(
        "INSERT INTO automation.processed_events AS done (event_id, event_type, correlation_id, delivery_id)"
        " VALUES (%s, %s, %s, %s) ON CONFLICT (event_id) DO UPDATE SET delivery_id = done.delivery_id"
        " RETURNING delivery_id",
        *(event.event_id, event.event_type, event.correlation_id, delivery.id),
    )
    if row is not None and str(row["delivery_id"]) != delivery.id:
        work.once_committed(lambda: _deduplicated(delivery))
    else:
        work.once_committed(lambda: metrics.count("events.processed"))


def _deduplicated(delivery: Delivery) -> None:
    logs.line("event.deduplicated", "duplicate", queue=EVENTS, delivery_id=delivery.id)
    metrics.count("events.deduplicated")
