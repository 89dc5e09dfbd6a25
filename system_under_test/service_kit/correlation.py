"""What the work in hand belongs to: one frozen context, set for a piece of work and always taken back."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from uuid import UUID, uuid4

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_SPAN = re.compile(r"[0-9a-f]{16}")


def new_id() -> str:
    return str(uuid4())


def new_span() -> str:
    return secrets.token_hex(8)


def uuid_or_none(text: object) -> str | None:
    """The canonical form of a UUID, or None. Stricter than UUID(), which takes braces and URNs."""
    return str(UUID(text)) if isinstance(text, str) and _UUID.fullmatch(text) else None


def span_or_none(text: object) -> str | None:
    return text if isinstance(text, str) and _SPAN.fullmatch(text) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    correlation_id: str | None = None
    event_id: str | None = None
    causation_id: str | None = None
    entity_type: str | None = None
    entity_id: str | None = None
    span_id: str | None = None
    parent_span_id: str | None = None
    hop_count: int = 0

    def child(self) -> Context:
        """The same flow, one span deeper."""
        return replace(self, span_id=new_span(), parent_span_id=self.span_id)


_NOTHING_IN_HAND = Context()
_current: ContextVar[Context] = ContextVar("correlation", default=_NOTHING_IN_HAND)


def current() -> Context:
    return _current.get()


@contextmanager
def using(context: Context) -> Iterator[Context]:
    token = _current.set(context)
    try:
        yield context
    finally:
        _current.reset(token)
