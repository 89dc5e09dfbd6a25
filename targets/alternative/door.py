"""The HTTP door, by aiohttp: triage of dead letters for operators; health, metrics and OpenAPI for everybody."""

from __future__ import annotations

import asyncio
import hmac
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any
from uuid import uuid4

from aiohttp import web

from targets.alternative import VERSION, log, metrics
from targets.alternative.broker import DEAD, Delivery, Life, Link, replay_copy
from targets.alternative.dependencies import Dependency
from targets.alternative.failures import BrokerLost
from targets.alternative.settings import Settings

_OPEN = ("/health/live", "/health/ready", "/metrics", "/openapi.json")
_REASONS = ("exhausted", "non_retryable", "schema_invalid", "delivery_limit", "loop_guard")
_LONGEST_BODY = 2_000
Answer = dict[str, Any]


class Problem(Exception):
    def __init__(self, status: int, kind: str, detail: str, **headers: str) -> None:
        super().__init__(detail)
        self.status, self.kind, self.detail, self.headers = status, kind, detail, headers


def _unavailable(detail: str) -> Problem:
    return Problem(503, "unavailable", detail, **{"Retry-After": "1"})


class Door:
    def __init__(self, settings: Settings, link: Link, dependencies: list[Dependency], stopping: asyncio.Event) -> None:
        self._settings, self._link, self._dependencies, self._stopping = settings, link, dependencies, stopping
        self._one_at_a_time = asyncio.Lock()  # a letter that one request has taken, another would not see

    def app(self) -> Any:
        async def edge(request: Any, handler: Callable[[Any], Awaitable[Any]]) -> Any:
            return await self._edge(request, handler)

        app = web.Application(middlewares=[web.middleware(edge)], client_max_size=256 * 1024)
        for method, path, handler in (
            ("GET", "/health/live", self._live),
            ("GET", "/health/ready", self._ready),
            ("GET", "/metrics", self._metrics),
            ("GET", "/openapi.json", self._document),
            ("GET", "/dead-letters", self._list),
            ("GET", "/dead-letters/{event_id}", self._show),
            ("POST", "/dead-letters/{event_id}/{what:replay|discard}", self._one),
            ("POST", "/triage/{what:replay|discard}", self._all),
        ):
            app.router.add_route(method, path, handler)
        return app

    # --- what every request passes -------------------------------------------------------------------------------

    async def _edge(self, request: Any, handler: Callable[[Any], Awaitable[Any]]) -> Any:
        if request.method == "GET" and request.path in _OPEN:
            return await handler(request)
        who = self._caller(request.headers.get("Authorization", ""))
        with log.within(_flow(request, who)):
            resource = request.match_info.route.resource
            route = resource.canonical if resource else "unmatched"
            started = time.perf_counter()
            log.line("http.request.received", "accepted", method=request.method, route=route)
            status = 500
            try:
                response = await self._answered(request, handler, who)
                status = response.status
            finally:
                duration_ms = round((time.perf_counter() - started) * 1000, 3)
                how = "server_error" if status >= 500 else "client_error" if status >= 400 else "ok"
                log.line(
                    "http.request.completed",
                    how,
                    level="error" if status >= 500 else "info",
                    method=request.method,
                    route=route,
                    http_status=status,
                    duration_ms=duration_ms,
                )
                metrics.count("http_requests_total", method=request.method, route=route, status=how)
                metrics.observe("http_request_duration_seconds", duration_ms, method=request.method, route=route)
            response.headers["X-Correlation-Id"] = str(log.flow().correlation_id)
            return response

    async def _answered(self, request: Any, handler: Callable[[Any], Awaitable[Any]], who: Answer | None) -> Any:
        try:
            if who is None:
                challenge = {"WWW-Authenticate": "Bearer"}
                raise Problem(401, "unauthorized", "a valid bearer token is needed", **challenge)
            if request.match_info.http_exception is None and who["role"] != "operator":
                raise Problem(403, "forbidden", "this needs the role operator")
            request["who"] = who["name"]
            return await handler(request)
        except Problem as problem:
            return _refusal(problem)
        except web.HTTPException as refused:
            headers = {"Allow": refused.headers["Allow"]} if "Allow" in refused.headers else {}
            kind = "not-found" if refused.status == 404 else "method-not-allowed" if headers else "refused"
            return _refusal(Problem(refused.status, kind, "there is nothing here for this request", **headers))
        except Exception as error:
            log.note("http", f"unexpected error: {log.describe(error)}", level="error")
            return _refusal(Problem(500, "internal-error", "an unexpected error; it has been logged"))

    def _caller(self, authorization: str) -> Answer | None:
        """Every token is compared, each in constant time."""
        scheme, _, presented = authorization.partition(" ")
        guess = presented.strip().encode("utf-8", "surrogateescape")
        found = None
        for token, caller in self._settings.callers.items():
            if hmac.compare_digest(guess, token.encode()):
                found = dict(caller)
        return found if scheme.lower() == "bearer" else None

    # --- for everybody -------------------------------------------------------------------------------------------

    async def _live(self, _: Any) -> Any:
        return web.json_response({"status": "live"})

    async def _ready(self, _: Any) -> Any:
        report = {one.name: {"status": one.status, "detail": one.detail or None} for one in self._dependencies}
        ready = all(one.status in ("up", "degraded") for one in self._dependencies)
        status = "draining" if self._stopping.is_set() else "ready" if ready else "not_ready"
        return web.json_response({"status": status, "dependencies": report}, status=200 if status == "ready" else 503)

    async def _metrics(self, _: Any) -> Any:
        return web.Response(
            text=metrics.exposition(), headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"}
        )

    async def _document(self, request: Any) -> Any:
        paths: dict[str, Answer] = {}
        for route in request.app.router.routes():
            said = {"responses": {"200": {"description": "OK"}, "default": {"description": "problem details"}}}
            paths.setdefault(route.resource.canonical, {})[route.method.lower()] = said
        return web.json_response(
            {"openapi": "3.1.0", "info": {"title": "automation", "version": VERSION}, "paths": paths}
        )

    # --- triage --------------------------------------------------------------------------------------------------

    async def _list(self, request: Any) -> Any:
        reason, limit = _reason(request), request.query.get("limit", "100")
        if not (limit.isascii() and limit.isdigit() and 1 <= int(limit) <= 200):
            raise Problem(422, "invalid-request", "limit has to be a number from 1 to 200")
        async with self._drawer() as drawer:
            letters = [letter async for letter in drawer.letters() if _is_of(letter, reason)]
        return web.json_response({"items": [_shown(letter) for letter in letters[: int(limit)]]})

    async def _show(self, request: Any) -> Any:
        async with self._drawer() as drawer:
            letter = await drawer.find(request.match_info["event_id"])
        body = log.clean(letter.body.decode("utf-8", "replace"), _LONGEST_BODY)
        return web.json_response({**_shown(letter), "body": body})

    async def _one(self, request: Any) -> Any:
        async with self._drawer() as drawer:
            letter = await drawer.find(request.match_info["event_id"])
            return web.json_response(await self._do(request, drawer, letter))

    async def _all(self, request: Any) -> Any:
        """All that are there now: what dies again meanwhile is not met a second time."""
        reason, dry_run = _reason(request), request.query.get("dry_run", "true")
        if dry_run not in ("true", "false"):
            raise Problem(422, "invalid-request", "dry_run has to be true or false")
        async with self._drawer() as drawer:
            letters = [letter async for letter in drawer.letters() if _is_of(letter, reason)]
            if dry_run == "true":
                items = [_shown(letter) for letter in letters]
            else:
                items = [await self._do(request, drawer, letter) for letter in letters]
        return web.json_response({"dry_run": dry_run == "true", "items": items})

    async def _do(self, request: Any, drawer: Drawer, letter: Delivery) -> Answer:
        """Publish, be sure, say so, only then take it out: of two after a crash, one is recognised."""
        done = {"replay": "replayed", "discard": "discarded"}[request.match_info["what"]]
        flow = replace(letter.flow(str(uuid4())), parent_span_id=log.flow().span_id)
        if done == "replayed":
            with log.within(flow):
                there = await self._link.publish(*replay_copy(letter))
            if not there:
                raise _unavailable("the broker did not confirm the replay; the dead letter stays where it is")
        with log.within(flow):
            log.line(f"dead_letter.{done}", done, actor=request["who"])
        metrics.count(f"dead_letter_{done}_total")
        await drawer.take_out(letter)
        return _shown(letter)

    @asynccontextmanager
    async def _drawer(self) -> AsyncIterator[Drawer]:
        async with self._one_at_a_time:
            if (life := self._link.life) is None:
                raise _unavailable("the broker is not available")
            try:
                async with life.drawer() as channel:
                    yield Drawer(life, channel)
            except BrokerLost as lost:
                raise _unavailable("the broker is not available") from lost


class Drawer:
    """The dead letters, taken one after the other; those not taken out go back when the channel closes."""

    def __init__(self, life: Life, channel: Any) -> None:
        self._life, self._channel = life, channel

    async def letters(self) -> AsyncIterator[Delivery]:
        while True:
            message = await self._life.bounded(self._channel.basic_get(DEAD), within_s=5)
            if (tag := getattr(message.delivery, "delivery_tag", None)) is None:
                return
            yield Delivery(message.header.properties, message.body, self._life, tag, False, "")

    async def find(self, event_id: str) -> Delivery:
        """By its event id, or by its correlation id where it never had one."""
        async for letter in self.letters():
            if str(letter.properties.message_id or letter.properties.correlation_id).lower() == event_id.lower():
                return letter
        raise Problem(404, "dead-letter-unknown", "there is no such dead letter")

    async def take_out(self, letter: Delivery) -> None:
        await self._life.bounded(self._channel.basic_ack(letter.tag))


def _flow(request: Any, who: Answer | None) -> log.Flow:
    """Anyone may name the flow; only our own services are believed what in it led to this request."""
    given = request.headers.get("X-Correlation-Id", "")
    flow = log.Flow(correlation_id=log.uuid_or_none(given) or str(uuid4()), span_id=log.new_span())
    if given and given.lower() != flow.correlation_id:
        with log.within(flow):
            log.note("http", "X-Correlation-Id is not a UUID and was replaced")
    if who is None or who["role"] != "service":
        return flow
    cause = log.uuid_or_none(request.headers.get("X-Causation-Id"))
    parent = log.span_or_none(request.headers.get("X-Parent-Span-Id"))
    return replace(flow, event_id=cause, causation_id=cause, parent_span_id=parent)


def _refusal(problem: Problem) -> Any:
    correlation_id = log.flow().correlation_id
    body = {
        "type": f"urn:problem:{problem.kind}",
        "title": problem.kind.replace("-", " "),
        "status": problem.status,
        "detail": problem.detail,
        "instance": f"urn:uuid:{correlation_id}",
        "correlation_id": correlation_id,
    }
    headers = {**problem.headers, "Content-Type": "application/problem+json"}
    return web.Response(body=json.dumps(body).encode(), status=problem.status, headers=headers)


def _reason(request: Any) -> str | None:
    reason = request.query.get("reason")
    if reason is not None and reason not in _REASONS:
        raise Problem(422, "invalid-request", f"reason has to be one of {', '.join(_REASONS)}")
    return str(reason) if reason else None


def _is_of(letter: Delivery, reason: str | None) -> bool:
    return reason is None or letter.headers.get("dead_letter_reason") == reason


def _shown(letter: Delivery) -> Answer:
    flow, headers = letter.flow(""), letter.headers
    return {
        "event_id": flow.event_id,
        "correlation_id": flow.correlation_id or None,
        "causation_id": flow.causation_id,
        "event_type": letter.properties.message_type,
        "entity_type": flow.entity_type,
        "entity_id": flow.entity_id,
        "reason": headers.get("dead_letter_reason"),
        "attempts": letter.attempt,
        "error_class": headers.get("dead_letter_error_class"),
        "error": headers.get("dead_letter_error"),
        "stack": headers.get("dead_letter_stack"),
    }
