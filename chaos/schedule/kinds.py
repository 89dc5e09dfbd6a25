"""The kinds of fault that a schedule may name: where each may be, with which parameters, and how it is injected.

The first value of each parameter is the mildest: drawing takes any of them, shrinking goes towards the first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Literal

from chaos.faults import broker, database
from chaos.faults.broker.alarm import MEMORY
from chaos.faults.broker.bindings import BINDINGS
from chaos.faults.broker.exchange import EXCHANGE
from chaos.faults.broker.full import WORK_QUEUE
from chaos.faults.network import cut
from chaos.faults.process import killed, paused, restarted, stopped
from chaos.faults.receiver import receiver_answers
from chaos.faults.site import Attestation, FaultSite
from chaos.faults.toxic import toxic
from chaos.proxy.wire import known_events
from chaos.schedule import moments
from chaos.schedule.schedule import Moment, PlannedFault, Schedule, ScheduleError, Stream, Value, known
from harness.contract.log_lines import CallCompleted
from harness.environment.proxies import protocol_of
from harness.evidence.clock import monotonic_ns, wall_now
from harness.sinks.inbox import MAIL
from harness.target import Target

Group = Literal["network", "process", "broker", "database", "outside", "wire"]
Action = Literal["cut", "stall", "delay", "drop", "duplicate"]
Injection = Callable[[FaultSite, PlannedFault], AbstractContextManager[Attestation]]

SERVERS = ("postgres", "rabbitmq")
HOOKS = "/hooks"
STREAMS = {"stream": ("upstream", "downstream")}
LASTS_MS = (300, 1000, 2500)
"""The longest is longer than readiness may take to follow."""


def _nothing(target: Target, place: str) -> list[Moment]:
    return []


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """``sets_off``: moments that come only because of this fault, at which the next one may strike. ``lasts_ms``: for
    how long; empty for what has its own end. ``exhausts``: an event that meets it at every attempt dies, rightly.
    ``in_the_broker``: nobody can hand the broker a message of their own meanwhile. ``needs``: the server by which it is
    done, so that it waits until no other fault is at that server."""

    name: str
    group: Group
    places: Callable[[Target], tuple[str, ...]]
    inject: Injection
    choices: Mapping[str, tuple[Value, ...]] = field(default_factory=dict)
    lasts_ms: tuple[int, ...] = LASTS_MS
    sets_off: Callable[[Target, str], list[Moment]] = _nothing
    action: Action | None = None
    counted: bool = False
    needs_flow: bool = False
    at: Callable[[Moment], bool] = lambda moment: True
    exhausts: Callable[[str], bool] = lambda place: False
    in_the_broker: Callable[[str], bool] = lambda place: False
    needs: str = ""

    @property
    def needs_our_proxy(self) -> bool:
        return self.on_the_wire or self.counted

    @property
    def on_the_wire(self) -> bool:
        """Whether it is done to an event, by the proxy."""
        return self.action is not None

    def seat(self, place: str) -> str:
        """Where it is, for whoever keeps two faults from being at one place at once."""
        return self.needs or place


def check(schedule: Schedule, target: Target) -> None:
    """Whether it can be run on this target. Raises ScheduleError that says what would do."""
    stages = (*target.stages.open, *target.stages.terminal)
    for step in schedule.steps:
        if step.to and step.to not in stages:
            raise ScheduleError(f"to = {step.to!r} is no stage of {target.name}: {known(step.to, stages)}")
    for fault in schedule.faults:
        _check_fault(fault, target)
    closed = [fault for fault in schedule.faults if KINDS[fault.kind].in_the_broker(fault.place)]
    ours = [step.do for step in schedule.steps if step.do in OURS]
    if closed and ours:
        raise ScheduleError(f"{ours[0]} needs a broker that takes messages, which {closed[0]} may prevent")


OURS = ("deliver again", "poison")
"""Steps in which the gauntlet itself publishes."""


def _check_fault(fault: PlannedFault, target: Target) -> None:
    kind = KINDS.get(fault.kind)
    if kind is None:
        raise ScheduleError(f"kind = {fault.kind!r} is no kind of fault: {known(fault.kind, KINDS)}")
    places = kind.places(target)
    if fault.place not in places:
        raise ScheduleError(f"{kind.name}: place = {fault.place!r} is none of its places: {known(fault.place, places)}")
    if set(fault.parameters) != set(kind.choices):
        wanted = ", ".join(kind.choices) or "none"
        raise ScheduleError(f"{kind.name}: parameters {sorted(fault.parameters)}, expected: {wanted}")
    for name, value in fault.parameters.items():
        example = kind.choices[name]
        text = isinstance(example[0], str)
        if isinstance(value, str) != text or (text and value not in example) or (not text and int(value) < 0):
            expected = " or ".join(map(repr, example)) if text else f"a whole number, such as {example[0]}"
            raise ScheduleError(f"{kind.name}: {name} = {value!r}, expected {expected}")
    if fault.at.stream is not None:
        _check_event(kind, fault.at, fault.at.stream, target)
    if kind.on_the_wire and (not fault.at.on_the_wire or fault.at.edge != fault.place):
        raise ScheduleError(f"{kind.name} is done to an event: `at` has to name one of {fault.place}")
    if not kind.at(fault.at):
        raise ScheduleError(f"{kind.name} cannot be done {fault.at}")


def _check_event(kind: Kind, at: Moment, stream: Stream, target: Target) -> None:
    if at.edge not in target.edges:
        raise ScheduleError(f"{kind.name}: at edge {at.edge!r}: {known(at.edge, target.edges)}")
    events = sorted(known_events(protocol_of(at.edge), stream))
    if at.event not in events:
        raise ScheduleError(f"{kind.name}: no event {at.event!r} {stream} on {at.edge}: {known(at.event, events)}")


# --- how each is injected ---------------------------------------------------------------------------------------


def _number(fault: PlannedFault, name: str) -> int:
    return int(fault.parameters[name])


@contextmanager
def _cut(site: FaultSite, fault: PlannedFault) -> Iterator[Attestation]:
    """Attested by connections that were dropped, and by what was asked in vain meanwhile."""
    began, began_ns = wall_now(), monotonic_ns()
    near, _, far = fault.place.partition("→")
    with cut(site, fault.place) as attestation:
        yield attestation
        calls = [line for line in site.log() if isinstance(line, CallCompleted) and line.ts > began]
        vain = sum((call.service, call.peer, call.http_status) == (near, far, None) for call in calls)
        if near == "client":
            asked = [operation for operation in site.recording.operations if operation.returned_ns > began_ns]
            vain += sum(operation.outcome == "unknown" for operation in asked)
        attestation.add(vain, f"{vain} were asked in vain")


def _toxic(kind: str, **attributes: str | int) -> Injection:
    """Attributes: the name of a parameter, or a value."""

    def inject(site: FaultSite, fault: PlannedFault) -> AbstractContextManager[Attestation]:
        values = {name: _number(fault, of) if isinstance(of, str) else of for name, of in attributes.items()}
        stream: Stream = "upstream" if fault.parameters["stream"] == "upstream" else "downstream"
        return toxic(site, fault.place, kind=kind, stream=stream, attributes=values)

    return inject


def _at_its_place(how: Callable[[FaultSite, str], AbstractContextManager[Attestation]]) -> Injection:
    return lambda site, fault: how(site, fault.place)


def _full(site: FaultSite, fault: PlannedFault) -> AbstractContextManager[Attestation]:
    return broker.queue_full(site, fault.place, max_length=_number(fault, "max_length"))


def _answers(site: FaultSite, fault: PlannedFault) -> AbstractContextManager[Attestation]:
    numbers = {name: _number(fault, name) for name in ("status", "times", "delay_ms")}
    return receiver_answers(site, fault.place, **numbers)


def _by_the_proxy(site: FaultSite, fault: PlannedFault) -> AbstractContextManager[Attestation]:
    raise TypeError(f"{fault.kind} is not injected: the proxy does it to an event, see action")


# --- where each may be ------------------------------------------------------------------------------------------


def _edges(target: Target) -> tuple[str, ...]:
    return target.edges


def _readable(target: Target) -> tuple[str, ...]:
    return tuple(edge for edge in target.edges if protocol_of(edge) is not None)


def _processes(target: Target) -> tuple[str, ...]:
    return (*target.services, *SERVERS)


def _tables(target: Target) -> tuple[str, ...]:
    return target.database.transient


def _broker_clients(target: Target) -> tuple[str, ...]:
    """The edges that lead there, and the server itself for all of them."""
    return (*(edge for edge in target.edges if edge.endswith("→broker")), "rabbitmq")


def _database_clients(target: Target) -> tuple[str, ...]:
    return (*(edge for edge in target.edges if edge.endswith("→database")), "postgres")


def _written_by_requests(target: Target) -> tuple[str, ...]:
    """Whoever does background work takes a refusal that nobody foresaw for final: it ends, or lets the event die."""
    own = moments.consumer(target)
    schemas = ((table, *table.split(".")) for table in target.database.transient)
    return tuple(table for table, schema, name in schemas if schema != own and name != "outbox")


def _only(place: str, target: Target) -> tuple[str, ...]:
    return (place,)


def _always(place: str) -> bool:
    return True


def _never(place: str) -> bool:
    return False


def _outward(place: str) -> bool:
    return place.endswith(("→webhook", "→mail"))


def _comes_back(target: Target, place: str) -> list[Moment]:
    """After a cut or a restart: connections made anew, and what an action that failed meanwhile sets off."""
    found = moments.reconnects(target, place)
    return found + moments.retries(target) if _outward(place) else found


def _retries(target: Target, place: str) -> list[Moment]:
    return moments.retries(target)


def _retries_if_called(target: Target, place: str) -> list[Moment]:
    near, _, far = place.partition("→")
    return moments.retries(target) if near == moments.consumer(target) and far not in ("broker", "database") else []


_NETWORK = (
    Kind(name="cut", group="network", places=_edges, inject=_cut, sets_off=_comes_back, exhausts=_outward),
    *(
        Kind(
            name=name, group="network", places=_edges, inject=_toxic(name, **attributes),
            choices={**STREAMS, **choices}, sets_off=_retries_if_called, exhausts=_outward, counted=True,
        )
        for name, attributes, choices in (
            ("latency", {"latency": "delay_ms"}, {"delay_ms": (30, 200, 700)}),
            ("bandwidth", {"rate": "rate_kb_s"}, {"rate_kb_s": (64, 8, 1)}),
            ("slicer", {"average_size": "bytes", "size_variation": 0, "delay": "delay_us"},
             {"bytes": (100, 10), "delay_us": (0, 1000)}),
            ("timeout", {"timeout": 0}, {}),
            ("reset_peer", {"timeout": "after_ms"}, {"after_ms": (0, 200)}),
            ("limit_data", {"bytes": "bytes"}, {"bytes": (20_000, 2_000, 200)}),
            ("slow_close", {"delay": "delay_ms"}, {"delay_ms": (100, 1000)}),
        )
    ),
)  # fmt: skip

_PROCESSES = tuple(
    Kind(
        name=name, group="process", places=_processes, inject=_at_its_place(how), lasts_ms=lasts_ms,
        sets_off=_comes_back if how is not paused else _nothing, in_the_broker=lambda place: place == "rabbitmq",
        needs_flow=how in (stopped, restarted),
    )
    for name, how, lasts_ms in (
        ("SIGKILL", killed, LASTS_MS), ("SIGTERM", stopped, LASTS_MS), ("SIGSTOP", paused, LASTS_MS),
        ("restart", restarted, ()),
    )
)  # fmt: skip


_BROKER = tuple(
    Kind(
        name=name, group="broker", places=places, inject=inject, choices=choices, lasts_ms=lasts_ms,
        sets_off=_comes_back, in_the_broker=_always, needs="rabbitmq",
    )
    for name, places, inject, choices, lasts_ms in (
        ("unbound", partial(_only, BINDINGS), _at_its_place(broker.unbound), {}, LASTS_MS),
        ("memory alarm", partial(_only, MEMORY), _at_its_place(broker.memory_alarm), {}, LASTS_MS),
        ("queue full", partial(_only, WORK_QUEUE), _full, {"max_length": (3, 1)}, LASTS_MS),
        ("exchange deleted", partial(_only, EXCHANGE), _at_its_place(broker.exchange_deleted), {}, ()),
        ("connections closed", _broker_clients, _at_its_place(broker.closed), {}, ()),
    )
)  # fmt: skip

_DATABASE = tuple(
    Kind(
        name=name, group="database", places=places, inject=_at_its_place(how), lasts_ms=lasts_ms,
        sets_off=sets_off, exhausts=exhausts, needs="postgres",
    )
    for name, places, how, lasts_ms, sets_off, exhausts in (
        ("writes refused", _written_by_requests, database.refusing_writes, (200, 500, 900), _retries, _always),
        ("table locked", _tables, database.locked, LASTS_MS, _retries, _never),
        ("read-only", partial(_only, "postgres"), database.read_only, LASTS_MS, _nothing, _never),
        ("sessions terminated", _database_clients, database.terminated, (), _comes_back, _never),
        ("connections exhausted", _database_clients, database.exhausted, LASTS_MS, _nothing, _never),
    )
)  # fmt: skip

_OUTSIDE = tuple(
    Kind(
        name=name, group="outside", places=partial(_only, place), inject=_answers, sets_off=_retries, exhausts=_always,
        choices={"status": statuses, "times": (1, 2, 3), "delay_ms": (0, 300)}, lasts_ms=(),
    )
    for name, place, statuses in (("webhook fails", HOOKS, (503, 500, 429)), ("mail fails", MAIL, (451, 421)))
)  # fmt: skip


def _may_be_lost(moment: Moment) -> bool:
    """Answers, and requests over HTTP: who waits for one gives up. A stream of anything else never lacks a part."""
    return moment.event in ("confirm", "committed", "response", "request") and moment.when == "before"


def _may_come_twice(moment: Moment) -> bool:
    """But no request of a client: what is refused the second time would be refused to whoever asked first."""
    near = moment.edge.partition("→")[0]
    return moment.event in ("publish", "ack") or (moment.event == "request" and near != "client")


_ACTIONS: tuple[tuple[Action, Mapping[str, tuple[Value, ...]], tuple[int, ...], Callable[[Moment], bool]], ...] = (
    ("cut", {"times": (1, 2, 4)}, (), lambda moment: True),
    ("stall", {}, LASTS_MS, lambda moment: True),
    ("delay", {"delay_ms": (50, 300, 1000), "times": (1, 3)}, (), lambda moment: True),
    ("drop", {"times": (1, 2)}, (), _may_be_lost),
    ("duplicate", {"times": (1, 3)}, (), _may_come_twice),
)
_WIRE = tuple(
    Kind(
        name=f"{action} at", group="wire", places=_readable, inject=_by_the_proxy, action=action, choices=choices,
        lasts_ms=lasts_ms, at=at, sets_off=_comes_back if action == "cut" else _retries_if_called, exhausts=_outward,
    )
    for action, choices, lasts_ms, at in _ACTIONS
)  # fmt: skip

KINDS: dict[str, Kind] = {kind.name: kind for kind in (*_NETWORK, *_PROCESSES, *_BROKER, *_DATABASE, *_OUTSIDE, *_WIRE)}
