"""Logs of millions of lines to measure an audit on: realistic, of all kinds, with faults planted at known places.

One generation of processes is told in full; every later one is the same story with other ids, at a later minute. So
each generation has its own instances, flows and entities, and writing a gigabyte takes seconds.
"""

from __future__ import annotations

import itertools
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from harness.target import load_target
from scenarios.bench.judge_lives import DEAL_RULE, Flow, Life, Witnessed, ts

SEED = 11
SERVICES = ("crm", "pipeline", "automation")
LIVES = 160
SIDE_BY_SIDE = 16
_MARK = "c0ffee"
"""Stands in every id of the first generation, and is replaced in the later ones."""
_MINUTE = b"2026-01-01T00:00:"
FAULTS = (
    "not_json", "not_utf8", "nul_bytes", "missing_field", "unknown_kind", "wrong_status", "half_an_entity", "bad_ts",
    "repeated", "moved",
)  # fmt: skip


@dataclass
class Planted:
    """What an audit has to find, and nothing else. ``lines``: (file, number) → what is wrong there."""

    lines: dict[tuple[str, int], str] = field(default_factory=dict)
    flows: set[str] = field(default_factory=set)


@dataclass
class Corpus:
    files: list[Path]
    lines: int
    bytes: int
    planted: Planted


def write_audit_corpus(folder: Path, *, lines: int, faults: int = 400, missing: int = 150) -> Corpus:
    """Write at least so many lines, one file a service, with faulty lines and flows that miss one in them."""
    chance = random.Random(SEED)
    story = {service: b"".join(told) for service, told in _generation().items()}
    generations = max(1, -(-lines // sum(text.count(b"\n") for text in story.values())))
    folder.mkdir(parents=True, exist_ok=True)
    planted, numbers, size = Planted(), dict.fromkeys(SERVICES, 0), 0
    faults_of, missing_of = _shares(faults, generations), _shares(missing, generations)
    classes = itertools.cycle(FAULTS)
    files = {service: folder / f"{service}.ndjson" for service in SERVICES}
    opened = {service: path.open("wb") for service, path in files.items()}
    for number in range(generations):
        texts = {service: _again(text, number) for service, text in story.items()}
        if faults_of[number] or missing_of[number]:
            generation = _Generation({service: text.splitlines() for service, text in texts.items()}, chance)
            planted.flows |= {generation.lose_a_line() for _ in range(missing_of[number])}
            generation.close_the_gaps()
            for _ in range(faults_of[number]):
                generation.plant(next(classes))
            for (service, line), what in generation.planted().items():
                planted.lines[str(files[service]), numbers[service] + line] = what
            texts = {service: b"\n".join(told) + b"\n" for service, told in generation.told.items()}
        for service, text in texts.items():
            opened[service].write(text)
            numbers[service] += text.count(b"\n")
            size += len(text)
    for file in opened.values():
        file.close()
    return Corpus(list(files.values()), sum(numbers.values()), size, planted)


def _shares(count: int, generations: int) -> list[int]:
    return [count * (n + 1) // generations - count * n // generations for n in range(generations)]


def _again(text: bytes, number: int) -> bytes:
    """The same with other ids, some minutes later."""
    day, minute = divmod(number, 1440)
    moment = f"2026-{1 + day // 28:02}-{1 + day % 28:02}T{minute // 60:02}:{minute % 60:02}:".encode()
    return text.replace(_MARK.encode(), f"{number:06x}".encode()).replace(_MINUTE, moment)


# --- one generation ---------------------------------------------------------------------------------------------


def _generation() -> dict[str, list[bytes]]:
    """What each service writes from its start to its end, line by line in the order of the wire."""
    told, chance = Witnessed(), random.Random(SEED)
    target, now_us = load_target(), 0
    logs: dict[str, list[bytes]] = {service: [] for service in SERVICES}

    def write(service: str, line: dict[str, Any]) -> None:
        place = {"instance": f"{service}-1-{_MARK}", "seq": len(logs[service])}
        head = {"ts": line["ts"], "event": line["event"]}
        logs[service].append(msgspec.json.encode(head | line | place) + b"\n")

    for service in SERVICES:
        for line in _beginning(service):
            write(service, line)
    for batch in range(LIVES // SIDE_BY_SIDE):
        began_us = now_us + 1_000
        for number in range(SIDE_BY_SIDE):
            life = _Life(told, target, chance, began_us + number, fate={(2, 3): 2, (5, 7): 9}.get((batch, number), 0))
            for _ in life.live(duplicate=(batch, number) in ((1, 1), (6, 2))):
                pass
            if number == 0 and batch < 5:
                (life.escalated, life.cancelled, life.replayed, life.discarded, life.deactivated)[batch]()
            now_us = max(now_us, life.now_us)
        for line in sorted(told.lines, key=lambda line: str(line["ts"])):
            write(line["service"], line)
        told.lines.clear()
        for service in SERVICES:
            write(
                service, _about(service, now_us, "metrics.snapshot", "ok", counters=_COUNTERS, histograms=_HISTOGRAMS)
            )
    assert ts(now_us).encode().startswith(_MINUTE), "a generation has to fit into a minute"
    for service in SERVICES:
        write(service, _about(service, now_us + 1, "service.stopped", "graceful", version="1.0.0", pid=1))
    return logs


_COUNTERS = {"http_requests_total": 412, "events_published_total": 155, "outbox_unsent": 0, "calls_total": 31}
_HISTOGRAMS = {"http_request_ms": {"count": 412, "sum": 1803.25}, "confirm_ms": {"count": 155, "sum": 201.5}}


def _about(service: str, now_us: int, kind: str, status: str, **more: object) -> dict[str, Any]:
    nothing = ("correlation_id", "event_id", "causation_id", "rule_id", "entity_type", "entity_id")
    return {
        "ts": ts(now_us), "event": kind, "schema": "crm.log/1.0", "service": service, "instance": "", "seq": 0,
        "level": "info", **dict.fromkeys(nothing), "status": status, "span_id": f"{now_us:016x}",
        "parent_span_id": None, **more,
    }  # fmt: skip


def _beginning(service: str) -> Iterator[dict[str, Any]]:
    yield _about(service, 0, "service.started", "ok", version="1.0.0", pid=1)
    yield _about(service, 1, "library.message", "ok", logger="uvicorn.error", message="Started server process [1]")
    for dependency in ("database", "broker"):
        yield _about(service, 2, "dependency.changed", "up", dependency=dependency, error=None)


class _Life(Life):
    """A lead whose ids bear the mark, and to whom the rarer things happen too."""

    def _uuid(self) -> str:
        text = super()._uuid()
        return f"{_MARK}{text[6:]}"

    def _span(self) -> str:
        return f"{_MARK}{super()._span()[6:]}"

    def escalated(self) -> None:
        """A timer that fires, and notifies."""
        flow, delivery = self._waiting()
        self._timer(flow, "timer.fired", "fired", delivery)
        self._acted(flow, DEAL_RULE, delivery, self._uuid(), 1)

    def cancelled(self) -> None:
        """A timer of a stage that was left in time."""
        flow, delivery = self._waiting()
        self._timer(flow, "timer.cancelled", "cancelled", delivery)

    def replayed(self) -> None:
        """A dead letter that is sent on its way again, and is handled."""
        flow, event, message = self._dead()
        self._line(flow, "automation", "dead_letter.replayed", "replayed", self._span(), None, actor="operator")
        self._handled(flow, event, message, ())

    def discarded(self) -> None:
        flow, _, _ = self._dead()
        self._line(flow, "automation", "dead_letter.discarded", "discarded", self._span(), None, actor="operator")

    def deactivated(self) -> None:
        """A change of a user, of which no event tells."""
        flow = Flow(self._uuid(), ("user", self._uuid()))
        span = self._asked(flow, "crm", "PATCH", "/users/{user_id}")
        self._line(
            flow, "crm", "change.committed", "committed", span, None,
            table="crm.users", entity_version=2, from_stage=None, to_stage=None,
        )  # fmt: skip
        self._answered(flow, "crm", span, "PATCH", "/users/{user_id}", 200)

    def _moved(self) -> tuple[Flow, Any, Any]:
        flow = Flow(self._uuid(), ("lead", self.lead_id))
        span = self._asked(flow, "pipeline", "PATCH", "/leads/{lead_id}/stage")
        event = self._committed(
            flow, "pipeline", span, "lead.stage.changed", ("lead", self.lead_id), 9, "pipeline.stages",
            ("proposal", "contacted"),
        )  # fmt: skip
        self._answered(flow, "pipeline", span, "PATCH", "/leads/{lead_id}/stage", 200)
        message = self._published(flow, event, span)
        return Flow(flow.correlation_id, flow.entity, event.row.event_id), event, message

    def _waiting(self) -> tuple[Flow, str]:
        flow, event, _ = self._moved()
        span, delivery = self._received(flow, event, 1)
        caused = Flow(flow.correlation_id, flow.entity, flow.event_id, flow.event_id)
        self._line(
            caused, "automation", "rule.evaluated", "matched", self._span(), span,
            rule_id=DEAL_RULE.rule_id, event_type="lead.stage.changed",
        )  # fmt: skip
        self._timer(caused, "timer.scheduled", "scheduled", span)
        self._settled(flow, event, span, delivery, 1, "acked")
        return caused, span

    def _timer(self, flow: Flow, kind: str, status: str, parent: str) -> None:
        due = ts(self.now_us + 5_000)
        self._line(flow, "automation", kind, status, self._span(), parent, rule_id=DEAL_RULE.rule_id, due_at=due)

    def _dead(self) -> tuple[Flow, Any, Any]:
        flow, event, message = self._moved()
        span, delivery = self._received(flow, event, 1)
        self._died(flow, event, message, span, delivery)
        return flow, event, message


# --- planting ---------------------------------------------------------------------------------------------------

_EVENT = re.compile(rb'"event":"([a-z._]+)"')
_FLOW = re.compile(rb'"correlation_id":"([^"]+)"')
_SEQ = re.compile(rb'"seq":(\d+)')
_NEVER_MISSED = (b"metrics.snapshot", b"service.", b"library.", b"dependency.", b"not_matched")
"""Lines of no flow; and an evaluation without consequence, which only the rules themselves would miss."""


class _Generation:
    """The lines of one generation, to plant faults in: each flow and each neighbourhood is hit at most once."""

    def __init__(self, told: dict[str, list[bytes]], chance: random.Random) -> None:
        self.told, self._chance = told, chance
        self._hit_flows: set[bytes] = set()
        self._lost: set[tuple[str, int]] = set()
        self._changes: dict[tuple[str, int], tuple[str, list[bytes], int]] = {}

    def lose_a_line(self) -> str:
        """A line of a flow is never written; the flow that misses it."""
        service, index, flow = self._pick()
        self._lost.add((service, index))
        return flow.decode()

    def close_the_gaps(self) -> None:
        """A process counts the lines that it writes, and it has not written those."""
        for service, lines in self.told.items():
            kept = [line for index, line in enumerate(lines) if (service, index) not in self._lost]
            self.told[service] = [_SEQ.sub(b'"seq":%d' % seq, line, count=1) for seq, line in enumerate(kept)]

    def plant(self, what: str) -> None:
        """Spoil one line (or repeat it, or swap it with the next one)."""
        service, index, _ = self._pick(room=what == "moved")
        line, after = self.told[service][index], self.told[service][index + 1]
        replaced, shows_at = [_spoilt(line, what)], 0
        if what == "repeated":
            replaced, shows_at = [line, line], 1
        elif what == "moved":
            replaced, shows_at = [after, line], 1
        self._changes[service, index] = what, replaced, shows_at

    def planted(self) -> dict[tuple[str, int], str]:
        """Carry the plan out. (service, number of the line within the generation) → what is wrong there."""
        found = {}
        for service, lines in self.told.items():
            new: list[bytes] = []
            index = 0
            while index < len(lines):
                what, replaced, shows_at = self._changes.get((service, index), ("", [lines[index]], 0))
                if what:
                    found[service, len(new) + shows_at + 1] = what
                new += replaced
                index += 2 if what == "moved" else 1
            self.told[service] = new
        return found

    def _pick(self, *, room: bool = False) -> tuple[str, int, bytes]:
        while True:
            service = self._chance.choice(SERVICES)
            index = self._chance.randrange(5, len(self.told[service]) - 5)
            near = self.told[service][index - 2 : index + 3]
            flows = {found[1] for line in near if (found := _FLOW.search(line))}
            line = self.told[service][index]
            flow = _FLOW.search(line)
            if flow is None or any(word in line for word in _NEVER_MISSED) or self._hit_flows & flows:
                continue
            if room and any(word in self.told[service][index + 1] for word in _NEVER_MISSED):
                continue
            self._hit_flows |= flows
            return service, index, flow[1]


def _spoilt(line: bytes, what: str) -> bytes:
    kind = _EVENT.search(line)
    assert kind is not None
    match what:
        case "not_json":
            return line[: len(line) * 4 // 5]
        case "not_utf8":
            return line.replace(kind[0], kind[0] + b',"more":"\xff\xfe"')
        case "nul_bytes":
            return line[:-9] + b"\0" * 9
        case "missing_field":
            return re.sub(rb'"level":"[a-z]+",', b"", line)
        case "unknown_kind":
            return line.replace(kind[0], b'"event":"event.dreamt"')
        case "wrong_status":
            return re.sub(rb'"status":"[a-z_]+"', b'"status":"perhaps"', line)
        case "half_an_entity":
            half = re.sub(rb'"entity_type":"[a-z]+"', b'"entity_type":null', line)
            return half if half != line else line.replace(b'"entity_id":null', b'"entity_id":"%s"' % (b"0" * 36))
        case "bad_ts":
            return line.replace(b"T", b" ", 1)
    return line
