"""A closed loop of PATCHes: N connections, each sends its next request when it has the answer to the last one.

``python -m scenarios.bench.load`` reads what to do from stdin and writes what came of it to stdout. A process of its
own with a client of its own: it shares two cores with what it measures, so every microsecond of it would be counted
against the system. It builds the requests' bytes itself and looks at no more of an answer than status and length.
"""

from __future__ import annotations

import asyncio
import random
import sys
import time
from collections import Counter
from itertools import cycle
from typing import cast

import msgspec
import uvloop

_STAGES = ("engaged", "contacted")


class Order(msgspec.Struct, frozen=True):
    """What to do."""

    host: str
    port: int
    token: str
    clients: int
    leads: int
    first_lead: int
    warm_up_s: float
    measured_s: float


class Outcome(msgspec.Struct, frozen=True):
    """What came of it: only what was answered within the measured time counts."""

    answered_per_s: float
    p50_ms: float
    p99_ms: float
    statuses: dict[int, int]


class _Client(asyncio.Protocol):
    def __init__(self, order: Order, leads: range, seen: list[tuple[float, float, int]]) -> None:
        shuffled = random.sample(leads, len(leads))
        self._head = f"Host: {order.host}\r\nAuthorization: Bearer {order.token}\r\nContent-Type: application/json\r\n"
        self._seen, self._buffer, self._sent_at = seen, b"", 0.0
        self._moves = cycle([(lead, stage) for stage in _STAGES for lead in shuffled])

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's own class is no subclass of it
        self._send()

    def _send(self) -> None:
        lead, stage = next(self._moves)
        body = f'{{"stage":"{stage}"}}'
        request = (
            f"PATCH /leads/00000000-0000-4000-8000-{lead}/stage HTTP/1.1\r\n"
            f"{self._head}Content-Length: {len(body)}\r\n\r\n{body}"
        )
        self._sent_at = time.perf_counter()
        self._transport.write(request.encode())

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, whole, body = self._buffer.partition(b"\r\n\r\n")
        if not whole or len(body) < _content_length(head):
            return
        now = time.perf_counter()
        self._seen.append((now, now - self._sent_at, int(head[9:12])))
        self._buffer = b""
        self._send()


def _content_length(head: bytes) -> int:
    return int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])


async def drive(order: Order) -> Outcome:
    """Drive for as long as ordered. Every client has leads of its own, so that no request waits for another's lock."""
    seen: list[tuple[float, float, int]] = []
    share = order.leads // order.clients
    loop = asyncio.get_running_loop()
    transports = []
    for number in range(order.clients):
        leads = range(order.first_lead + number * share, order.first_lead + (number + 1) * share)
        transport, _ = await loop.create_connection(
            lambda leads=leads: _Client(order, leads, seen),  # type: ignore[misc]
            order.host,
            order.port,
        )
        transports.append(transport)
    begin = time.perf_counter() + order.warm_up_s
    await asyncio.sleep(order.warm_up_s + order.measured_s)  # not waiting for anything: this is the measured time
    for transport in transports:
        transport.abort()
    measured = [one for one in seen if begin <= one[0] < begin + order.measured_s]
    if not measured:
        raise SystemExit(f"nothing was answered within {order.measured_s:g} s")
    took_ms = sorted(took_s * 1000 for _, took_s, _ in measured)
    return Outcome(
        answered_per_s=round(len(measured) / order.measured_s, 1),
        p50_ms=round(took_ms[len(took_ms) // 2], 3),
        p99_ms=round(took_ms[len(took_ms) * 99 // 100], 3),
        statuses=dict(Counter(status for _, _, status in measured)),
    )


if __name__ == "__main__":
    ordered = msgspec.json.decode(sys.stdin.buffer.read(), type=Order)
    sys.stdout.buffer.write(msgspec.json.encode(uvloop.run(drive(ordered))))
