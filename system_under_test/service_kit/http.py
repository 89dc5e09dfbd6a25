"""The HTTP edge: one ASGI layer that every request passes, and the server that carries it.

The layer gives a request its place in a flow, lets in only whom we know, bounds the body, writes the two
lines and turns every error into problem details. It is pure ASGI, so the handler sees the context it sets.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import uvicorn
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import BaseRoute, Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from system_under_test.service_kit import correlation, logs, metrics
from system_under_test.service_kit.access import authenticate
from system_under_test.service_kit.correlation import Context, new_id, new_span, span_or_none, uuid_or_none
from system_under_test.service_kit.database import UNAVAILABLE
from system_under_test.service_kit.health import Dependency, Health
from system_under_test.service_kit.problems import Problem, problem_of, response_of
from system_under_test.service_kit.settings import Identity, Settings

_OPEN = frozenset({"/health/live", "/health/ready"})
_ENTITY_OF = {"lead_id": "lead", "deal_id": "deal", "user_id": "user"}
_MOST_HOPS = 1_000
_KEEP_ALIVE_S = 75


def create_app(settings: Settings, health: Health, database: Dependency, routes: list[BaseRoute]) -> FastAPI:
    routes = [*routes, *health.routes()]
    app = FastAPI(
        routes=routes,
        openapi_url=None,
        redirect_slashes=False,
        exception_handlers={HTTPException: _answer, RequestValidationError: _answer, Problem: _answer},
    )
    app.add_middleware(Edge, routes=routes, settings=settings, database=database)
    return app


async def _answer(request: Request, error: Exception) -> Response:
    return response_of(problem_of(error), request.url.path)


class Edge:
    def __init__(self, app: ASGIApp, *, routes: list[BaseRoute], settings: Settings, database: Dependency) -> None:
        self._app, self._routes, self._database = app, routes, database
        self._identities: Mapping[str, Identity] = settings.identities
        self._max_body_bytes = settings.profile.max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        route, parameters = self._match(scope)
        if route in _OPEN:
            await self._app(scope, receive, send)
            return
        headers = {name.decode("latin-1"): value for name, value in scope["headers"]}
        context = _context_of(headers, parameters)
        with correlation.using(context):
            if "x-correlation-id" in headers and headers["x-correlation-id"].decode("latin-1").lower() != (
                context.correlation_id
            ):
                logs.library("http", "X-Correlation-Id is not a UUID and was replaced", level="warning")
            await self._observed(scope, receive, send, route, headers)

    def _match(self, scope: Scope) -> tuple[str, dict[str, str]]:
        """The route's template. One that has the path but not the method counts too: it answers 405."""
        found: tuple[str, dict[str, str]] = ("unmatched", {})
        for route in self._routes:
            match, child = route.matches(scope)
            if match is not Match.NONE:
                found = (getattr(route, "path", "unmatched"), child["path_params"])
            if match is Match.FULL:
                break
        return found

    async def _observed(
        self, scope: Scope, receive: Receive, send: Send, route: str, headers: dict[str, bytes]
    ) -> None:
        started, method = time.perf_counter(), scope["method"]
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
            await self._admitted(scope, receive, send_on, headers)
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
            metrics.count(f"http.requests.{status}")
            metrics.observe("http.request.duration_ms", duration_ms)

    async def _admitted(self, scope: Scope, receive: Receive, send: Send, headers: dict[str, bytes]) -> None:
        try:
            identity = authenticate(headers.get("authorization", b""), self._identities)
            scope["identity"] = identity
            if identity.role == "service":  # only our own services say how deep in a chain of events they are
                correlation.deepen(_hops(headers.get("x-hop-count", b"")))
            body = await self._body(receive, headers)
            await self._app(scope, body, send)
        except Exception as error:
            problem = problem_of(error)
            if problem.status == 500:
                logs.library("http", f"unexpected error: {logs.describe(error)}", level="error")
            if isinstance(error, UNAVAILABLE):
                await self._database.check()  # so that this answer and the readiness answer agree
            await response_of(problem, scope["path"])(scope, receive, send)

    async def _body(self, receive: Receive, headers: dict[str, bytes]) -> Receive:
        """Read the whole body, which is small by contract, before anybody works on it."""
        chunks, size, more = [], 0, True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise Problem(400, "incomplete-request", "the client went away before the end of its request")
            chunks.append(message.get("body", b""))
            size += len(chunks[-1])
            if size > self._max_body_bytes:
                raise Problem(413, "body-too-large", f"a body has at most {self._max_body_bytes} bytes")
            more = message.get("more_body", False)
        whole: list[Message] = [{"type": "http.request", "body": b"".join(chunks), "more_body": False}]

        async def replay() -> Message:
            return whole.pop() if whole else await receive()

        return replay


def _context_of(headers: dict[str, bytes], parameters: Mapping[str, str]) -> Context:
    def header(name: str) -> str:
        return headers.get(name, b"").decode("latin-1")

    causation_id = uuid_or_none(header("x-causation-id"))
    entity_type, entity_id = None, None
    for parameter, kind in _ENTITY_OF.items():
        if entity := uuid_or_none(parameters.get(parameter)):
            entity_type, entity_id = kind, entity
    return Context(
        correlation_id=uuid_or_none(header("x-correlation-id")) or new_id(),
        event_id=causation_id,
        causation_id=causation_id,
        entity_type=entity_type,
        entity_id=entity_id,
        span_id=new_span(),
        parent_span_id=span_or_none(header("x-parent-span-id")),
    )


def _hops(text: bytes) -> int:
    return min(int(text), _MOST_HOPS) if text.isdigit() and len(text) < 10 else 0


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Any:
        yield  # signals end the service as a whole, in its own order


@asynccontextmanager
async def serving(app: FastAPI, settings: Settings, listener: socket.socket) -> AsyncIterator[None]:
    """Serves as long as the block, and then until whoever follows the readiness answer has gone elsewhere."""
    config = uvicorn.Config(
        app,
        http="httptools",
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
