"""One event, once: each rule for it, each rule once for its entity, and what has to wait."""

from __future__ import annotations

import asyncio
import random
import time
from contextlib import suppress
from functools import partial
from uuid import uuid4

from targets.alternative import events, log, metrics
from targets.alternative.actions import ACTIONS, WAITING, Job, Reach
from targets.alternative.broker import EVENTS, Delivery
from targets.alternative.dependencies import Hold
from targets.alternative.events import Event
from targets.alternative.failures import LeaseLost, NonRetryable, Unavailable
from targets.alternative.settings import Numbers
from targets.alternative.store import Claim, Row, Rule, Store


class Handling:
    def __init__(self, store: Store, reach: Reach, hold: Hold, numbers: Numbers) -> None:
        self._store, self._reach, self._hold, self._numbers = store, reach, hold, numbers

    async def handle(self, delivery: Delivery, event: Event) -> None:
        lost = delivery.life.lost
        rules = await self._hold.through(partial(self._store.rules_for, event), lost)
        if rules is None:
            _deduplicated(delivery)
            return
        for rule in rules:
            if _matches(rule, event):
                if rule.action == WAITING:
                    await self._set_timer(rule, event, delivery)
                else:
                    await self._hold.through(partial(self.run, rule, event, delivery.attempt), lost)
        first, ended = await self._hold.through(partial(self._store.finish, event, delivery.id))
        for row in ended:
            say_of_timer("cancelled", row)
        if first:
            metrics.count("events_processed_total")
        else:
            _deduplicated(delivery)

    async def _set_timer(self, rule: Rule, event: Event, delivery: Delivery) -> None:
        """Its id is made here: a second try, for the answer to the first was lost, knows its own row by it."""
        timer_id, span_id = str(uuid4()), str(log.flow().span_id)
        setting = partial(self._store.set_timer, timer_id, rule, event, self._numbers.sla_s, delivery.replays, span_id)
        row = await self._hold.through(setting)
        if row is not None:
            say_of_timer("scheduled", row)

    async def run(self, rule: Rule, event: Event, attempt: int) -> None:
        """The rule's action, once for the entity in its lifetime."""
        claim = await self._claimed(rule, event)
        with log.within(_caused_by(event)):
            line = partial(log.line, rule_id=rule.name, action=rule.action, execution_id=claim.id, attempt=claim.tries)
            line("action.started", "started")
            started, status = time.perf_counter(), "failed"
            try:
                status = await self._act(rule, event, attempt, claim)
            finally:
                duration_ms = round((time.perf_counter() - started) * 1000, 3)
                level = "warning" if status == "failed" else "info"
                line("action.completed", status, level=level, duration_ms=duration_ms)
                metrics.count("actions_total", action=rule.action, status=status)

    async def _act(self, rule: Rule, event: Event, attempt: int, claim: Claim) -> str:
        if claim.state == "done":
            return "skipped"
        try:
            job = Job(rule, event, claim.id, attempt, partial(self._store.choose, claim.id))
            await ACTIONS[rule.action](self._reach, job)
            if not await self._store.succeed(claim.id):
                raise LeaseLost("another worker took this run over")
        except Exception as error:
            with suppress(Unavailable):  # then the lease runs out by itself
                await self._store.fail(claim.id, log.describe(error))
            raise
        return "succeeded"

    async def _claimed(self, rule: Rule, event: Event) -> Claim:
        """While another one holds it we wait: it succeeds, it fails, or its lease runs out."""
        while True:
            claim = await self._store.claim(rule, event)
            if claim.state != "held":
                return claim
            await asyncio.sleep(random.uniform(0.05, 0.3))


def _matches(rule: Rule, event: Event) -> bool:
    matches, known = rule.matches(event), rule.action in ACTIONS
    status = "not_matched" if not matches else "matched" if known else "error"
    with log.within(_caused_by(event)):
        log.line("rule.evaluated", status, rule_id=rule.name, event_type=event.event_type)
    if status == "error":
        raise NonRetryable(f"rule {rule.name} wants an action that does not exist")
    return matches


def _caused_by(event: Event) -> log.Flow:
    """One span deeper, and the event is now the cause."""
    return log.flow().deeper(causation_id=event.event_id, hops=event.hop_count + 1)


def _deduplicated(delivery: Delivery) -> None:
    log.line("event.deduplicated", "duplicate", queue=EVENTS, delivery_id=delivery.id)
    metrics.count("events_deduplicated_total")


def in_flow_of(row: Row) -> tuple[Event, log.Flow]:
    """The event that set a timer, and its flow, whoever deals with it now."""
    event = events.read(row["event"].encode())
    return event, event.flow(span_id=log.new_span(), parent_span_id=row["span_id"])


def say_of_timer(status: str, row: Row) -> None:
    event, flow = in_flow_of(row)
    with log.within(flow):
        due_at = log.rfc3339(row["due_at"])
        log.line(f"timer.{status}", status, causation_id=event.event_id, rule_id=row["rule"], due_at=due_at)
