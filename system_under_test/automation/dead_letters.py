"""Triage of dead letters: list, show, replay, discard.

They stay in their queue: looking takes them on a channel of its own and closes it, which puts all of them back.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import pika
from fastapi import APIRouter, Depends
from starlette.routing import BaseRoute

from system_under_test.automation import retries
from system_under_test.automation.delivery import Delivery
from system_under_test.automation.topology import DEAD_LETTERS
from system_under_test.service_kit import correlation, logs, metrics
from system_under_test.service_kit.access import Caller, only
from system_under_test.service_kit.broker import BrokerUnavailable, Life, Link
from system_under_test.service_kit.correlation import Context, new_span
from system_under_test.service_kit.problems import Problem, unavailable
from system_under_test.service_kit.publisher import Publisher
from system_under_test.service_kit.requests import Limit

_LONGEST_BODY = 2_000


class DeadLetters:
    def __init__(self, link: Link, publisher: Publisher) -> None:
        self._link, self._publisher = link, publisher
        self._one_at_a_time = asyncio.Lock()  # a letter that one request has taken, another would not see

    def routes(self) -> list[BaseRoute]:
        router = APIRouter(dependencies=[Depends(only("operator"))])
        router.add_api_route("/dead-letters", self.list, methods=["GET"])
        router.add_api_route("/dead-letters/{event_id}", self.show, methods=["GET"])
        router.add_api_route("/dead-letters/{event_id}/replay", self.replay, methods=["POST"])
        router.add_api_route("/dead-letters/{event_id}/discard", self.discard, methods=["POST"])
        return router.routes

    async def list(self, limit: Limit = 100) -> dict[str, object]:
        async with self._taken() as drawer:
            items = []
            while len(items) < limit and (letter := await drawer.next()) is not None:
                items.append(_shown(letter))
        return {"items": items}

    async def show(self, event_id: str) -> dict[str, object]:
        async with self._taken() as drawer:
            letter = await drawer.find(event_id)
            body = logs.clean(letter.body.decode("utf-8", "replace"), _LONGEST_BODY)
            return {**_shown(letter), "body": body}

    async def replay(self, event_id: str, caller: Caller) -> dict[str, object]:
        """Publish, be sure, say so, and only then take it out: a crash leaves two, and the second is recognised."""
        async with self._taken() as drawer:
            letter = await drawer.find(event_id)
            copy = retries.replay_copy(letter.properties, letter.body)
            if not (await self._publisher.publish(copy)).confirmed:
                raise unavailable("the broker did not confirm the replay; the dead letter stays where it is")
            _say("dead_letter.replayed", "replayed", letter, caller.name)
            letter.life.channel_ack(drawer.channel, letter.tag)
            return _shown(letter)

    async def discard(self, event_id: str, caller: Caller) -> dict[str, object]:
        async with self._taken() as drawer:
            letter = await drawer.find(event_id)
            _say("dead_letter.discarded", "discarded", letter, caller.name)
            drawer.take_out(letter)
            return _shown(letter)
