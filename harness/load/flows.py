"""From the request to what has to come of it: PATCH → deal, end to end, and where the time went on the way.

A flow begins when its request was *meant* to begin, and ends when crm has answered the ``POST /deals`` of the same
correlation with 201: a 409 only says that the deal is there. One that never ends took forever.

Of the way to the deal each stage is told by itself. All lines but crm's answer are those of the flow's first event,
the one that nothing else in the flow has caused::

    outbox   event.stored → the first event.published that was confirmed
    queue    that → the first event.received (0 where the consumer was faster than the line about the confirm)
    handler  event.received → event.settled of each delivery, without its calls
    call     call.sent → call.completed of each call for that event
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from pathlib import Path
from typing import Literal, get_args

import msgspec
from msgspec import Struct

from harness.contract.log_lines import is_timestamp
from harness.evidence.clock import unix_ns
from harness.evidence.records import ProcessStart
from harness.load.percentiles import NEVER
from harness.load.requests import Asked
from harness.load.tracks import Track, track, track_of

Stage = Literal["outbox", "queue", "handler", "call"]
STAGES: tuple[Stage, ...] = get_args(Stage)
BLOCK_BYTES = 1 << 18


@dataclass(frozen=True, slots=True)
class LogFile:
    """What one process start wrote, as it lies there."""

    path: Path
    start: ProcessStart


@dataclass(frozen=True, slots=True)
class Flows:
    """All values count to the moment at which the flow was meant to begin, in milliseconds where they are times.

    ``finished``: 1 for a flow that has ended, else 0. ``excess_deals``: those beyond the first. ``unfinished``: their
    correlations, in the order in which they began.
    """

    took_ms: Track
    finished: Track
    excess_deals: Track
    done_at_end: Track
    """1 for each flow, at the moment of its end."""
    waits_ms: dict[Stage, Track]
    unfinished: list[str]


class _Line(Struct, gc=False):
    """As much of a log line as is needed here: whether it keeps the contract, others ask."""

    ts: str
    event: str
    service: str = ""
    correlation_id: str | None = None
    event_id: str | None = None
    causation_id: str | None = None
    span_id: str | None = None
    status: str = ""
    method: str = ""
    route: str = ""
    http_status: int | None = None


@dataclass(slots=True)
class _Delivery:
    number: int
    received_ns: int
    calls_ns: int = 0


@dataclass(slots=True)
class _Followed:
    """What is known of all flows so far. A column holds one moment for each flow, 0 where it was not seen."""

    asked: Sequence[Asked]
    number_of: dict[str, int]
    stored_ns: array[int]
    published_ns: array[int]
    received_ns: array[int]
    ended_ns: array[int]
    deals: array[int]
    spans: dict[Stage, list[tuple[int, float]]] = field(default_factory=lambda: {"handler": [], "call": []})

    @classmethod
    def of(cls, every: Sequence[Asked]) -> _Followed:
        """What was asked again with the same correlation has begun with the first time."""
        first: dict[str, Asked] = {}
        for one in sorted(every, key=attrgetter("intended_ns")):
            first.setdefault(one.correlation_id, one)
        asked = list(first.values())
        stored, published, received, ended, deals = (array("q", bytes(8 * len(asked))) for _ in range(5))
        numbers = {one.correlation_id: number for number, one in enumerate(asked)}
        return cls(asked, numbers, stored, published, received, ended, deals)

    def took(self, stage: Stage, number: int, took_ns: int) -> None:
        self.spans[stage].append((self.asked[number].intended_ns, max(0, took_ns) / 1e6))


def follow(asked: Sequence[Asked], logs: Iterable[LogFile]) -> Flows:
    """Find in the logs what came of what was asked.

    Where the answer does not say so, a flow has begun if the log shows that its event was stored. Reads each log once,
    in blocks; lines that cannot be read are passed over, for other judges tell of them. Raises OSError.
    """
    followed = _Followed.of(asked)
    for log in logs:
        _read(log, followed)
    return _flows(followed)


def _read(log: LogFile, followed: _Followed) -> None:
    skew_ns = round(log.start.skew_s * 1e9)
    in_hand: dict[str, _Delivery] = {}
    sent_ns: dict[str, int] = {}
    for line in _lines(log.path):
        number = followed.number_of.get(line.correlation_id or "")
        if number is None or not is_timestamp(line.ts):
            continue
        about, kind = line.event_id or "", line.event
        at_ns = unix_ns(line.ts) - skew_ns
        if kind == "http.request.completed":
            if line.http_status == 201 and line.service == "crm" and (line.method, line.route) == ("POST", "/deals"):
                followed.deals[number] += 1
                _first(followed.ended_ns, number, at_ns)
        elif kind == "call.sent" and about in in_hand:
            sent_ns[line.span_id or ""] = at_ns
        elif kind == "call.completed" and about in in_hand and line.span_id in sent_ns:
            took_ns = at_ns - sent_ns.pop(line.span_id)
            in_hand[about].calls_ns += took_ns
            followed.took("call", number, took_ns)
        elif line.causation_id is None:
            _read_of_the_first_event(line, at_ns, number, followed, in_hand)


def _read_of_the_first_event(
    line: _Line, at_ns: int, number: int, followed: _Followed, in_hand: dict[str, _Delivery]
) -> None:
    kind, about = line.event, line.event_id or ""
    if kind == "event.stored":
        _first(followed.stored_ns, number, at_ns)
    elif kind == "event.published" and line.status == "confirmed":
        _first(followed.published_ns, number, at_ns)
    elif kind == "event.received":
        _first(followed.received_ns, number, at_ns)
        in_hand[about] = _Delivery(number, at_ns)
    elif kind == "event.settled" and about in in_hand:
        delivery = in_hand.pop(about)
        followed.took("handler", number, at_ns - delivery.received_ns - delivery.calls_ns)


def _first(column: array[int], number: int, at_ns: int) -> None:
    if not column[number] or at_ns < column[number]:
        column[number] = at_ns


def _flows(followed: _Followed) -> Flows:
    begun = [n for n, one in enumerate(followed.asked) if one.sure or followed.stored_ns[n] or followed.ended_ns[n]]
    intended = [followed.asked[n].intended_ns for n in begun]
    ended, deals = followed.ended_ns, followed.deals
    took = [(ended[n] - at) / 1e6 if ended[n] else NEVER for n, at in zip(begun, intended, strict=True)]
    done = [ended[n] for n in begun if ended[n]]
    between: dict[Stage, Track] = {
        "outbox": _between(followed, begun, followed.stored_ns, followed.published_ns),
        "queue": _between(followed, begun, followed.published_ns, followed.received_ns),
    }
    return Flows(
        took_ms=track(intended, took),
        finished=track(intended, [float(ended[n] > 0) for n in begun]),
        excess_deals=track(intended, [max(0, deals[n] - 1) for n in begun]),
        done_at_end=track(done, [1.0] * len(done)),
        waits_ms=between | {stage: track_of(spans) for stage, spans in followed.spans.items()},
        unfinished=[followed.asked[n].correlation_id for n in begun if not ended[n]],
    )


def _between(followed: _Followed, begun: Sequence[int], since: array[int], until: array[int]) -> Track:
    return track_of(
        (followed.asked[n].intended_ns, max(0, until[n] - since[n]) / 1e6) for n in begun if since[n] and until[n]
    )


# --- reading ----------------------------------------------------------------------------------------------------

_decoder = msgspec.json.Decoder(_Line)


def _lines(path: Path) -> Iterator[_Line]:
    with path.open("rb") as file:
        while block := file.read(BLOCK_BYTES) + file.readline():
            try:
                yield from _decoder.decode_lines(block)
            except (msgspec.DecodeError, UnicodeDecodeError):
                yield from _readable(block)


def _readable(block: bytes) -> Iterator[_Line]:
    for raw in block.split(b"\n"):
        try:
            yield _decoder.decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError):
            continue
