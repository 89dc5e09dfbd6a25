"""The kinds of fault that a schedule may name: where each may be, with which parameters, and how it is injected.

The first value of each parameter is the mildest: drawing takes any of them, shrinking goes towards the first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Literal

from chaos.faults.broker import memory_alarm, unbound
from chaos.faults.database import refusing_writes
from chaos.faults.in_flight import in_flight
from chaos.faults.network import cut
from chaos.faults.process import killed, paused, stopped
from chaos.faults.receiver import receiver_answers
from chaos.faults.site import Attestation, FaultSite
from chaos.faults.toxic import toxic
from chaos.proxy.wire import known_events
from chaos.schedule import moments
from chaos.schedule.schedule import Moment, PlannedFault, Schedule, ScheduleError, Stream, Value, known
from harness.environment.proxies import protocol_of
from harness.evidence.clock import wall_now
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
    at: Callable[[Moment], bool] = lambda moment: True
    exhausts: Callable[[str], bool] = lambda place: False
    in_the_broker: Callable[[str], bool] = lambda place: False
    needs: str = ""

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
def _with_hands_full(
    site: FaultSite, fault: PlannedFault, block: AbstractContextManager[Attestation]
) -> Iterator[Attestation]:
    """Attested by what the services next to the place had in hand meanwhile."""
    services = _services_at(fault)
    began = wall_now()
    with block as attestation:
        yield attestation
        hits = in_flight(site.log(), services, since=began)
        attestation.add(hits, f"{hits} requests, calls, deliveries or unsent events were in hand")


def _services_at(fault: PlannedFault) -> set[str] | None:
    """None: all, for what they share."""
    near, arrow, far = fault.place.partition("→")
    if arrow:
        return {far} if near == "client" else {near}
    return {fault.place} if KINDS[fault.kind].group == "process" and fault.place not in SERVERS else None


def _cut(site: FaultSite, fault: PlannedFault) -> AbstractContextManager[Attestation]:
    return _with_hands_full(site, fault, cut(site, fault.place))


@contextmanager
def _seen_by_the_proxy(
    site: FaultSite, edge: str, toxic: str, block: AbstractContextManager[Attestation]
) -> Iterator[Attestation]:
    """Attested by what the toxic has really acted on, as its proxy counts it."""
    before = _acted(site, edge, toxic)
    with block as attestation:
        yield attestation
        hits = _acted(site, edge, toxic) - before
        attestation.add(hits, f"the toxic acted on {hits} connections or chunks")


def _acted(site: FaultSite, edge: str, toxic: str) -> int:
    acted = site.proxy.seen(edge).toxics.get(toxic)
    return acted.connections + acted.chunks if acted else 0


def _toxic(kind: str, **attributes: str | int) -> Injection:
    """Attributes: the name of a parameter, or a value."""

    def inject(site: FaultSite, fault: PlannedFault) -> AbstractContextManager[Attestation]:
        values = {name: _number(fault, of) if isinstance(of, str) else of for name, of in attributes.items()}
        stream = str(fault.parameters["stream"])
        block = toxic(site, fault.place, kind=kind, stream=stream, attributes=values)
        if site.proxy.wire_aware:
            return _seen_by_the_proxy(site, fault.place, f"{kind}-{stream}", block)
        return _with_hands_full(site, fault, block)

    return inject


def _process(how: Callable[[FaultSite, str], AbstractContextManager[Attestation]]) -> Injection:
    return lambda site, fault: _with_hands_full(site, fault, how(site, fault.place))


def _broker(how: Callable[[FaultSite], AbstractContextManager[Attestation]]) -> Injection:
    return lambda site, fault: _with_hands_full(site, fault, how(site))


def _refused(site: FaultSite, fault: PlannedFault) -> AbstractContextManager[Attestation]:
    return _with_hands_full(site, fault, refusing_writes(site, fault.place))


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


def _written_by_requests(target: Target) -> tuple[str, ...]:
    """Whoever does background work takes a refusal that nobody foresaw for final: it ends, or lets the event die."""
    own = moments.consumer(target)
    schemas = ((table, *table.split(".")) for table in target.database.transient)
    return tuple(table for table, schema, name in schemas if schema != own and name != "outbox")


def _only(place: str, target: Target) -> tuple[str, ...]:
    return (place,)


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
            choices={**STREAMS, **choices}, sets_off=_retries_if_called, exhausts=_outward,
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
        name=name, group="process", places=_processes, inject=_process(how),
        sets_off=_comes_back if how is not paused else _nothing, in_the_broker=lambda place: place == "rabbitmq",
    )
    for name, how in (("SIGKILL", killed), ("SIGTERM", stopped), ("SIGSTOP", paused))
)  # fmt: skip


def _always(place: str) -> bool:
    return True


_SERVERS_OWN = (
    Kind(
        name="unbound", group="broker", places=partial(_only, "the work queue's bindings"), inject=_broker(unbound),
        in_the_broker=_always, needs="rabbitmq",
    ),
    Kind(
        name="memory alarm", group="broker", places=partial(_only, "the broker's memory"),
        inject=_broker(memory_alarm), in_the_broker=_always, needs="rabbitmq",
    ),
    Kind(
        name="writes refused", group="database", places=_written_by_requests, inject=_refused,
        lasts_ms=(200, 500, 900), sets_off=_retries, exhausts=_always, needs="postgres",
    ),
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

KINDS: dict[str, Kind] = {kind.name: kind for kind in (*_NETWORK, *_PROCESSES, *_SERVERS_OWN, *_OUTSIDE, *_WIRE)}
