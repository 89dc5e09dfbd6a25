"""The HTTP edge: one ASGI layer that every request passes, and the server that carries it.

The layer gives a request its place in a flow, lets in only whom we know, bounds and checks what they send, writes
the two lines and turns every error into problem details. It is pure ASGI, so the handler sees the context it sets.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import uvicorn
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Match, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from system_under_test.service_kit import correlation, logs, metrics, openapi
from system_under_test.service_kit.access import identify, unauthorized
from system_under_test.service_kit.correlation import Context, new_id, new_span, span_or_none, uuid_or_none
from system_under_test.service_kit.database import UNAVAILABLE
from system_under_test.service_kit.health import Dependency, Health
from system_under_test.service_kit.problems import Problem, problem_of, response_of
from system_under_test.service_kit.requests import check_json
from system_under_test.service_kit.settings import Identity, Settings

_ENTITY_OF = {"lead_id": "lead", "deal_id": "deal", "user_id": "user"}
_MOST_HOPS = 1_000
_UNMATCHED = "unmatched"
_KEEP_ALIVE_S = 75


def create_app(settings: Settings, health: Health, database: Dependency, routes: list[BaseRoute]) -> FastAPI:
    described = [*health.routes(), *metrics.routes()]

    async def document(_: Request) -> Response:
        return JSONResponse(openapi.document(settings.service, routes, described))

    open_routes = [*described, Route("/openapi.json", document)]
    app = FastAPI(
        routes=[*routes, *open_routes],
        openapi_url=None,
        redirect_slashes=False,
        exception_handlers={RequestValidationError: _answer, Problem: _answer},
    )
    app.add_middleware(Edge, routes=routes, open_routes=open_routes, settings=settings, database=database)
    return app


async def _answer(_: Request, error: Exception) -> Response:
    return response_of(problem_of(error))


@dataclass(slots=True)
class _Match:
    """The route that a path leads to; with `allow` if the path is known, but not with this method."""

    template: str = _UNMATCHED
    parameters: Mapping[str, str] = field(default_factory=dict)
    is_full: bool = False
    allow: set[str] = field(default_factory=set)


def _match(routes: list[BaseRoute], scope: Scope) -> _Match:
    found = _Match()
    for route in routes:
        match, child = route.matches(scope)
        if match is Match.NONE:
            continue
        found.template, found.parameters = getattr(route, "path", _UNMATCHED), child["path_params"]
        found.allow |= getattr(route, "methods", None) or set()
        if match is Match.FULL:
            found.is_full = True
            break
    return found


class Edge:
    def __init__(
        self,
        app: ASGIApp,
        *,
        routes: list[BaseRoute],
        open_routes: list[BaseRoute],
        settings: Settings,
        database: Dependency,
    ) -> None:
        self._app, self._routes = app, [*routes, *open_routes]
        self._open = {getattr(route, "path", "") for route in open_routes}
        self._database, self._profile = database, settings.profile
        self._identities: Mapping[str, Identity] = settings.identities

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] == "GET" and scope["path"] in self._open:
            await self._app(scope, receive, send)
            return
        match = _match(self._routes, scope)
        headers = {name.decode("latin-1"): value for name, value in scope["headers"]}
        identity = identify(headers.get("authorization", b""), self._identities)
        with correlation.using(_context_of(headers, match.parameters, identity)) as context:
            if headers.get("x-correlation-id", b"").decode("latin-1").lower() not in ("", context.correlation_id):
                logs.library("http", "X-Correlation-Id is not a UUID and was replaced", level="warning")
            scope["identity"] = identity
            await self._observed(scope, receive, send, match, headers)

    async def _observed(
        self, scope: Scope, receive: Receive, send: Send, match: _Match, headers: dict[str, bytes]
    ) -> None:
        started, method, route = time.perf_counter(), scope["method"], match.template
        logs.line("http.request.received", "accepted", method=method, route=route)
        answered = 500

        async def send_on(message: Message) -> None:
            nonlocal answered
            if message["type"] == "http.response.start":
                answered = message["status"]
                own = (b"x-correlation-id", str(correlation.current().correlation_id).encode())
                message["headers"] = [*message.get("headers", ()), own]
            await send(message)

        try:
            await self._admitted(scope, receive, send_on, match, headers)
        finally:
            duration_ms = round((time.perf_counter() - started) * 1000, 3)
            status = "server_error" if answered >= 500 else "client_error" if answered >= 400 else "ok"
            logs.line(
                "http.request.completed",
                status,
                level="error" if status == "server_error" else "info",
                method=method,
                route=route,
                http_status=answered,
                duration_ms=duration_ms,
            )
            metrics.count("http.requests", method=method, route=route, status=status)
            metrics.observe("http.request.duration", duration_ms, method=method, route=route)

    async def _admitted(
        self, scope: Scope, receive: Receive, send: Send, match: _Match, headers: dict[str, bytes]
    ) -> None:
        try:
            self._check_size(scope)
            if scope["identity"] is None:
                raise unauthorized()
            if not match.allow:
                raise Problem(404, "not-found", "there is nothing at this path")
            if not match.is_full:
                allow = ", ".join(sorted(match.allow))
                raise Problem(405, "method-not-allowed", f"this path has: {allow}", headers={"Allow": allow})
            await self._app(scope, await self._body(receive, headers), send)
        except Exception as error:
            problem = problem_of(error)
            if problem.status == 500:
                logs.library("http", f"unexpected error: {logs.describe(error)}", level="error")
            if isinstance(error, UNAVAILABLE):
                await self._database.check()  # so that this answer and the readiness answer agree
            await response_of(problem)(scope, receive, send)

    def _check_size(self, scope: Scope) -> None:
        if sum(len(name) + len(value) for name, value in scope["headers"]) > self._profile.max_header_bytes:
            raise Problem(431, "headers-too-large", f"headers have at most {self._profile.max_header_bytes} bytes")
        if len(scope["raw_path"]) + len(scope["query_string"]) > self._profile.max_header_bytes:
            raise Problem(414, "path-too-long", f"a path has at most {self._profile.max_header_bytes} bytes")

    async def _body(self, receive: Receive, headers: dict[str, bytes]) -> Receive:
        """Read and check the whole body, which is small by contract, before anybody works on it."""
        if int(headers.get("content-length", 0)) > self._profile.max_body_bytes:
            raise self._too_large()
        try:
            async with asyncio.timeout(self._profile.http_read_timeout_s):
                body = await self._read(receive)
        except TimeoutError:
            raise Problem(408, "request-timeout", "the body did not come in time") from None
        if body:
            check_json(headers.get("content-type", b""), body)
        whole: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

        async def replay() -> Message:
            return whole.pop() if whole else await receive()

        return replay

    async def _read(self, receive: Receive) -> bytes:
        body, more = bytearray(), True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise Problem(400, "incomplete-request", "the request ended before its body did")
            body += message.get("body", b"")
            if len(body) > self._profile.max_body_bytes:
                raise self._too_large()
            more = message.get("more_body", False)
        return bytes(body)

    def _too_large(self) -> Problem:
        return Problem(413, "body-too-large", f"a body has at most {self._profile.max_body_bytes} bytes")


def _context_of(headers: dict[str, bytes], parameters: Mapping[str, str], identity: Identity | None) -> Context:
    """Anyone may name the flow; only our own services are believed what in it led to this request."""

    def header(name: str) -> str:
        return headers.get(name, b"").decode("latin-1")

    context = Context(correlation_id=uuid_or_none(header("x-correlation-id")) or new_id(), span_id=new_span())
    for parameter, kind in _ENTITY_OF.items():
        if entity := uuid_or_none(parameters.get(parameter)):
            context = replace(context, entity_type=kind, entity_id=entity)
    if identity is None or identity.role != "service":
        return context
    causation_id = uuid_or_none(header("x-causation-id"))
    return replace(
        context,
        event_id=causation_id,
        causation_id=causation_id,
        parent_span_id=span_or_none(header("x-parent-span-id")),
        hop_count=_hops(header("x-hop-count")),
    )


def _hops(text: str) -> int:
    return min(int(text), _MOST_HOPS) if text.isascii() and text.isdigit() and len(text) < 10 else 0


class _Protocol(HttpToolsProtocol):
    """What is not HTTP never gets as far as the edge; it is refused in the same form."""

    def send_400_response(self, msg: str) -> None:
        with correlation.using(Context(correlation_id=new_id(), span_id=new_span())) as context:
            line = partial(logs.line, method="MALFORMED", route=_UNMATCHED)
            line("http.request.received", "accepted")
            headers = {"Connection": "close", "X-Correlation-Id": str(context.correlation_id)}
            answer = response_of(Problem(400, "malformed-request", "this is not HTTP/1.1", headers=headers))
            line("http.request.completed", "client_error", http_status=400, duration_ms=0.0)
        metrics.count("http.requests", method="MALFORMED", route=_UNMATCHED, status="client_error")
        metrics.observe("http.request.duration", 0.0, method="MALFORMED", route=_UNMATCHED)
        head = b"".join(b"%b: %b\r\n" % pair for pair in answer.raw_headers)
        self.transport.write(b"HTTP/1.1 400 Bad Request\r\n" + head + b"\r\n" + bytes(answer.body))
        self.transport.close()


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Any:
        yield  # signals end the service as a whole, in its own order


@asynccontextmanager
async def serving(app: FastAPI, settings: Settings, listener: socket.socket) -> AsyncIterator[None]:
    """Serves as long as the block, and then until whoever follows the readiness answer has gone elsewhere."""
    config = uvicorn.Config(
        app,
        http=_Protocol,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=round(settings.profile.handler_deadline_s),
    )
    server = _Server(config)
    task = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        yield
    finally:
        await asyncio.sleep(settings.profile.drain_s)
        server.should_exit = True
        await task
