"""Stories and evidence for the tests of the judge: short to tell, real to read.

Every line goes through JSON and ``decode_line``, so no story holds what the contract forbids. Names stand for ids:
``uid("lead")`` is the same UUID everywhere.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_URL, uuid5

import msgspec
from hypothesis import HealthCheck, settings

from harness.checks.verdict import Finding, Result
from harness.contract.log_lines import ContractViolation, Envelope, Line, decode_line, kind_of
from harness.evidence.evidence import Evidence
from harness.evidence.log_files import LostLines, ProcessLog, read_process_log
from harness.evidence.recording import outcome_of
from harness.evidence.records import (
    DealRow,
    HistoryRow,
    How,
    LeadRow,
    Operation,
    OutboxRow,
    Planted,
    ProcessedRow,
    ProcessStart,
    RestingMessage,
    Rows,
    RuleRow,
    ScenarioRecord,
    StageRow,
    TapMessage,
)
from harness.target import Target, load_target
from harness.trace.findings import FlowFinding, judge_flow
from harness.trace.flow import Surroundings, flows_of

RULE = "lead-qualified-create-deal"
WORK_QUEUE, DEAD_LETTERS = "automation.events", "automation.dlq"
AROUND = Surroundings(rules_by_event_type={"lead.stage.changed": frozenset({RULE})})
EMAIL = "ada@example.test"

IDLE_WHEN_HAPPY = (
    "refused_leaves_nothing",
    "unknown_is_atomic",
    "one_winner",
    "session_monotonic",
    "dead_letter_accounting",
    "outage_dead_letters_nothing",
    "metrics_agree",
    "health_tells_the_truth",
    "recovery_bound",
    "schema",
    "topology",
)
"""What ``happy_evidence`` does not put to the test: nobody is refused there, and nothing is contested or dies."""

steady = settings(deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
"""For every ``@given``: the same examples in each run, however slow the machine is."""


def uid(name: str) -> str:
    return str(uuid5(NAMESPACE_URL, name))


def span_id(name: str) -> str:
    return sha256(name.encode()).hexdigest()[:16]


def moment(number: int) -> str:
    return f"2026-01-01T00:{number // 60:02}:{number % 60:02}.000000Z"


# --- events -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Event:
    type: str
    entity: tuple[str, str]
    flow: str
    cause: str | None = None
    service: str = "crm"


EVENTS = {
    "created": Event("lead.created", ("lead", "lead"), "created"),
    "moved": Event("lead.stage.changed", ("lead", "lead"), "moved", service="pipeline"),
    "deal": Event("deal.created", ("deal", "deal"), "moved", cause="moved"),
    "poison": Event("lead.stage.changed", ("lead", "nobody"), "poison"),
}


# --- log lines --------------------------------------------------------------------------------------------------

_DEFAULTS: dict[str, dict[str, Any]] = {
    "http.request.received": {"status": "accepted", "method": "POST", "route": "/things"},
    "http.request.completed": {
        "status": "ok", "method": "POST", "route": "/things", "http_status": 200, "duration_ms": 1.5,
    },
    "change.committed": {
        "status": "committed", "table": "things", "entity_version": 1, "from_stage": None, "to_stage": None,
    },
    "event.stored": {"status": "pending"},
    "event.published": {"status": "confirmed", "attempt": 1, "confirm_ms": 2.0},
    "event.received": {"status": "received", "queue": WORK_QUEUE, "attempt": 1, "redelivered": False},
    "event.deduplicated": {"status": "duplicate", "queue": WORK_QUEUE},
    "rule.evaluated": {"status": "matched", "rule_id": RULE},
    "action.started": {"status": "started", "rule_id": RULE, "action": "create_deal", "attempt": 1},
    "action.completed": {
        "status": "succeeded", "rule_id": RULE, "action": "create_deal", "attempt": 1, "duration_ms": 9.0,
    },
    "call.sent": {"status": "sent", "peer": "crm", "method": "POST", "route": "/deals", "attempt": 1},
    "call.completed": {"status": "ok", "peer": "crm", "http_status": 201, "duration_ms": 5.0},
    "event.settled": {"status": "acked", "queue": WORK_QUEUE, "attempt": 1, "duration_ms": 12.0},
    "event.dead_lettered": {
        "level": "error", "status": "dead_lettered", "reason": "exhausted", "error": "crm: timeout", "attempts": 5,
    },
    "dead_letter.replayed": {"status": "replayed", "actor": "operator"},
    "dead_letter.discarded": {"status": "discarded", "actor": "operator"},
    "timer.scheduled": {"status": "scheduled", "rule_id": RULE, "due_at": moment(0)},
    "timer.fired": {"status": "fired", "rule_id": RULE, "due_at": moment(0)},
    "timer.cancelled": {"status": "cancelled", "rule_id": RULE, "due_at": moment(0)},
    "service.started": {"status": "ok", "version": "1", "pid": 1},
    "service.stopped": {"status": "graceful", "version": "1", "pid": 1},
    "dependency.changed": {"status": "down", "dependency": "database", "error": None},
    "metrics.snapshot": {"status": "ok", "counters": {}, "histograms": {}},
    "library.message": {"status": "ok", "logger": "pika", "message": "hello"},
}  # fmt: skip
_WITH_EVENT_TYPE = ("event.stored", "event.published", "rule.evaluated")
_WITH_EXECUTION = ("action.started", "action.completed")
_WITH_DELIVERY = ("event.received", "event.deduplicated", "event.settled")


def line_fields(
    service: str, kind: str, *, instance: str = "", seq: int = 0, at: int = 0, **fields: Any
) -> dict[str, Any]:
    """One line as a mapping, all of the envelope present."""
    envelope = dict.fromkeys(("event_id", "causation_id", "rule_id", "entity_type", "entity_id", "parent_span_id"))
    return {
        "ts": moment(at), "schema": "crm.log/1.0", "service": service, "instance": instance or f"{service}-1",
        "seq": seq, "level": "info", "event": kind, "correlation_id": None, "span_id": span_id("nobody"),
    } | envelope | _DEFAULTS[kind] | fields  # fmt: skip


def decoded(fields: dict[str, Any]) -> Line:
    return decode_line(msgspec.json.encode(fields))


@dataclass
class Story:
    """The log of a system: lines with rising ``ts`` and, for each instance, ``seq`` without a gap."""

    lines: list[Line] = field(default_factory=list)
    flow: str = "moved"
    instances: dict[str, str] = field(default_factory=lambda: {s: f"{s}-1" for s in ("crm", "pipeline", "automation")})
    _seqs: Counter[str] = field(default_factory=Counter)

    def write(
        self, service: str, kind: str, span: str = "", *, parent: str | None = None, event: str | None = None,
        cause: str | None = None, entity: tuple[str, str] | None = None, **fields: Any,
    ) -> Line:  # fmt: skip
        """Write one line. ``event``: what it is about, which gives it entity and cause if nothing else does."""
        known = EVENTS[event] if event else None
        cause = cause or (known.cause if known else None)
        entity = entity or (known.entity if known else None)
        ids: dict[str, Any] = {"event_id": uid(event) if event else None, "causation_id": uid(cause) if cause else None}
        if entity:
            ids |= {"entity_type": entity[0], "entity_id": uid(entity[1])}
        if span:
            ids |= {"correlation_id": uid(self.flow), "span_id": span_id(f"{self.flow}/{span}")}
        if parent:
            ids["parent_span_id"] = span_id(f"{self.flow}/{parent}")
        if known and kind in _WITH_EVENT_TYPE:
            ids["event_type"] = known.type
        if known and kind == "event.published":
            ids["routing_key"] = known.type
        if kind in _WITH_EXECUTION:
            ids["execution_id"] = uid("execution")
        if kind in _WITH_DELIVERY:
            ids["delivery_id"] = uid(f"{self.flow}/{span}")
        instance = self.instances[service]
        place: dict[str, Any] = {"instance": instance, "seq": self._seqs[instance], "at": len(self.lines) + 1}
        line = decoded(line_fields(service, kind, **place, **(ids | fields)))
        self._seqs[instance] += 1
        self.lines.append(line)
        return line

    def restart(self, service: str) -> None:
        """What the service writes from now on comes from a new process."""
        name, _, number = self.instances[service].rpartition("-")
        self.instances[service] = f"{name}-{int(number) + 1}"

    def without(self, *kinds: str, event: str | None = None) -> list[Line]:
        """All lines but those of these kinds (about this event)."""
        return [
            line for line in self.lines
            if kind_of(line) not in kinds or (event is not None and line.event_id != uid(event))
        ]  # fmt: skip


# --- pieces of a flow -------------------------------------------------------------------------------------------


def asked(story: Story, service: str, span: str, *, parent: str | None = None, cause: str | None = None) -> None:
    story.write(service, "http.request.received", span, parent=parent, event=cause, cause=cause)


def answered(
    story: Story, service: str, span: str, http_status: int, *, parent: str | None = None, cause: str | None = None
) -> None:
    status = "ok" if http_status < 400 else "client_error" if http_status < 500 else "server_error"
    told: dict[str, Any] = {"status": status, "http_status": http_status}
    story.write(service, "http.request.completed", span, parent=parent, event=cause, cause=cause, **told)


def changed(story: Story, event: str, span: str, *, parent: str | None = None) -> None:
    """A change and the event stored with it."""
    service = EVENTS[event].service
    stages: dict[str, Any] = {"from_stage": "new", "to_stage": "qualified"} if event == "moved" else {}
    story.write(service, "change.committed", span, parent=parent, event=event, **stages)
    story.write(service, "event.stored", span, parent=parent, event=event)


def published(story: Story, event: str, *, span: str | None = None, **fields: Any) -> None:
    story.write(EVENTS[event].service, "event.published", span or f"publish {event}", event=event, **fields)


def received(story: Story, event: str, delivery: str, **fields: Any) -> None:
    story.write("automation", "event.received", delivery, parent=f"publish {event}", event=event, **fields)


def settled(story: Story, event: str, delivery: str, status: str = "acked", **fields: Any) -> None:
    told: dict[str, Any] = {"parent": f"publish {event}", "event": event, "status": status}
    story.write("automation", "event.settled", delivery, **(told | fields))


def duplicate(story: Story, event: str, delivery: str) -> None:
    """Another delivery of an event that was handled before."""
    received(story, event, delivery, redelivered=True)
    story.write("automation", "event.deduplicated", delivery, parent=f"publish {event}", event=event)
    settled(story, event, delivery)


def evaluated(story: Story, delivery: str, **fields: Any) -> None:
    story.write(
        "automation", "rule.evaluated", f"rule {delivery}", parent=delivery, event="moved", cause="moved", **fields
    )


def started(story: Story, delivery: str) -> None:
    story.write("automation", "action.started", f"act {delivery}", parent=delivery, event="moved", cause="moved")


def completed(story: Story, delivery: str, status: str = "succeeded") -> None:
    told: dict[str, Any] = {"event": "moved", "cause": "moved", "status": status}
    story.write("automation", "action.completed", f"act {delivery}", parent=delivery, **told)


def called(story: Story, delivery: str, *, http_status: int | None = 201) -> None:
    """One POST /deals: 201 creates the deal, 409 finds it there, None reaches nobody."""
    call, serve = f"call {delivery}", f"serve {delivery}"
    told: dict[str, Any] = {"parent": f"act {delivery}", "event": "moved", "cause": "moved"}
    story.write("automation", "call.sent", call, **told)
    if http_status is None:
        story.write("automation", "call.completed", call, status="connection_error", http_status=None, **told)
        return
    asked(story, "crm", serve, parent=call, cause="moved")
    if http_status == 201:
        changed(story, "deal", serve, parent=call)
    answered(story, "crm", serve, http_status, parent=call, cause="moved")
    status = "ok" if http_status < 400 else "client_error" if http_status < 500 else "server_error"
    story.write("automation", "call.completed", call, status=status, http_status=http_status, **told)


def acted(story: Story, delivery: str, *, http_status: int = 201) -> None:
    """The rule matches and its action succeeds."""
    evaluated(story, delivery)
    started(story, delivery)
    called(story, delivery, http_status=http_status)
    completed(story, delivery)


def failed(story: Story, delivery: str) -> None:
    """The rule matches and its action fails, for crm cannot be reached."""
    evaluated(story, delivery)
    started(story, delivery)
    called(story, delivery, http_status=None)
    completed(story, delivery, "failed")


def retried(story: Story, first: int = 1, until: int = 5) -> None:
    """One failed attempt after the other, each but the last sent up the ladder."""
    for attempt in range(first, until + 1):
        received(story, "moved", f"d{attempt}", attempt=attempt)
        failed(story, f"d{attempt}")
        if attempt < until:
            settled(story, "moved", f"d{attempt}", "retried", attempt=attempt)


def died(story: Story, delivery: str = "d5", *, event: str = "moved", attempts: int = 5, **fields: Any) -> None:
    """The alert and the settlement of a delivery that is given up."""
    story.write("automation", "event.dead_lettered", delivery, event=event, attempts=attempts, **fields)
    settled(story, event, delivery, "dead_lettered", attempt=attempts)


# --- whole flows ------------------------------------------------------------------------------------------------


def created_lead(story: Story) -> Story:
    """POST /leads, and its event, which no rule wants."""
    story.flow = "created"
    asked(story, "crm", "post")
    changed(story, "created", "post")
    answered(story, "crm", "post", 201)
    published(story, "created")
    received(story, "created", "c1")
    settled(story, "created", "c1")
    return story


def moved_lead(story: Story) -> Story:
    """PATCH to ``qualified`` at pipeline, and its event published."""
    story.flow = "moved"
    asked(story, "pipeline", "patch")
    changed(story, "moved", "patch")
    answered(story, "pipeline", "patch", 200)
    published(story, "moved")
    return story


def dealt(story: Story) -> Story:
    """The event deal.created, published and handled."""
    published(story, "deal")
    received(story, "deal", "deal 1")
    settled(story, "deal", "deal 1")
    return story


def qualified_lead(story: Story | None = None) -> Story:
    """The whole happy flow: PATCH → lead.stage.changed → rule → POST /deals → deal.created."""
    story = moved_lead(story or Story())
    received(story, "moved", "d1")
    acted(story, "d1")
    settled(story, "moved", "d1")
    return dealt(story)


def retried_lead() -> Story:
    """crm cannot be reached at first; the second attempt succeeds."""
    story = moved_lead(Story())
    retried(story, until=1)
    settled(story, "moved", "d1", "retried")
    received(story, "moved", "d2", attempt=2)
    acted(story, "d2")
    settled(story, "moved", "d2", attempt=2)
    return dealt(story)


def exhausted_lead(story: Story | None = None) -> Story:
    """crm cannot be reached for longer than the ladder: the event is dead-lettered."""
    story = moved_lead(story or Story())
    retried(story)
    died(story)
    return story


def replayed_lead(story: Story | None = None) -> Story:
    """An operator replays the dead letter, and now it succeeds."""
    story = exhausted_lead(story)
    story.write("automation", "dead_letter.replayed", "replay", event="moved")
    received(story, "moved", "r1")
    acted(story, "r1")
    settled(story, "moved", "r1")
    return dealt(story)


def duplicated_lead() -> Story:
    """The confirm of a publish is lost, so the event comes twice."""
    story = qualified_lead()
    published(story, "moved", span="publish again", attempt=2)
    duplicate(story, "moved", "d2")
    return story


# --- logs -------------------------------------------------------------------------------------------------------


def by_instance(lines: Iterable[Line]) -> dict[str, list[Line]]:
    grouped: dict[str, list[Line]] = defaultdict(list)
    for line in lines:
        grouped[line.instance].append(line)
    return grouped


def logs_of(
    lines: Iterable[Line], *, killed: Iterable[str] = (), lost: Sequence[LostLines] = ()
) -> tuple[ProcessLog, ...]:
    return tuple(
        ProcessLog(
            members[0].service, instance, f"{instance}.ndjson", instance in killed, tuple(members), (),
            tuple(hole for hole in lost if hole.instance == instance),
        )
        for instance, members in by_instance(lines).items()
    )  # fmt: skip


def raw(line: Envelope) -> bytes:
    return msgspec.json.encode(line)


def read_raw(path: Path, content: bytes, how: How = "stopped", service: str = "crm") -> ProcessLog:
    path.write_bytes(content)
    return read_process_log(path, ProcessStart(service=service, file=path.name, how=how))


def read_lines(path: Path, lines: Iterable[Line], how: How = "running") -> ProcessLog:
    lines = list(lines)
    return read_raw(path, b"".join(raw(line) + b"\n" for line in lines), how, lines[0].service if lines else "crm")


def lost_from(folder: Path, lines: Sequence[Line], missing: Iterable[int]) -> list[LostLines]:
    """What the reader says when these lines of a story, by index, are missing from the files of its processes."""
    gone = set(missing)
    ends = {line.instance: index for index, line in enumerate(lines)}
    kept = [line for index, line in enumerate(lines) if index not in gone]
    lost: list[LostLines] = []
    for instance in ends:
        members = [line for line in kept if line.instance == instance]
        whole = [*members, _stopped(lines, instance)]
        lost += read_lines(folder / f"{instance}.ndjson", whole, "stopped").lost
    return lost


def _stopped(lines: Sequence[Line], instance: str) -> Line:
    members = [line for line in lines if line.instance == instance]
    place: dict[str, Any] = {"instance": instance, "seq": members[-1].seq + 1, "at": len(lines) + 1}
    return decoded(line_fields(members[0].service, "service.stopped", **place))


# --- judging a flow ---------------------------------------------------------------------------------------------


def judged(
    lines: Iterable[Line], *, flow: str = "moved", killed: Iterable[str] = (), lost: Sequence[LostLines] = (),
    planted: Iterable[str] = (), repeating: Iterable[str] = (),
) -> FlowFinding:  # fmt: skip
    lines = list(lines)
    around = Surroundings(
        killed_instances=deaths(lines, killed),
        planted_correlations=frozenset(uid(EVENTS[name].flow) for name in planted),
        planted_events=frozenset(uid(name) for name in planted),
        rules_by_event_type=AROUND.rules_by_event_type,
        repeating_edges=frozenset(repeating),
    )
    return judge_flow(flows_of(lines)[uid(flow)], around, lost)


def deaths(lines: Iterable[Line], killed: Iterable[str]) -> dict[str, str]:
    """Instances that were killed → the moment of their last line."""
    last = {line.instance: line.ts for line in sorted(lines, key=lambda line: line.ts)}
    return {name: last.get(name, "") for name in killed}


def missing(finding: FlowFinding) -> list[str]:
    return [obligation.missing for obligation in finding.broken]


# --- other evidence ---------------------------------------------------------------------------------------------


@cache
def target() -> Target:
    return load_target()


RULES = (RuleRow(RULE, "lead.stage.changed", "qualified", "create_deal", True),)


def step(version: int, from_stage: str, to_stage: str, *, by: str = "moved", lead: str = "lead") -> HistoryRow:
    return HistoryRow("lead", uid(lead), version, from_stage, to_stage, "manual", uid(by), None)


def now_in(stage: str, version: int, *, lead: str = "lead") -> StageRow:
    return StageRow("lead", uid(lead), stage, version)


def a_lead(name: str = "lead", email: str = EMAIL) -> LeadRow:
    return LeadRow(uid(name), email, None, 1)


def a_deal(name: str = "deal", *, lead: str = "lead") -> DealRow:
    return DealRow(uid(name), uid(lead), 1)


def stored(name: str, **changes: Any) -> OutboxRow:
    event = EVENTS[name]
    row = OutboxRow(
        event.service, 1, uid(name), event.type, event.entity[0], uid(event.entity[1]), 1, uid(event.flow),
        uid(event.cause) if event.cause else None, True,
    )  # fmt: skip
    return msgspec.structs.replace(row, **changes)


def body_of(name: str, **changes: Any) -> str:
    event = EVENTS[name]
    body = {
        "event_id": uid(name), "event_type": event.type, "schema_version": 1, "occurred_at": moment(0),
        "correlation_id": uid(event.flow), "causation_id": uid(event.cause) if event.cause else None,
        "entity_type": event.entity[0], "entity_id": uid(event.entity[1]), "entity_version": 1,
        "source": event.service, "hop_count": 0, "payload": {},
    }  # fmt: skip
    return msgspec.json.encode(body | changes).decode()


def _message(name: str) -> dict[str, Any]:
    event = EVENTS[name]
    return {
        "message_id": uid(name), "correlation_id": uid(event.flow), "type": event.type, "app_id": event.service,
        "headers": {"causation_id": uid(event.cause) if event.cause else None}, "body": body_of(name),
    }  # fmt: skip


def tapped(name: str, **changes: Any) -> TapMessage:
    place: dict[str, Any] = {
        "exchange": "crm.events",
        "routing_key": EVENTS[name].type,
        "what": "published",
        "queues": (WORK_QUEUE,),
    }
    return TapMessage(**(place | _message(name) | changes))


def delivered(name: str, **changes: Any) -> TapMessage:
    """What the tap saw of a delivery from the work queue."""
    return tapped(name, **({"what": "delivered"} | changes))


def passed(*names: str) -> tuple[TapMessage, ...]:
    """What the tap saw of events that were published once and delivered once."""
    return tuple(message for name in names for message in (tapped(name), delivered(name)))


def resting(name: str, queue: str = DEAD_LETTERS, **changes: Any) -> RestingMessage:
    message = _message(name)
    message["headers"] |= {"dead_letter_reason": "exhausted"}
    return RestingMessage(**({"exchange": "", "routing_key": queue, "queue": queue} | message | changes))


def processed(name: str) -> ProcessedRow:
    return ProcessedRow(uid(name), EVENTS[name].type, uid(EVENTS[name].flow))


def planted(expect: Any = "schema_invalid", *, name: str = "poison") -> Planted:
    return Planted(message_id=uid(name), correlation_id=uid(EVENTS[name].flow), expect=expect, why="a broken body")


def operation(action: Any, http_status: int | None, *, flow: str, lead: str = "lead", **told: Any) -> Operation:
    """What a client asked (``arguments``) and was told (``answer``)."""
    return Operation(
        operation_id=0, action=action, entity_type="deal" if action == "create_deal" else "lead",
        entity_id=uid(lead) if action in ("move_stage", "change_lead") else None, correlation_id=uid(flow),
        arguments=told.get("arguments", {}), invoked_ns=1, returned_ns=2, outcome=outcome_of(http_status),
        http_status=http_status, answer=told.get("answer", {}),
    )  # fmt: skip


def lead_asked(http_status: int | None = 201) -> Operation:
    answer = {"id": uid("lead"), "version": 1} if http_status == 201 else {}
    return operation("create_lead", http_status, flow="created", arguments={"email": EMAIL.title()}, answer=answer)


def deal_asked(http_status: int | None = 201, *, deal: str = "deal", flow: str = "dealt") -> Operation:
    answer = {"id": uid(deal), "version": 1} if http_status == 201 else {}
    return operation("create_deal", http_status, flow=flow, arguments={"lead_id": uid("lead")}, answer=answer)


def move_asked(
    http_status: int | None = 200, *, flow: str = "moved", stage: str = "qualified", version: int = 1,
    expected: int | None = None, changed: bool = True,
) -> Operation:  # fmt: skip
    arguments: dict[str, Any] = {"stage": stage} | ({} if expected is None else {"expected_version": expected})
    answer = {"stage": stage, "version": version, "changed": changed} if http_status == 200 else {}
    return operation("move_stage", http_status, flow=flow, arguments=arguments, answer=answer)


def scenario(**changes: Any) -> ScenarioRecord:
    whole: dict[str, Any] = {
        "name": "test",
        "stack": "main",
        "target": "reference",
        "seed": 1,
        "since": "",
        "until": "~",
    }
    return ScenarioRecord(**(whole | changes))


def evidence(
    lines: Iterable[Line] = (), *, killed: Iterable[str] = (), lost: Sequence[LostLines] = (),
    plan: Iterable[Planted] = (), rows: Rows | None = None, **parts: Any,
) -> Evidence:  # fmt: skip
    """Evidence of anything: what is not named is empty."""
    record = parts.pop("scenario", None) or scenario(planted=tuple(plan))
    return Evidence(
        scenario=record, target=target(), logs=logs_of(lines, killed=killed, lost=lost), rows=rows or Rows(), **parts
    )


def happy_rows(**changes: Any) -> Rows:
    """The database after ``created_lead`` and ``qualified_lead``."""
    rows = Rows(
        leads=(a_lead(),), deals=(a_deal(),), stages=(now_in("qualified", 1),),
        history=(step(1, "new", "qualified"),), outbox=tuple(stored(name) for name in ("created", "moved", "deal")),
        rules=RULES, processed=tuple(processed(name) for name in ("created", "moved", "deal")),
    )  # fmt: skip
    return msgspec.structs.replace(rows, **changes)


def happy_evidence(lines: Iterable[Line] | None = None, **changes: Any) -> Evidence:
    """What all four witnesses say of ``created_lead`` and ``qualified_lead``; parts of it can be exchanged."""
    parts: dict[str, Any] = {
        "operations": (lead_asked(), move_asked()), "tap": passed("created", "moved", "deal"),
        "rows": happy_rows(),
    }  # fmt: skip
    told = qualified_lead(created_lead(Story())).lines if lines is None else lines
    return evidence(told, **(parts | changes))


# --- results ----------------------------------------------------------------------------------------------------


def the_finding(result: Result) -> Finding:
    """The one finding of a property that fails."""
    assert result.status == "fail", result
    assert len(result.findings) == 1, [finding.says for finding in result.findings]
    return result.findings[0]


def refused(content: bytes) -> str:
    """Why the contract refuses this line."""
    try:
        decode_line(content)
    except ContractViolation as violation:
        return str(violation)
    raise AssertionError(f"accepted: {content!r}")
