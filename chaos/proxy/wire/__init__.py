"""Reading the wire: what passes through a proxy, told as events. Sans-IO: bytes in, events out."""

from __future__ import annotations

from typing import Literal

from chaos.proxy.wire import amqp, amqp_methods, http, postgres
from chaos.proxy.wire.events import Decoder
from chaos.proxy.wire.opaque import OpaqueDecoder

PROTOCOLS = ("amqp", "http", "postgres")

_EVENTS: dict[tuple[str | None, str], set[str]] = {
    ("amqp", "upstream"): amqp_methods.UPSTREAM,
    ("amqp", "downstream"): amqp_methods.DOWNSTREAM,
    ("http", "upstream"): {"request"},
    ("http", "downstream"): {"response"},
    ("postgres", "upstream"): {"startup", "cancel", "begin", "commit", "rollback", "statement"},
    ("postgres", "downstream"): {"authenticated", "committed", "rolled back", "result", "error", "notification"},
}


def known_events(protocol: str | None, stream: Literal["upstream", "downstream"]) -> set[str]:
    """The names of the events that a stream can have."""
    return _EVENTS.get((protocol, stream), set())


def decoders(protocol: str | None) -> tuple[Decoder, Decoder]:
    """The upstream and the downstream decoder of one new connection. They share what they know of it."""
    if protocol == "amqp":
        return amqp.directions()
    if protocol == "postgres":
        return postgres.directions()
    if protocol == "http":
        return http.directions()
    return OpaqueDecoder("not read"), OpaqueDecoder("not read")
