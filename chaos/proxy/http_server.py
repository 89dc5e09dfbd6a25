"""Just enough of an HTTP/1.1 server for a control API: small requests, answered in their order."""

from __future__ import annotations

import asyncio
import sys
import traceback
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import NamedTuple, cast
from urllib.parse import parse_qsl, unquote, urlsplit

import httptools
import msgspec

MOST_BODY = 4 << 20


class Request(NamedTuple):
    """What was asked. ``path`` in its segments, decoded."""

    method: str
    path: tuple[str, ...]
    query: dict[str, str]
    body: bytes
    user_agent: str


class Answer(NamedTuple):
    """``content`` goes out as JSON; None: no body."""

    status: int
    content: object = None


Handler = Callable[[Request], Answer | Awaitable[Answer]]


class HttpServer(asyncio.Protocol):
    """One connection of a client of the API."""

    def __init__(self, handle: Handler) -> None:
        self._handle = handle
        self._parser = httptools.HttpRequestParser(self)
        self._waiting: list[Request | None] = []  # None: what came was no HTTP
        self._working: asyncio.Task[None] | None = None
        self._later: asyncio.Future[Answer] | None = None
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, error: Exception | None) -> None:
        if self._later is not None:
            self._later.cancel()  # nobody waits for it any more

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._waiting.append(None)
        if self._working is None and self._waiting:
            self._working = asyncio.get_running_loop().create_task(self._work())

    # --- called by the parser ---------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        self._url = b""
        self._body = bytearray()
        self._user_agent = ""

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == b"user-agent":
            self._user_agent = value.decode("latin-1")
        elif name.lower() == b"expect":
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        self._body += body
        if len(self._body) > MOST_BODY:
            raise ValueError(f"a body of more than {MOST_BODY} bytes")

    def on_message_complete(self) -> None:
        url = urlsplit(self._url.decode("latin-1"))
        path = tuple(unquote(part) for part in url.path.strip("/").split("/"))
        method = self._parser.get_method().decode()
        query = dict(parse_qsl(url.query, keep_blank_values=True))
        self._waiting.append(Request(method, path, query, bytes(self._body), self._user_agent))
        self._keep_alive = self._parser.should_keep_alive()

    # --- answers ----------------------------------------------------------------------------------------------------

    async def _work(self) -> None:
        while self._waiting:
            request = self._waiting.pop(0)
            if request is None:
                self._send(Answer(400, {"error": "no HTTP request", "status": 400}), keep_alive=False)
                break
            try:
                answer = await self._ask(request)
            except asyncio.CancelledError:
                break
            await asyncio.sleep(0)  # sockets that were closed for this request are closed before it is answered
            self._send(answer, keep_alive=self._keep_alive)
        self._working = None

    async def _ask(self, request: Request) -> Answer:
        try:
            answer = self._handle(request)
            if not isinstance(answer, Answer):
                self._later = asyncio.ensure_future(answer)
                answer = await self._later
            return answer
        except Exception:
            print(f"chaos.proxy: {request.method} /{'/'.join(request.path)} failed", file=sys.stderr)
            traceback.print_exc()
            return Answer(500, {"error": "the proxy has a bug; its stderr has the traceback", "status": 500})

    def _send(self, answer: Answer, *, keep_alive: bool) -> None:
        body = b"" if answer.content is None else msgspec.json.encode(answer.content)
        head = f"HTTP/1.1 {answer.status} {HTTPStatus(answer.status).phrase}\r\n"
        if body:
            head += "Content-Type: application/json\r\n"
        if answer.status != HTTPStatus.NO_CONTENT:
            head += f"Content-Length: {len(body)}\r\n"
        if not keep_alive:
            head += "Connection: close\r\n"
        if not self._transport.is_closing():
            self._transport.write(head.encode() + b"\r\n" + body)
            if not keep_alive:
                self._transport.close()
