"""What the tests of all decoders share: feeding in any chunks, and what holds for whatever is fed."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

from hypothesis import strategies as st

from chaos.proxy.wire.events import Decoder, Event

CUTS = st.lists(st.integers(min_value=0, max_value=10_000), max_size=12)


def chunks(stream: bytes, cuts: Iterable[int]) -> list[bytes]:
    """The stream, cut at these offsets (those behind its end do nothing)."""
    at = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
    return [stream[start:end] for start, end in pairwise(at)]


def fed(decoder: Decoder, parts: Iterable[bytes]) -> list[Event]:
    """All events. What must hold of any stream is asserted on the way."""
    events: list[Event] = []
    offset = 0
    for part in parts:
        before = decoder.boundary
        new = decoder.feed(part)
        offset += len(part)
        assert before <= decoder.boundary <= offset
        for event in new:
            assert (events[-1].end if events else 0) <= event.start <= event.end <= decoder.boundary
            events.append(event)
        if decoder.opaque is not None:
            assert decoder.boundary == offset
    return events


def told(events: Iterable[Event]) -> list[str]:
    """Names and details alone."""
    return [f"{event.name} {event.detail}".strip() for event in events]
