"""The least that a relay can be, to compare the fault proxy with: ``python -m scenarios.bench.bare_relay 1:2 …``"""

from __future__ import annotations

import asyncio
import sys
from typing import cast

import uvloop


class Side(asyncio.Protocol):
    def __init__(self, other: Side | None = None, upstream: int = 0) -> None:
        self.other = other
        self.upstream = upstream
        self.early: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        if self.other is None:
            connecting = asyncio.get_running_loop().create_connection(lambda: Side(self), "127.0.0.1", self.upstream)
            self.connecting = asyncio.ensure_future(connecting)
        else:
            self.other.other = self
            self.transport.writelines(self.other.early)

    def data_received(self, data: bytes) -> None:
        if self.other is None:
            self.early.append(data)
        else:
            self.other.transport.write(data)

    def pause_writing(self) -> None:
        if self.other is not None:
            self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        if self.other is not None:
            self.other.transport.resume_reading()

    def connection_lost(self, error: Exception | None) -> None:
        if self.other is not None:
            self.other.transport.close()


async def relay(pairs: list[str]) -> None:
    """Each pair is PORT:UPSTREAM_PORT, on 127.0.0.1."""
    for pair in pairs:
        port, upstream = map(int, pair.split(":"))
        loop = asyncio.get_running_loop()
        await loop.create_server(lambda to=upstream: Side(upstream=to), "127.0.0.1", port)  # type: ignore[misc]
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(relay(sys.argv[1:]))
