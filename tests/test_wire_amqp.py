"""AMQP as events: frames by pika, in any chunks, and what a real broker and a real client say to each other."""

from __future__ import annotations

import tracemalloc
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import pika
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pika import frame, spec

from chaos.proxy.wire import decoders, known_events
from chaos.proxy.wire.events import Decoder, Event
from tests.wire import CUTS, chunks, fed, told

GREETING = b"AMQP\x00\x00\x09\x01"


def method(channel: int, said: Any) -> bytes:
    return bytes(frame.Method(channel, said).marshal())


def message(channel: int, begins: Any, body: bytes = b"", *, piece: int = 100, **properties: Any) -> list[bytes]:
    """The frames of a message, each by itself."""
    header = frame.Header(channel, len(body), pika.BasicProperties(**properties)).marshal()
    bodies = [frame.Body(channel, body[at : at + piece]).marshal() for at in range(0, len(body), piece)]
    return [method(channel, begins), header, *bodies]


def publish(channel: int = 1, key: str = "lead.created", body: bytes = b"{}", exchange: str = "crm") -> bytes:
    begins = spec.Basic.Publish(exchange=exchange, routing_key=key, mandatory=True)
    return b"".join(message(channel, begins, body, message_id="m-1", headers={"attempt": 1}))


def deliver(tag: int, channel: int = 1, key: str = "lead.created", body: bytes = b"{}") -> bytes:
    begins = spec.Basic.Deliver(consumer_tag="c", delivery_tag=tag, exchange="crm", routing_key=key)
    return b"".join(message(channel, begins, body))


def came_back(key: str = "lead.created", body: bytes = b"{}", message_id: str = "m-1") -> bytes:
    begins = spec.Basic.Return(reply_code=312, reply_text="NO_ROUTE", exchange="crm", routing_key=key)
    return b"".join(message(1, begins, body, message_id=message_id))


def confirm(tag: int, *, multiple: bool = False) -> bytes:
    return method(1, spec.Basic.Ack(tag, multiple))


def heartbeat() -> bytes:
    return bytes(frame.Heartbeat().marshal())


# What can be said, and how it is told: (bytes, event).
_UPSTREAM_WORDS = [
    (method(1, spec.Queue.Declare(queue="q", arguments={"x-queue-type": "quorum"})), "queue.declare"),
    (method(0, spec.Connection.StartOk({"long": "x" * 3000}, "PLAIN", "secret")), "connection.start-ok"),
    (heartbeat(), "heartbeat"),
    (publish(), "publish crm/lead.created"),
    (publish(body=b"x" * 1000), "publish crm/lead.created"),
    (publish(2, "lead.updated", b""), "publish crm/lead.updated"),
    (publish(exchange="", key="automation.retry.1"), "publish /automation.retry.1"),
    (method(1, spec.Basic.Ack(7)), "ack"),
]
_DOWNSTREAM_WORDS = [
    (method(1, spec.Basic.ConsumeOk("tag")), "basic.consume-ok"),
    (method(0, spec.Connection.Blocked("low on memory")), "connection.blocked"),
    (heartbeat(), "heartbeat"),
    (deliver(1), "deliver crm/lead.created"),
    (deliver(2, 3, "deal.won", b"x" * 1000), "deliver crm/deal.won"),
    (came_back(), "return crm/lead.created"),
    (confirm(7), "confirm"),
    (method(1, spec.Basic.Nack(7)), "refuse"),
]


def _down() -> Decoder:
    return decoders("amqp")[1]


def _up() -> Decoder:
    return decoders("amqp")[0]


def _conversation(said: bytes, heard: bytes) -> tuple[list[str], list[str]]:
    up, down = decoders("amqp")
    return told(fed(up, [GREETING + said])), told(fed(down, [heard]))


# --- frames ----------------------------------------------------------------------------------------------------------


@given(words=st.lists(st.sampled_from(_UPSTREAM_WORDS), max_size=12), cuts=CUTS)
@example(words=_UPSTREAM_WORDS, cuts=range(10_000))
def test_whatever_the_chunks_the_same_is_told_upstream(words: list[tuple[bytes, str]], cuts: Sequence[int]) -> None:
    stream = GREETING + b"".join(said for said, _ in words)
    decoder = _up()
    events = fed(decoder, chunks(stream, cuts))
    assert told(events) == ["protocol-header", *(event for _, event in words)]
    assert [event.end - event.start for event in events] == [8, *(len(said) for said, _ in words)]
    assert (decoder.boundary, decoder.opaque) == (len(stream), None)


@given(words=st.lists(st.sampled_from(_DOWNSTREAM_WORDS), max_size=12), cuts=CUTS)
@example(words=_DOWNSTREAM_WORDS, cuts=range(10_000))
def test_whatever_the_chunks_the_same_is_told_downstream(words: list[tuple[bytes, str]], cuts: Sequence[int]) -> None:
    stream = method(0, spec.Connection.Tune()) + b"".join(said for said, _ in words)
    decoder = _down()
    events = fed(decoder, chunks(stream, cuts))
    assert told(events) == ["connection.tune", *(event for _, event in words)]
    assert all(earlier.end == later.start for earlier, later in pairwise(events))
    assert (decoder.boundary, decoder.opaque) == (len(stream), None)


@given(
    words=st.lists(st.sampled_from(_UPSTREAM_WORDS), max_size=4), garbage=st.binary(min_size=1, max_size=40), cuts=CUTS
)
@pytest.mark.parametrize("stream", ["upstream", "downstream"])
def test_garbage_anywhere_never_raises_and_holds_back_nothing_once_it_is_noticed(
    stream: str, words: list[tuple[bytes, str]], garbage: bytes, cuts: Sequence[int]
) -> None:
    decoder = _up() if stream == "upstream" else _down()
    fed(decoder, chunks(b"".join(said for said, _ in words) + garbage + publish() * 3, cuts))
    assert "failed" not in (decoder.opaque or "")


def test_what_is_no_frame_is_noticed_and_said() -> None:
    said = {
        "TLS": b"\x16\x03\x01\x02\x00",
        "does not begin": b"GET / HTTP/1.1\r\n\r\n",
        "AMQP 1.0.0": b"AMQP\x00\x01\x00\x00",
        "type 9": GREETING + b"\x09\x00\x01\x00\x00\x00\x00\xce",
        "method 60.41": GREETING + b"\x01\x00\x01\x00\x00\x00\x04\x00\x3c\x00\x29\xce",
        "end as frames do": GREETING + heartbeat()[:-1] + b"\x00",
        "body of no message": GREETING + frame.Body(1, b"x").marshal(),
        "header of no message": GREETING + frame.Header(1, 1, pika.BasicProperties()).marshal(),
        "within a message": GREETING + message(1, spec.Basic.Publish())[0] * 2,
        "cut short": GREETING + b"\x01\x00\x01\x00\x00\x00\x06\x00\x3c\x00\x28\x00\x00\xce",
    }
    for reason, stream in said.items():
        decoder = _up()
        fed(decoder, [stream, b"and more"])
        assert reason in str(decoder.opaque)


def test_what_came_before_the_garbage_is_told_all_the_same() -> None:
    decoder = _up()
    assert told(fed(decoder, [GREETING + publish() + b"garbage" * 20])) == [
        "protocol-header",
        "publish crm/lead.created",
    ]
    assert decoder.opaque is not None


def test_messages_that_lie_within_each_other_share_the_ends_of_their_knot() -> None:
    first = message(1, spec.Basic.Publish(exchange="crm", routing_key="a"), b"x" * 250)
    second = message(2, spec.Basic.Publish(exchange="crm", routing_key="b"), b"y" * 50)
    knot = b"".join([first[0], second[0], first[1], heartbeat(), first[2], *second[1:], *first[3:]])
    decoder = _up()
    events = fed(decoder, chunks(GREETING + knot + publish(), range(0, 900, 7)))
    end = 8 + len(knot)
    assert events[1:4] == [
        Event("publish", "crm/a", 8, end),
        Event("publish", "crm/b", end, end),
        Event("heartbeat", "", end, end),
    ]
    assert told(events[4:]) == ["publish crm/lead.created"]


def test_a_body_of_50_mb_is_counted_down_not_kept() -> None:
    size, piece = 50_000_000, b"x" * 131_064
    decoder = _up()
    decoder.feed(GREETING + method(1, spec.Basic.Publish(exchange="crm", routing_key="big")))
    decoder.feed(frame.Header(1, size, pika.BasicProperties()).marshal())
    tracemalloc.start()
    left, events = size, []
    while left:
        body = frame.Body(1, piece[: min(left, len(piece))]).marshal()
        tracemalloc.reset_peak()
        base = tracemalloc.get_traced_memory()[0]
        events += decoder.feed(body[:1000]) + decoder.feed(body[1000:])
        assert tracemalloc.get_traced_memory()[1] - base < 2 * len(piece)  # the pieces cut here are most of it
        left -= min(left, len(piece))
    tracemalloc.stop()
    assert told(events) == ["publish crm/big"]
    assert events[0].start == 8


def test_every_event_that_is_told_is_known_beforehand() -> None:
    assert {event.split()[0] for _, event in _UPSTREAM_WORDS} <= known_events("amqp", "upstream")
    assert {event.split()[0] for _, event in _DOWNSTREAM_WORDS} <= known_events("amqp", "downstream")


# --- whom a tag means ------------------------------------------------------------------------------------------------


def test_a_confirm_is_told_with_the_message_that_it_confirms() -> None:
    select = method(1, spec.Confirm.Select())
    said = publish(key="before") + select + b"".join(publish(key=key) for key in "abcde")
    heard = confirm(2) + confirm(1) + method(1, spec.Basic.Nack(3)) + confirm(5, multiple=True) + confirm(9)
    _, downstream = _conversation(said, heard)
    assert downstream == ["confirm crm/b", "confirm crm/a", "refuse crm/c", "confirm crm/e", "confirm"]


def test_a_channel_that_is_opened_again_counts_anew() -> None:
    select = method(1, spec.Confirm.Select())
    said = select + publish(key="old") + method(1, spec.Channel.Open()) + select + publish(key="new")
    assert _conversation(said, confirm(1))[1] == ["confirm crm/new"]


def test_an_acknowledgement_is_told_with_the_message_that_it_concerns() -> None:
    up, down = decoders("amqp")
    deliveries = b"".join(deliver(tag, key=key) for tag, key in enumerate("abcde", 1))
    fed(down, [method(0, spec.Connection.Tune()) + deliveries + deliver(1, 2, "other")])
    said = method(1, spec.Basic.Ack(2)) + method(1, spec.Basic.Reject(1)) + method(1, spec.Basic.Nack(4, True, True))
    said += method(2, spec.Basic.Ack(0, True)) + method(1, spec.Basic.Ack(5)) + method(1, spec.Basic.Ack(5))
    events = told(fed(up, [GREETING + said]))[1:]
    assert events == ["ack crm/b", "reject crm/a", "nack crm/d", "ack crm/other", "ack crm/e", "ack"]


def test_names_that_a_broker_or_a_client_makes_up_are_not_told() -> None:
    said = publish(exchange="", key="amq.gen-JzTY20BRgKO-HjmUJj0wLg")
    said += publish(exchange="", key="reply.0b7f3d1e-5d0c-4e3b-9a53-6b8f0a8c6c11")
    assert _conversation(said, b"")[0][1:] == ["publish /amq.gen-{id}", "publish /reply.{id}"]


def test_tags_that_nobody_ever_settles_are_forgotten_in_the_end() -> None:
    up, down = decoders("amqp")
    fed(down, [method(0, spec.Connection.Tune())])
    for tag in range(1, 50_002):
        down.feed(deliver(tag, key="x"))
    said = method(1, spec.Basic.Ack(1)) + method(1, spec.Basic.Ack(2))
    assert told(fed(up, [GREETING + said]))[1:] == ["ack", "ack crm/x"]


# --- publishes that were sent twice ----------------------------------------------------------------------------------


def edited(decoder: Decoder, heard: bytes) -> bytes:
    """What a client gets to see of it."""
    start = decoder.boundary
    decoder.feed(heard)
    parts, at = [], start
    for edit in decoder.edits:
        parts += [heard[at - start : edit.start - start], edit.replacement]
        at = edit.end
    return b"".join([*parts, heard[at - start :]])


def twice(keys: str, duplicated: str) -> tuple[Decoder, Decoder]:
    """Publishes with these keys after confirm.select, of which some were sent twice."""
    up, down = decoders("amqp")
    up.feed(GREETING + method(1, spec.Confirm.Select()))
    down.feed(method(0, spec.Connection.Tune()))
    for key in keys:
        (event,) = up.feed(publish(key=key))
        if key in duplicated:
            up.duplicated(event)
    assert down.editing is bool(duplicated)
    return up, down


@pytest.mark.parametrize(
    ("heard", "seen"),
    [
        (confirm(1) + confirm(2) + confirm(3) + confirm(4), confirm(1) + confirm(2) + confirm(3)),
        (confirm(3) + confirm(2) + confirm(4) + confirm(1), confirm(2) + confirm(3) + confirm(1)),
        (confirm(4, multiple=True), confirm(3, multiple=True)),
        (confirm(2, multiple=True) + confirm(4, multiple=True), confirm(2, multiple=True) + confirm(3, multiple=True)),
        (confirm(3, multiple=True) + confirm(4), confirm(2, multiple=True) + confirm(3)),
        (confirm(1) + confirm(2) + confirm(3, multiple=True) + confirm(4), confirm(1) + confirm(2) + confirm(3)),
        (confirm(0, multiple=True), confirm(0, multiple=True)),
    ],
)
def test_the_client_sees_only_its_own_confirms(heard: bytes, seen: bytes) -> None:
    """Of three publishes the second was sent twice, so that the broker counts four."""
    _, down = twice("abc", "b")
    assert edited(down, heard) == seen


def test_confirms_are_told_with_their_message_also_behind_a_duplicate() -> None:
    _, down = twice("abc", "b")
    events = down.feed(confirm(1) + confirm(2) + confirm(3) + method(1, spec.Basic.Nack(4)))
    assert told(events) == ["confirm crm/a", "confirm crm/b", "confirm crm/b", "refuse crm/c"]


@given(
    publishes=st.lists(st.booleans(), min_size=1, max_size=12),
    order=st.randoms(use_true_random=False),
    coalesced=st.booleans(),
)
def test_however_the_broker_confirms_each_publish_is_confirmed_once(
    publishes: list[bool], order: Any, coalesced: bool
) -> None:
    """A model of the client: what is confirmed to it, by the rules of AMQP, is exactly what it published."""
    up, down = decoders("amqp")
    up.feed(GREETING + method(1, spec.Confirm.Select()))
    down.feed(method(0, spec.Connection.Tune()))
    for is_duplicated in publishes:
        (event,) = up.feed(publish())
        if is_duplicated:
            up.duplicated(event)
    open_tags = list(range(1, len(publishes) + sum(publishes) + 1))
    waiting = set(range(1, len(publishes) + 1))
    while open_tags:
        tag = order.choice(open_tags)
        several = coalesced and order.random() < 0.5
        open_tags = [one for one in open_tags if (one > tag if several else one != tag)]
        seen = edited(down, confirm(tag, multiple=several))
        if not seen:
            continue
        _, frame_in_hand = frame.decode_frame(seen)
        shown = frame_in_hand.method
        settled = {one for one in waiting if one <= shown.delivery_tag} if shown.multiple else {shown.delivery_tag}
        assert settled, "a confirm of nothing"
        assert settled <= waiting, "confirmed once more"
        waiting -= settled
    assert not waiting


def test_a_message_that_comes_back_twice_only_because_it_was_sent_twice_is_seen_once() -> None:
    _, down = twice("abc", "b")
    once = came_back("b", message_id="m-1")
    other = came_back("b", message_id="m-2")
    assert edited(down, once + other + once + confirm(3, multiple=True) + once) == (
        once + other + confirm(2, multiple=True) + once
    )


def test_without_confirms_nothing_needs_renumbering() -> None:
    up, down = decoders("amqp")
    (_, event) = up.feed(GREETING + publish())
    up.duplicated(event)
    assert down.editing is False
