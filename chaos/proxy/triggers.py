"""Triggers: what is to happen at the n-th event of a kind. Here is decided what and where; the relay carries it out."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from typing import Annotated, Any, Literal, NamedTuple

import msgspec

from chaos.proxy.wire.events import Edit, Event

Stream = Literal["upstream", "downstream"]
Action = Literal["cut", "stall", "delay", "drop", "duplicate", "hold"]

_ONCE_MORE = {("amqp", "publish"), ("amqp", "ack"), ("http", "request")}  # what can be made to happen twice


class Trigger(msgspec.Struct, frozen=True, kw_only=True):
    """What is to happen at the ``nth`` event of a kind, and at ``times`` from there on (0: all).

    Raises ValueError for what could not be carried out.
    """

    stream: Stream
    event: str
    action: Action
    detail: str = "*"
    """A pattern, as of file names."""
    nth: Annotated[int, msgspec.Meta(ge=1)] = 1
    times: Annotated[int, msgspec.Meta(ge=0)] = 1
    when: Literal["before", "after"] = "before"
    delay_ms: Annotated[int, msgspec.Meta(ge=0)] = 0
    hold: tuple[str, ...] = ()
    """Others on which nothing may pass either, for the action ``hold``: proxies, or for the adapter their edges."""

    def __post_init__(self) -> None:
        if (self.action == "delay") != (self.delay_ms > 0):
            raise ValueError(f"delay_ms goes with action 'delay': {self.delay_ms} ms, action {self.action!r}")
        if self.action == "drop" and self.when == "after":
            raise ValueError("what has passed cannot be dropped: action 'drop' needs when 'before'")
        if self.hold and self.action != "hold":
            raise ValueError(f"the proxies in 'hold' are for action 'hold', not for {self.action!r}")

    def refusal(self, protocol: str | None, known_events: Iterable[str]) -> str | None:
        """Why it could never act on a proxy of this protocol, whose stream knows these events; None if it can."""
        known = sorted(known_events)
        if self.event not in known:
            said = f"knows {', '.join(known)}" if known else "is not read (create the proxy with a protocol)"
            return f"no event {self.event!r} {self.stream} of {protocol or 'opaque'}: it {said}"
        if self.action == "duplicate" and (protocol, self.event) not in _ONCE_MORE:
            possible = ", ".join(f"{of} {event}" for of, event in sorted(_ONCE_MORE))
            return f"{protocol} {self.event} cannot be duplicated; what can (upstream): {possible}"
        if self.action == "duplicate" and self.stream == "downstream":
            return "only what goes upstream can be duplicated"
        return None


class NamedTrigger(Trigger, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """As the control API takes it. Raises ValueError (msgspec: ValidationError), as its base does."""

    name: str

    def __post_init__(self) -> None:
        Trigger.__post_init__(self)  # super() knows no msgspec.Struct with slots of its own
        if not self.name or "/" in self.name:
            raise ValueError(f"a trigger needs a name without '/', not {self.name!r}")


class Fired(msgspec.Struct, frozen=True):
    """When and where a trigger acted."""

    at: str  # RFC 3339, UTC, µs
    connection: int
    detail: str


class Armed:
    """A trigger at work, over all connections of its proxy."""

    def __init__(self, trigger: NamedTrigger) -> None:
        self.trigger = trigger
        self.seen = 0  # matches so far
        self.fired: list[Fired] = []
        self.disarmed = False  # to be set by who removes it: steps that still wait are then void
        self.listeners: set[Callable[[], None]] = set()  # each is called whenever it has acted

    def acts_on(self, event: Event) -> bool:
        """Count the event if it matches; whether it is one of those that are acted on."""
        trigger = self.trigger
        if event.name != trigger.event or not fnmatchcase(event.detail, trigger.detail):
            return False
        self.seen += 1
        return self.seen >= trigger.nth and (not trigger.times or self.seen < trigger.nth + trigger.times)

    def happened(self, connection: int, event: Event) -> None:
        """To be called by the relay when it has carried out a step."""
        at = datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
        self.fired.append(Fired(at, connection, event.detail))
        for tell in list(self.listeners):
            tell()

    def shown(self) -> dict[str, Any]:
        """As the control API shows it."""
        fired = msgspec.to_builtins(self.fired)
        return {**msgspec.to_builtins(self.trigger), "seen": self.seen, "fired": fired}


class Step(NamedTuple):
    """Pass on every byte before ``at``, then act.

    ``drop`` and ``replace``: go on at ``until``; in place of the bytes between, ``replacement`` is sent.
    ``duplicate``: pass on up to ``until``, then once more (http: over a connection of its own), then tell the decoder
    (``decoder.duplicated(event)``). With any other action ``until`` is ``at``.
    ``armed`` and ``event`` are None for ``replace``, which is nobody's trigger. A step of a trigger that was disarmed
    meanwhile is void. When a step was carried out, ``armed.happened(connection, event)`` is called.
    """

    action: Action | Literal["replace"]
    at: int
    until: int
    replacement: bytes = b""
    armed: Armed | None = None
    event: Event | None = None


def plan(events: list[Event], armed: Iterable[Armed], edits: Iterable[Edit] = (), *, passed: int = 0) -> list[Step]:
    """What to do at which offset, in order, for the events (and edits) that one ``feed`` of a decoder brought.

    ``armed``: the triggers of this stream of the proxy. ``passed``: the offset up to which bytes had been passed on
    before; an event that began before it has in part escaped, so it cannot be acted on and does not count.
    Ends with the first ``cut``: events behind it never reach anyone.
    """
    steps: list[Step] = []
    changes = {edit.start: Step("replace", edit.start, edit.end, edit.replacement) for edit in edits}
    armed = list(armed)
    for event in events:
        change = changes.pop(event.start, None)
        before: list[Step] = []
        after: list[Step] = []
        for one in armed if event.start >= passed else ():
            if not one.acts_on(event):
                continue
            action = one.trigger.action
            if action in ("drop", "duplicate"):
                if change is None or change.action == "replace":  # the first of those that want to change it
                    change = Step(action, event.start, event.end, b"", one, event)
            elif one.trigger.when == "before":
                before.append(Step(action, event.start, event.start, b"", one, event))
            else:
                after.append(Step(action, event.end, event.end, b"", one, event))
        for step in (*before, *([change] if change else ()), *after):
            steps.append(step)
            if step.action == "cut":
                return steps
    return steps
