"""What a consumer kept as bytes: each whole message is read once, wherever the bytes were cut."""

from __future__ import annotations

import random

from pika import BasicProperties, frame, spec

from harness.clients.broker import Broker
from harness.clients.raw_consumer import deliveries

BODIES = (b"", b"x", b'{"a": 1}' * 50, b"y" * 9_000)


def sent(number: int, body: bytes, fragment: int) -> bytes:
    """A message as a broker sends it, its body in several frames."""
    delivery = spec.Basic.Deliver("tag", number, False, "amq.rabbitmq.trace", "publish.events")
    headers = {"routed_queues": [f"q{number}"], "properties": {"message_id": f"m{number}"}, "routing_keys": ["k"]}
    frames = [frame.Method(1, delivery), frame.Header(1, len(body), BasicProperties(headers=headers))]
    frames += [frame.Body(1, body[at : at + fragment]) for at in range(0, len(body), fragment)]
    return b"".join(one.marshal() for one in frames)


def stream(rng: random.Random) -> tuple[bytes, list[bytes]]:
    bodies = [rng.choice(BODIES) for _ in range(rng.randrange(1, 8))]
    others = [frame.Heartbeat().marshal(), frame.Method(1, spec.Basic.Cancel("tag")).marshal(), b""]
    return b"".join(rng.choice(others) + sent(n, body, rng.choice((7, 4_000))) for n, body in enumerate(bodies)), bodies


def test_each_message_is_read_once_wherever_the_bytes_are_cut() -> None:
    for seed in range(300):
        rng = random.Random(seed)
        came, bodies = stream(rng)
        left, got = b"", []
        while came:
            cut = rng.randrange(1, len(came) + 1)
            left, came = left + came[:cut], came[cut:]
            reached = 0
            for _, _, body, reached in deliveries(left):  # noqa: B007 - the last one counts
                got.append(body)
            left = left[reached:]
        assert got == bodies, f"seed {seed}"


def test_what_was_cut_off_for_good_is_no_message() -> None:
    whole, cut = sent(0, b"whole", 100), sent(1, b"cut off", 3)
    for length in range(len(cut)):
        messages, reached = Broker.read_tapped(whole + cut[:length])
        assert ([message.body for message in messages], reached) == (["whole"], len(whole))


def test_a_copy_of_the_firehose_is_what_pika_reads_of_it() -> None:
    [message], _ = Broker.read_tapped(sent(3, b"body", 100))
    assert (message.what, message.queues, message.message_id, message.routing_key, message.body) == (
        "published", ("q3",), "m3", "k", "body",
    )  # fmt: skip
