"""A client as wrk2 is one: some connections, each with a schedule of its own, that send one request after the other.

``python -m scenarios.bench.paced`` reads what to do from stdin and writes what came of it to stdout. When an answer
takes long, its connection falls behind its schedule, and sends what is overdue at once. *Corrected* latency counts from
when a request was due (Gil Tene, https://github.com/giltene/wrk2), *plain* latency from when it was sent.
"""

from __future__ import annotations

import asyncio
import sys
import time
import uuid

import msgspec


class Order(msgspec.Struct, frozen=True):
    """``POST /leads`` at ``rate`` a second over so many connections, from ``begin_ns`` (Unix time) on."""

    host: str
    port: int
    token: str
    connections: int
    rate: float
    seconds: float
    begin_ns: int


class Outcome(msgspec.Struct, frozen=True):
    """Latencies in milliseconds, of all requests that were answered with 201; how many were not."""

    corrected_ms: list[float]
    plain_ms: list[float]
    failed: int


class _Connection:
    def __init__(self, order: Order, number: int) -> None:
        self._order, self._number = order, number
        self.corrected_ms: list[float] = []
        self.plain_ms: list[float] = []
        self.failed = 0

    async def run(self) -> None:
        order = self._order
        reader, writer = await asyncio.open_connection(order.host, order.port)
        zero = time.perf_counter() + order.begin_ns / 1e9 - time.time()
        for turn in range(self._number, round(order.rate * order.seconds), order.connections):
            due = zero + turn / order.rate
            await asyncio.sleep(due - time.perf_counter())  # not waiting for anything: a request is due then
            sent = time.perf_counter()
            writer.write(self._request())
            good = await _answer(reader)
            ended = time.perf_counter()
            if good:
                self.corrected_ms.append((ended - due) * 1e3)
                self.plain_ms.append((ended - sent) * 1e3)
            else:
                self.failed += 1
        writer.close()

    def _request(self) -> bytes:
        body = f'{{"name":"Ada Example","email":"{uuid.uuid4().hex}@example.test"}}'
        return (
            f"POST /leads HTTP/1.1\r\nHost: {self._order.host}\r\nAuthorization: Bearer {self._order.token}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}"
        ).encode()


async def _answer(reader: asyncio.StreamReader) -> bool:
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
    await reader.readexactly(length)
    return head[9:12] == b"201"


async def drive(order: Order) -> Outcome:
    """All connections, each until the last request of its schedule is answered."""
    connections = [_Connection(order, number) for number in range(order.connections)]
    await asyncio.gather(*(connection.run() for connection in connections))
    return Outcome(
        corrected_ms=[one for connection in connections for one in connection.corrected_ms],
        plain_ms=[one for connection in connections for one in connection.plain_ms],
        failed=sum(connection.failed for connection in connections),
    )


if __name__ == "__main__":
    ordered = msgspec.json.decode(sys.stdin.buffer.read(), type=Order)
    sys.stdout.buffer.write(msgspec.json.encode(asyncio.run(drive(ordered))))
