"""The mail server: takes every message over real SMTP, writes it down, answers as told."""

from __future__ import annotations

import asyncio
import hashlib
from email import message_from_bytes, policy
from typing import Any

import msgspec
from aiosmtpd.controller import Controller

from harness.evidence.clock import wall_now
from harness.evidence.records import Received
from harness.sinks.inbox import MAIL, Inbox


def mail_server(port: int, inbox: Inbox) -> Controller:
    """A server that is not started yet."""
    return Controller(_Handler(inbox), hostname="127.0.0.1", port=port)


class _Handler:
    def __init__(self, inbox: Inbox) -> None:
        self._inbox = inbox

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:
        behaviour = self._inbox.answer_for(MAIL, otherwise=250)
        self._inbox.add(_received(envelope.content, behaviour.status))
        await asyncio.sleep(behaviour.delay_ms / 1000)
        return f"{behaviour.status} as told"


def _received(content: bytes, status: int) -> Received:
    message = message_from_bytes(content, policy=policy.default)
    text = message.get_content()
    headers = {name: str(value) for name, value in message.items()}  # plain text, which the library's values are not
    told: dict[str, Any] = msgspec.json.decode(text)
    return Received(
        kind="mail",
        place=MAIL,
        received_at=wall_now(),
        key=headers.get("Message-ID"),
        signed=None,
        status=status,
        digest=hashlib.sha256(content).hexdigest(),
        body=str(text)[:4096],
        correlation_id=headers.get("X-Correlation-Id"),
        rule_id=headers.get("X-Rule-Id"),
        event_id=told.get("event_id"),
        entity_id=told.get("entity_id"),
    )
