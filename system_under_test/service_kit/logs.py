"""Log lines: one JSON object a line, one write a line, so that a kill loses nothing that was logged.

Every line of the process goes through `line`, those of foreign libraries too, and gets its place in the flow
from the context in hand.
"""

from __future__ import annotations

import logging
import os
import re
import threading
from typing import Literal

import msgspec
import structlog
from structlog.typing import EventDict, WrappedLogger

from system_under_test.service_kit import correlation
from system_under_test.service_kit.clock import now

Level = Literal["debug", "info", "warning", "error"]

SCHEMA = "crm.log/1.0"
_LONGEST_MESSAGE = 2_000
_SHORTEST_SECRET = 6
_CREDENTIALS_IN_URL = re.compile(r"(://[^\s:/@]*:)[^\s@]*@")

_secrets: tuple[str, ...] = ()
_logger: structlog.typing.FilteringBoundLogger = structlog.get_logger()


class _LineWriter:
    """Numbers and writes under one lock: a gap in `seq` always means that a line was lost."""

    def __init__(self, service: str, instance: str) -> None:
        self._service, self._instance = service, instance
        self._seq = 0
        self._lock = threading.Lock()

    def write(self, entry: EventDict) -> None:
        with self._lock:
            # The kind stands early, so that a reader with a decoder for each kind need not look far for it.
            head = {"ts": now(), "event": entry.pop("event"), "schema": SCHEMA, "service": self._service}
            place = {"instance": self._instance, "seq": self._seq}
            data = msgspec.json.encode({**head, **place, **entry}) + b"\n"
            self._seq += 1
            while data:
                data = data[os.write(1, data) :]

    debug = info = warning = error = write


def configure(service: str, instance: str, secrets: tuple[str, ...]) -> None:
    global _secrets
    _secrets = tuple(sorted({s for s in secrets if len(s) >= _SHORTEST_SECRET}, key=len, reverse=True))
    writer = _LineWriter(service, instance)
    structlog.configure(
        processors=[_in_contract_order],
        wrapper_class=structlog.make_filtering_bound_logger(logging.DEBUG),
        logger_factory=lambda *_: writer,
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(level=logging.WARNING, format="%(message)s", handlers=[_LibraryHandler()], force=True)
    # pika tells of one failed connection seven times; the link tells of it once.
    logging.getLogger("pika.adapters").setLevel(logging.CRITICAL)
    logging.captureWarnings(True)


def line(kind: str, status: str, *, level: Level = "info", **fields: object) -> None:
    """Write one line of the contract; `fields` may override what the context says."""
    getattr(_logger, level)(kind, status=status, **fields)


def _in_contract_order(_: WrappedLogger, level: str, fields: EventDict) -> tuple[tuple[EventDict], dict[str, object]]:
    context = correlation.current()
    entry: EventDict = {
        "level": level,
        "event": fields.pop("event"),
        "correlation_id": context.correlation_id,
        "event_id": context.event_id,
        "causation_id": context.causation_id,
        "rule_id": None,
        "entity_type": context.entity_type,
        "entity_id": context.entity_id,
        "status": fields.pop("status"),
        "span_id": context.span_id or correlation.new_span(),
        "parent_span_id": context.parent_span_id,
        **fields,
    }
    return (entry,), {}


def clean(text: str, longest: int = _LONGEST_MESSAGE) -> str:
    """Free text made fit for a line or a message: no secret, no broken character, not endless."""
    text = _CREDENTIALS_IN_URL.sub(r"\1***@", text)
    for secret in _secrets:
        text = text.replace(secret, "***")
    return text.encode("utf-8", "replace").decode()[:longest]


def describe(error: BaseException, longest: int = 300) -> str:
    """An error as one text: its first line, for PostgreSQL puts the offending values in those that follow."""
    first_line = next(iter(str(error).splitlines()), "")
    return clean(f"{type(error).__name__}: {first_line}" if first_line else repr(error), longest)


class _LibraryHandler(logging.Handler):
    """Brings the lines of pika, uvicorn, psycopg and the rest into the contract."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            message = self.format(record)
        except Exception as error:
            message = f"a message that could not be formatted: {error!r}"
        level: Level = "error"
        if record.levelno < logging.ERROR:
            level = "warning" if record.levelno >= logging.WARNING else "info"
        library(record.name, message, level=level)


def library(logger: str, message: str, *, level: Level) -> None:
    line("library.message", "ok", level=level, logger=logger, message=clean(message))
