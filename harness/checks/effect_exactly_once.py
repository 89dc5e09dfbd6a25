"""One effect for each (rule, entity) that was triggered, none for one that was not; one alert for each dead letter.

The system's own account (its executions) is not asked: effects are counted where they show, in the rows of the
services that own them and in what the sinks received.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from harness.checks.timed import wrongly_timed
from harness.checks.verdict import Finding, Property, Result, answer
from harness.contract.log_lines import (
    DeadLetterDiscarded,
    DeadLetterReplayed,
    EventDeadLettered,
    TimerFired,
)
from harness.evidence.evidence import Evidence
from harness.evidence.records import OutboxRow, Received, RuleRow

NAME = "effect_exactly_once"


@dataclass(frozen=True, slots=True)
class Trigger:
    """A committed change that a rule waits for. ``given_up``: its flow ended in a dead letter that is still one."""

    rule: RuleRow
    event_id: str
    entity: tuple[str, str]
    correlation_id: str
    given_up: bool


def check(evidence: Evidence) -> Result:
    triggers = list(_triggers(evidence))
    findings = [
        *_effects(evidence, triggers),
        *_nothing_untriggered(evidence, triggers),
        *_moved_too_often(evidence, triggers),
        *_taken_from_an_owner(evidence, triggers),
        *_papers(evidence),
        *wrongly_timed(evidence, NAME),
        *_alerts(evidence),
    ]
    floor = 1 if triggers else 0
    return answer(NAME, seen=len(triggers) + len(evidence.of(EventDeadLettered)), floor=floor, findings=findings)


def _triggers(evidence: Evidence) -> Iterator[Trigger]:
    """One for each (rule, entity): a rule fires once in an entity's lifetime, whichever change was the first."""
    to_stage = {(row.entity_type, row.entity_id, row.version): row.to_stage for row in evidence.rows.history}
    dead = {message.correlation_id for message in evidence.resting}
    dead |= {line.correlation_id for line in evidence.of(DeadLetterDiscarded)}
    fired = {(line.event_id, line.rule_id) for line in evidence.of(TimerFired)}
    events: dict[str, list[OutboxRow]] = defaultdict(list)
    for row in evidence.rows.outbox:
        events[row.event_type].append(row)
    found: dict[tuple[str, str, str], Trigger] = {}
    for rule in (rule for rule in evidence.rows.rules if rule.enabled):
        for event in events[rule.event_type]:
            stage = to_stage.get((event.entity_type, event.entity_id, event.entity_version))
            if rule.to_stage and stage != rule.to_stage:
                continue
            if rule.action == "escalate" and (event.event_id, rule.rule_id) not in fired:
                continue
            trigger = Trigger(
                rule, event.event_id, (event.entity_type, event.entity_id), event.correlation_id,
                event.correlation_id in dead,
            )  # fmt: skip
            key = (rule.rule_id, *trigger.entity)
            if key not in found or found[key].given_up:
                found[key] = trigger
    yield from found.values()


def _effects(evidence: Evidence, triggers: list[Trigger]) -> Iterator[Finding]:
    owners = {lead.id: lead.owner_id for lead in evidence.rows.leads}
    deals = Counter(deal.lead_id for deal in evidence.rows.deals)
    was_in = {(row.entity_type, row.entity_id, row.to_stage) for row in evidence.rows.history}
    by_cause = Counter((row.causation_id, row.event_type) for row in evidence.rows.outbox)
    keys = _keys(evidence)
    movers = Counter(trigger.event_id for trigger in triggers if trigger.rule.action == "move_stage")
    for trigger in triggers:
        rule, (entity_type, entity_id) = trigger.rule, trigger.entity
        most, least, what = 1, 0 if trigger.given_up else 1, "effects"
        match rule.action:
            case "create_deal":
                count, what = deals[entity_id], "deals"
            case "assign_user":
                count, what = by_cause[trigger.event_id, "lead.assigned"], "assignments"
                least = 0 if owners.get(entity_id) else least  # one by hand counts, and is left alone
            case "move_stage":
                count = by_cause[trigger.event_id, f"{entity_type}.stage.changed"]
                what = f"moves to {rule.parameters.get('stage')}"
                least = 0 if (entity_type, entity_id, rule.parameters.get("stage")) in was_in else least
                most = movers[trigger.event_id]  # other rules move the same entity because of the same event
            case "notify" | "escalate":
                tried, accepted = keys[rule.rule_id, entity_id]
                count, what = len(accepted), "messages that were accepted"
                if len(tried) > 1:  # whoever receives them cannot tell a second attempt from a second message
                    count, what = len(tried), "keys"
            case _:
                continue
        if not least <= count <= most:
            yield _finding(trigger, f"{count} {what} of rule {rule.rule_id}, expected {_range(least, most)}")


def _range(least: int, most: int) -> str:
    return str(most) if least == most else f"{least} to {most}"


def _keys(evidence: Evidence) -> dict[tuple[str | None, str | None], tuple[set[str | None], set[str | None]]]:
    """For each (rule, entity), the keys that were tried, and those under which a message was accepted."""
    keys: dict[Any, tuple[set[str | None], set[str | None]]] = defaultdict(lambda: (set(), set()))
    for item in _messages(evidence):
        tried, accepted = keys[item.rule_id, item.entity_id]
        tried.add(item.key)
        if item.accepted:
            accepted.add(item.key)
    return keys


def _messages(evidence: Evidence) -> list[Received]:
    return [item for item in evidence.received if item.place != evidence.target.alert_path]


def _nothing_untriggered(evidence: Evidence, triggers: list[Trigger]) -> Iterator[Finding]:
    known = {(trigger.rule.rule_id, trigger.entity[1]) for trigger in triggers}
    planted = {planted.correlation_id for planted in evidence.scenario.planted}
    for item in _messages(evidence):
        if (item.rule_id, item.entity_id) not in known and item.correlation_id not in planted:
            yield _about(item, f"a message of rule {item.rule_id} that nothing triggered")


def _moved_too_often(evidence: Evidence, triggers: list[Trigger]) -> Iterator[Finding]:
    """A rule fires once in an entity's lifetime: also the events of later changes move it no more."""
    events = {row.event_id for row in evidence.rows.outbox}
    rules = Counter(trigger.entity for trigger in triggers if trigger.rule.action == "move_stage")
    moves: dict[tuple[str, str], list[OutboxRow]] = defaultdict(list)
    for row in evidence.rows.outbox:
        if row.event_type == f"{row.entity_type}.stage.changed" and row.causation_id in events:
            moves[row.entity_type, row.entity_id].append(row)
    for entity, made in moves.items():
        if len(made) > rules[entity]:
            yield Finding(
                property=NAME, says=f"{len(made)} moves by rules, of which {rules[entity]} fire for it, each once",
                service="automation", edge="automation→pipeline", entity=" ".join(entity),
                correlation_id=made[0].correlation_id,
            )  # fmt: skip


def _taken_from_an_owner(evidence: Evidence, triggers: list[Trigger]) -> Iterator[Finding]:
    """Only a lead that nobody owns is given to somebody by assign_user, and owners never go: so that is the first."""
    by_rule = {trigger.event_id: trigger.rule.rule_id for trigger in triggers if trigger.rule.action == "assign_user"}
    assigned = (row for row in evidence.rows.outbox if row.event_type == "lead.assigned")
    first: dict[str, OutboxRow] = {}
    for row in sorted(assigned, key=lambda row: row.entity_version):
        owned = first.setdefault(row.entity_id, row)
        if row.causation_id in by_rule and row.causation_id != owned.causation_id:
            yield Finding(
                property=NAME, says=f"rule {by_rule[row.causation_id]} took the lead from the owner that it had",
                service="automation", edge="automation→crm", entity=f"{row.entity_type} {row.entity_id}",
                correlation_id=row.correlation_id,
            )  # fmt: skip


def _papers(evidence: Evidence) -> Iterator[Finding]:
    """Every message, an alert too, has a key and a signature; one key stands for one text, accepted once."""
    digests: dict[str | None, set[str]] = defaultdict(set)
    accepted: Counter[str | None] = Counter()
    for item in evidence.received:
        digests[item.key].add(item.digest)
        accepted[item.key] += item.accepted
        if item.key is None or item.signed is False:
            what = "an alert" if item.place == evidence.target.alert_path else f"a message of rule {item.rule_id}"
            yield _about(item, f"{what} without {'a signature' if item.key else 'a key'}")
    for item in {item.key: item for item in evidence.received}.values():
        if len(digests[item.key]) > 1:
            yield _about(item, f"{len(digests[item.key])} different messages under the key {item.key}")
        if accepted[item.key] > 1 and not evidence.faults:
            yield _about(item, f"a message was sent {accepted[item.key]} times although it was accepted: {item.key}")


def _alerts(evidence: Evidence) -> Iterator[Finding]:
    """One for each life that ended so: an event that was delivered twice may die twice in one, of which one tells."""
    deaths = Counter(line.event_id for line in evidence.of(EventDeadLettered) if line.event_id)
    lives = Counter([*deaths, *(line.event_id for line in evidence.of(DeadLetterReplayed))])
    flows = {line.event_id: line.correlation_id for line in evidence.of(EventDeadLettered)}
    alerts = [item for item in evidence.received if item.place == evidence.target.alert_path]
    tried: dict[str | None, set[str | None]] = defaultdict(set)
    told: dict[str | None, set[str | None]] = defaultdict(set)
    for item in alerts:
        tried[item.event_id].add(item.key)
        if item.accepted:
            told[item.event_id].add(item.key)
        if item.event_id not in deaths and item.event_id is not None:
            yield _about(item, f"an alert for event {item.event_id}, which did not die")
    for event_id, count in deaths.items():
        keys, least = len(told[event_id]), 1 if evidence.killed_instances else min(count, lives[event_id])
        if len(tried[event_id]) > count:  # whoever receives them cannot tell a second attempt from a second alert
            keys = len(tried[event_id])
        if not least <= keys <= count:
            says = f"event {event_id} died {count} times and raised {keys} alerts"
            yield Finding(
                property=NAME, says=says, service="automation", edge="automation→webhook",
                correlation_id=flows[event_id],
            )  # fmt: skip


def _about(item: Received, says: str) -> Finding:
    return Finding(
        property=NAME, says=says, service="automation", edge=f"automation→{item.kind}",
        entity=item.entity_id, correlation_id=item.correlation_id,
    )  # fmt: skip


def _finding(trigger: Trigger, says: str) -> Finding:
    channel = trigger.rule.parameters.get("channel", "webhook")
    peers = {"move_stage": "pipeline", "notify": channel, "escalate": "webhook"}
    return Finding(
        property=NAME, says=says, service="automation", edge=f"automation→{peers.get(trigger.rule.action, 'crm')}",
        entity=" ".join(trigger.entity), correlation_id=trigger.correlation_id,
    )  # fmt: skip


PROPERTY = Property(
    NAME,
    "one effect per (rule, entity) that was triggered, none that was not; one alert per dead letter",
    ("rows", "received", "lines", "resting"),
    check,
    severity="critical",
)
