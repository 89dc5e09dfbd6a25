"""Whether a schedule can be run on a target: its kinds, places, parameters, events and stages are known there."""

from __future__ import annotations

from chaos.proxy.wire import known_events
from chaos.schedule.kind import Kind
from chaos.schedule.kinds import KINDS
from chaos.schedule.schedule import OURS, Moment, PlannedFault, Schedule, ScheduleError, Stream, known
from harness.environment.proxies import protocol_of
from harness.target import Target


def check(schedule: Schedule, target: Target) -> None:
    """Whether it can be run on this target. Raises ScheduleError that says what would do."""
    stages = (*target.stages.open, *target.stages.terminal)
    for step in schedule.steps:
        if step.to and step.to not in stages:
            raise ScheduleError(f"to = {step.to!r} is no stage of {target.name}: {known(step.to, stages)}")
    for fault in schedule.faults:
        _check_fault(fault, target)
    closed = [fault for fault in schedule.faults if KINDS[fault.kind].in_the_broker(target, fault.place)]
    ours = [step.do for step in schedule.steps if step.do in OURS]
    if closed and ours:
        raise ScheduleError(f"{ours[0]} needs a broker that takes messages, which {closed[0]} may prevent")


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
