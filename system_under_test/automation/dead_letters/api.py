"""Triage of dead letters: list, show, replay, discard.

They stay in their queue: looking takes them on a channel of its own and closes it, which puts them all back.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Annotated, Any

import pika
from fastapi import APIRouter, Depends, Query
from starlette.routing import BaseRoute

from system_under_test.automation import retries
from system_under_test.automation.delivery import Delivery
from system_under_test.automation.reasons import Reason
from system_under_test.automation.topology import DEAD_LETTERS
from system_under_test.service_kit import correlation, logs, metrics
from system_under_test.service_kit.access import Caller, only
from system_under_test.service_kit.broker import BrokerUnavailable, Life, Link
from system_under_test.service_kit.openapi import refusals
from system_under_test.service_kit.problems import Problem, unavailable
from system_under_test.service_kit.publisher import Publisher
from system_under_test.service_kit.requests import Limit

OfReason = Annotated[Reason | None, Query()]
Triage = Callable[["Drawer", Delivery, str], Awaitable[dict[str, object]]]

_LONGEST_BODY = 2_000
_ANSWER_WITHIN_S = 5


class DeadLetters:
    def __init__(self, link: Link, publisher: Publisher) -> None:
        self._link, self._publisher = link, publisher
        self._one_at_a_time = asyncio.Lock()  # a letter that one request has taken, another would not see

    def routes(self) -> list[BaseRoute]:
        router = APIRouter(dependencies=[Depends(only("operator"))])
        for path, do, method in (
            ("/dead-letters", self.list, "GET"),
            ("/triage/replay", self.replay_all, "POST"),
            ("/triage/discard", self.discard_all, "POST"),
            ("/dead-letters/{event_id}", self.show, "GET"),
            ("/dead-letters/{event_id}/replay", self.replay, "POST"),
            ("/dead-letters/{event_id}/discard", self.discard, "POST"),
        ):
            refused = refusals(403, 404) if "{event_id}" in path else refusals(403)
            router.add_api_route(path, do, methods=[method], responses=refused)
        return router.routes

    async def list(self, reason: OfReason = None, limit: Limit = 100) -> dict[str, object]:
        async with self._taken() as drawer:
            items: list[dict[str, object]] = []
            while len(items) < limit and (letter := await drawer.next()) is not None:
                if _is_of(letter, reason):
                    items.append(_shown(letter))
        return {"items": items}

    async def show(self, event_id: str) -> dict[str, object]:
        async with self._taken() as drawer:
            letter = await drawer.find(event_id)
            body = logs.clean(letter.body.decode("utf-8", "replace"), _LONGEST_BODY)
            return {**_shown(letter), "body": body}

    async def replay(self, event_id: str, caller: Caller) -> dict[str, object]:
        async with self._taken() as drawer:
            return await self._replay(drawer, await drawer.find(event_id), caller.name)

    async def discard(self, event_id: str, caller: Caller) -> dict[str, object]:
        async with self._taken() as drawer:
            return await self._discard(drawer, await drawer.find(event_id), caller.name)

    async def replay_all(self, caller: Caller, reason: OfReason = None, dry_run: bool = True) -> dict[str, object]:
        return await self._all(self._replay, caller.name, reason, dry_run)

    async def discard_all(self, caller: Caller, reason: OfReason = None, dry_run: bool = True) -> dict[str, object]:
        return await self._all(self._discard, caller.name, reason, dry_run)

    async def _all(self, do: Triage, actor: str, reason: Reason | None, dry_run: bool) -> dict[str, object]:
        """All that are there now: what dies again meanwhile is not met a second time."""
        async with self._taken() as drawer:
            letters = [letter for letter in await drawer.all() if _is_of(letter, reason)]
            items = [_shown(letter) if dry_run else await do(drawer, letter, actor) for letter in letters]
        return {"dry_run": dry_run, "items": items}

    async def _replay(self, drawer: Drawer, letter: Delivery, actor: str) -> dict[str, object]:
        """Publish, be sure, say so, only then take it out: of two after a crash, one is recognised."""
        if not (await self._publisher.publish(retries.replay_copy(letter))).confirmed:
            raise unavailable("the broker did not confirm the replay; the dead letter stays where it is")
        _say("dead_letter.replayed", "replayed", letter, actor)
        drawer.take_out(letter)
        return _shown(letter)

    async def _discard(self, drawer: Drawer, letter: Delivery, actor: str) -> dict[str, object]:
        _say("dead_letter.discarded", "discarded", letter, actor)
        drawer.take_out(letter)
        return _shown(letter)

    @asynccontextmanager
    async def _taken(self) -> AsyncIterator[Drawer]:
        async with self._one_at_a_time:
            if (life := self._link.life) is None:
                raise unavailable("the broker is not available")
            try:
                async with life.second_channel() as channel:
                    yield Drawer(life, channel)
            except (BrokerUnavailable, TimeoutError) as error:
                raise unavailable("the broker is not available") from error


class Drawer:
    """The dead letters, taken one after the other; those not taken out go back when the channel closes."""

    def __init__(self, life: Life, channel: Any) -> None:
        self._life, self._channel = life, channel
        self._answer: asyncio.Future[Delivery | None] = asyncio.get_running_loop().create_future()
        channel.add_callback(lambda _: self._answer.set_result(None), [pika.spec.Basic.GetEmpty], one_shot=False)

    async def next(self) -> Delivery | None:
        self._answer = asyncio.get_running_loop().create_future()
        self._channel.basic_get(DEAD_LETTERS, callback=self._on_letter)
        letter: Delivery | None = await self._life.answer(self._answer, _ANSWER_WITHIN_S)
        return letter

    def _on_letter(self, _: Any, method: Any, properties: Any, body: bytes) -> None:
        letter = Delivery(properties, body, self._life, method.delivery_tag, method.redelivered, id="")
        self._answer.set_result(letter)

    async def all(self) -> list[Delivery]:
        letters = []
        while (letter := await self.next()) is not None:
            letters.append(letter)
        return letters

    async def find(self, event_id: str) -> Delivery:
        while (letter := await self.next()) is not None:
            if _handle(letter) == event_id.lower():
                return letter
        raise Problem(404, "dead-letter-unknown", "there is no such dead letter")

    def take_out(self, letter: Delivery) -> None:
        if self._channel.is_open:
            self._channel.basic_ack(letter.tag)


def _is_of(letter: Delivery, reason: Reason | None) -> bool:
    return reason is None or letter.headers.get("dead_letter_reason") == reason


def _handle(letter: Delivery) -> str:
    """What it is asked for by: its event id, or its correlation id where it never had an event id."""
    return str(letter.properties.message_id or letter.properties.correlation_id).lower()


def _shown(letter: Delivery) -> dict[str, object]:
    context, headers = letter.context(), letter.headers
    return {
        "event_id": context.event_id,
        "correlation_id": context.correlation_id,
        "causation_id": context.causation_id,
        "event_type": letter.properties.type,
        "entity_type": context.entity_type,
        "entity_id": context.entity_id,
        "reason": headers.get("dead_letter_reason"),
        "attempts": letter.attempt,
        "error_class": headers.get("dead_letter_error_class"),
        "error": headers.get("dead_letter_error"),
        "stack": headers.get("dead_letter_stack"),
    }


def _say(kind: str, status: str, letter: Delivery, actor: str) -> None:
    request = correlation.current()
    with correlation.using(replace(letter.context(), parent_span_id=request.span_id)):
        logs.line(kind, status, actor=actor)
    metrics.count(kind)
