"""Lines of the log contract, each with its place in a flow; what foreign libraries say is brought into it too."""

from __future__ import annotations

import json
import logging
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import count
from typing import Any

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_SPAN = re.compile(r"[0-9a-f]{16}")
_IN_URL = re.compile(r"(://[^\s:/@]*:)[^\s@]*@")
_LONGEST = 2_000


def new_span() -> str:
    return secrets.token_hex(8)


def uuid_or_none(text: object) -> str | None:
    return text.lower() if isinstance(text, str) and _UUID.fullmatch(text.lower()) else None


def span_or_none(text: object) -> str | None:
    return text if isinstance(text, str) and _SPAN.fullmatch(text) else None


def rfc3339(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """What the work in hand belongs to."""

    correlation_id: str | None = None
    event_id: str | None = None
    causation_id: str | None = None
    entity_type: str | None = None
    entity_id: str | None = None
    span_id: str | None = None
    parent_span_id: str | None = None
    hops: int = 0

    def deeper(self, **changed: Any) -> Flow:
        """The same flow, one span deeper."""
        return replace(self, span_id=new_span(), parent_span_id=self.span_id, **changed)


NO_FLOW = Flow()
_current: ContextVar[Flow] = ContextVar("flow", default=NO_FLOW)
_numbers = count()
_who = {"service": "automation", "instance": ""}
_secrets: list[str] = []


def configure(instance: str, hidden: tuple[str, ...]) -> None:
    _who["instance"] = instance
    _secrets[:] = sorted({secret for secret in hidden if len(secret) >= 6}, key=len, reverse=True)
    logging.basicConfig(level=logging.WARNING, format="%(message)s", handlers=[_Foreign()], force=True)
    logging.captureWarnings(True)


def flow() -> Flow:
    return _current.get()


@contextmanager
def within(flow: Flow) -> Iterator[Flow]:
    token = _current.set(flow)
    try:
        yield flow
    finally:
        _current.reset(token)


def line(kind: str, status: str, *, level: str = "info", **fields: object) -> None:
    """One line, one write, so that a kill loses nothing; ``fields`` may override what the flow says."""
    here = _current.get()
    entry = {
        "ts": rfc3339(datetime.now(UTC)),
        "event": kind,
        "schema": "crm.log/1.0",
        **_who,
        "seq": next(_numbers),
        "level": level,
        "correlation_id": here.correlation_id,
        "event_id": here.event_id,
        "causation_id": here.causation_id,
        "rule_id": None,
        "entity_type": here.entity_type,
        "entity_id": here.entity_id,
        "status": status,
        "span_id": here.span_id or new_span(),
        "parent_span_id": here.parent_span_id,
        **fields,
    }
    data = json.dumps(entry, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace") + b"\n"
    while data:
        data = data[os.write(1, data) :]


def note(logger: str, message: str, *, level: str = "warning") -> None:
    line("library.message", "ok", level=level, logger=logger, message=clean(message))


def clean(text: str, longest: int = _LONGEST) -> str:
    text = _IN_URL.sub(r"\1***@", text)
    for secret in _secrets:
        text = text.replace(secret, "***")
    return text.encode("utf-8", "replace").decode()[:longest]


def describe(error: BaseException) -> str:
    """Its class and first line: in those that follow, PostgreSQL quotes values."""
    first = next(iter(str(error).splitlines()), "")
    return clean(f"{type(error).__name__}: {first}".rstrip(": "), 300)


class _Foreign(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        note(record.name, record.getMessage(), level="error" if record.levelno >= logging.ERROR else "warning")
