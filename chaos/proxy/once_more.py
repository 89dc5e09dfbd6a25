"""An HTTP request that is sent a second time: the server gets it twice, the client hears of it once."""

from __future__ import annotations

import asyncio
import sys

from chaos.proxy.wire import decoders

ANSWER_WITHIN_S = 60.0


async def send_once_more(host: str, port: int, request: bytes) -> None:
    """Send it over a connection of its own, wait for the whole answer, and throw that away."""
    up, down = decoders("http")  # they tell where the answer ends: hanging up before could make the server give up
    up.feed(request)
    try:
        async with asyncio.timeout(ANSWER_WITHIN_S):
            reader, writer = await asyncio.open_connection(host, port)
            try:
                writer.write(request)
                while data := await reader.read(65536):
                    if down.feed(data):
                        return
            finally:
                writer.close()
    except (OSError, TimeoutError) as error:
        print(f"chaos.proxy: the duplicate of a request to {host}:{port} got no answer: {error!r}", file=sys.stderr)
