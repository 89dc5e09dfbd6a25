"""A schedule: lanes of clients' steps, and faults with the moment of each. A TOML file that people write as well.

::

    format = 1
    seed = 7
    number = 12

    [[lanes]]
    steps = [
        { do = "create lead", on = "lead-1" },
        { do = "move", on = "lead-1", to = "qualified" },
    ]

    [[faults]]
    kind = "cut"
    place = "pipeline→broker"
    at = { step = 1 }
    for_ms = 500

Lanes go on side by side, each one step after the other. ``deal-1`` is the deal of ``lead-1``, whoever made it. A fault
comes at a step (after so many of its lane) or at an event on the wire, and stays ``for_ms`` or, without that, until all
lanes have come to their end.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Collection, Iterator
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal

import msgspec
from msgspec import Struct

FORMAT = 1
LONGEST_MS = 10_000
"""No pause and no fault lasts longer: the promises of the system are about less."""
_NAME = re.compile(r"(lead|deal)-[1-9][0-9]*")

DOES = ("create lead", "create deal", "move", "change", "read", "deliver again", "poison")
OURS = ("deliver again", "poison")
"""Steps in which the gauntlet itself publishes."""
Stream = Literal["upstream", "downstream"]
Version = Literal["", "known", "stale"]
Value = int | str


class ScheduleError(Exception):
    """A schedule cannot be read or cannot be meant. The message names the file and the place, and what would do."""


class Step(Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """One operation of a client. ``deliver again``: the broker gets the entity's latest event a second time.

    ``to``: the stage of a ``move``. ``version`` makes a move conditional: on the version that is known, or on an
    older one. ``pause_ms``: so long the client thinks before it.
    """

    do: str
    on: str = ""
    to: str = ""
    version: Version = ""
    pause_ms: int = 0

    def __post_init__(self) -> None:
        _must(self.do in DOES, f"do = {self.do!r}: {known(self.do, DOES)}")
        if self.do == "poison":
            _must(not self.on, "poison is about nobody: it takes no `on`")
        else:
            _must(_NAME.fullmatch(self.on), f"on = {self.on!r}: expected lead-1, deal-1 and so on")
        wanted = {"create lead": "lead", "create deal": "deal", "change": "lead"}.get(self.do)
        if wanted:
            _must(self.on.startswith(wanted), f"{self.do} is for a {wanted}, on = {self.on!r} is none")
        moves = self.do == "move"
        _must(bool(self.to) == moves, f"{self.do} with to = {self.to!r}: a move, and nothing else, has `to`")
        _must(not self.version or moves, f"only a move has a version, {self.do} has none")
        _must(0 <= self.pause_ms <= LONGEST_MS, f"pause_ms = {self.pause_ms}: expected 0 to {LONGEST_MS}")

    @property
    def lead(self) -> str:
        """The lead that it is about, or whose deal it is about."""
        return f"lead-{self.on.rpartition('-')[2]}" if self.on else ""


class Lane(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one client does, one step after the other."""

    steps: tuple[Step, ...]


class Moment(Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """When a fault comes: after ``step`` steps of a lane (0: at once), or at an event on the wire.

    The event is the ``nth`` on this edge and stream whose detail fits the pattern, counted from the beginning of the
    lanes; the fault comes right before its first byte has passed, or right after its last.
    """

    step: int | None = None
    lane: int = 1
    edge: str = ""
    stream: Stream | None = None
    event: str = ""
    detail: str = "*"
    nth: int = 1
    when: Literal["before", "after"] = "before"

    def __post_init__(self) -> None:
        on_the_wire = bool(self.edge), self.stream is not None, bool(self.event)
        _must(
            all(on_the_wire) if self.step is None else not any(on_the_wire),
            "a moment is either { step = 2 } or "
            '{ edge = "pipeline→broker", stream = "upstream", event = "publish", nth = 1, when = "before" }',
        )
        _must(self.step is None or self.step >= 0, f"step = {self.step}: expected 0 or more")
        _must(self.lane >= 1, f"lane = {self.lane}: lanes are counted from 1")
        _must(self.nth >= 1, f"nth = {self.nth}: events are counted from 1")

    @property
    def on_the_wire(self) -> bool:
        return self.step is None

    def __str__(self) -> str:
        if not self.on_the_wire:
            return f"after step {self.step} of lane {self.lane}" if self.step else "at once"
        detail = "" if self.detail == "*" else f" {self.detail}"
        return f"{self.when} {self.event}{detail} no. {self.nth} on {self.edge} {self.stream}"


class PlannedFault(Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """One fault to come: its kind (see ``kinds``), where, when, and for how long."""

    kind: str
    place: str
    at: Moment
    for_ms: int | None = None
    parameters: dict[str, Value] = {}

    def __post_init__(self) -> None:
        long = self.for_ms
        _must(long is None or 0 < long <= LONGEST_MS, f"for_ms = {long}: expected 1 to {LONGEST_MS}")

    def __str__(self) -> str:
        parameters = "".join(f" {name}={value}" for name, value in self.parameters.items())
        long = "" if self.for_ms is None else f" for {self.for_ms} ms"
        return f"{self.kind} on {self.place}{parameters}, {self.at}{long}"


class Schedule(Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """What is run. ``seed`` and ``number`` tell where it was drawn; one that was written by hand needs neither."""

    format: int
    seed: int = 0
    number: int = 0
    lanes: tuple[Lane, ...]
    faults: tuple[PlannedFault, ...] = ()

    def __post_init__(self) -> None:
        _must(self.format == FORMAT, f"format = {self.format}: this gauntlet reads format {FORMAT}")
        _must(any(lane.steps for lane in self.lanes), "no steps: a schedule in which no client does anything")
        for fault in self.faults:
            lane, step = fault.at.lane, fault.at.step or 0
            _must(lane <= len(self.lanes), f"{fault.kind}: at lane {lane}, but there are {len(self.lanes)}")
            steps = len(self.lanes[lane - 1].steps)
            _must(step <= steps, f"{fault.kind}: at step {step} of lane {lane}, which has only {steps}")

    @property
    def steps(self) -> list[Step]:
        """Of all lanes."""
        return [step for lane in self.lanes for step in lane.steps]

    def __str__(self) -> str:
        faults = "; ".join(map(str, self.faults)) or "no fault"
        return f"{len(self.steps)} steps in {len(self.lanes)} lane(s); {faults}"


def known(name: str, names: Collection[str]) -> str:
    """For a message about a name that is none of these."""
    near = get_close_matches(name, names, n=1)
    return f"did you mean {near[0]!r}?" if near else f"there are {', '.join(names)}"


def _must(so: object, message: str) -> None:
    """msgspec turns a ValueError into a ValidationError that names the place."""
    if not so:
        raise ValueError(message)


# --- as TOML ----------------------------------------------------------------------------------------------------


def read_schedule(path: Path) -> Schedule:
    """Raises ScheduleError with the file and the place in it."""
    try:
        return parse(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ScheduleError(f"{path}: {error}") from error
    except ScheduleError as error:
        raise ScheduleError(f"{path}: {error}") from None


def parse(text: str) -> Schedule:
    """A schedule from the text of its file. Raises ScheduleError."""
    try:
        return msgspec.convert(tomllib.loads(text), Schedule)
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise ScheduleError(str(error)) from None


def as_toml(schedule: Schedule, *, comment: str = "") -> str:
    """The text of its file: the same bytes for the same schedule. ``comment`` is put above it."""
    return "".join(f"{line}\n" for line in _lines(schedule, comment))


def _lines(schedule: Schedule, comment: str) -> Iterator[str]:
    for line in comment.splitlines():
        yield f"# {line}".rstrip()
    plain = msgspec.to_builtins(schedule)
    for name in ("format", "seed", "number"):
        if name in plain:
            yield f"{name} = {plain[name]}"
    for lane in plain["lanes"]:
        yield from ("", "[[lanes]]", "steps = [")
        yield from (f"    {_inline(step)}," for step in lane["steps"])
        yield "]"
    for fault in plain.get("faults", ()):
        yield from ("", "[[faults]]")
        yield from (f"{name} = {_inline(value)}" for name, value in fault.items())


def _inline(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{name} = {_inline(item)}" for name, item in value.items()) + " }"
    return json.dumps(value, ensure_ascii=False)  # of text and whole numbers, TOML has the same notation
