"""What both directions of a PostgreSQL connection know together: what was asked, and what the transaction writes."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from chaos.proxy.wire.opaque import NotUnderstood
from chaos.proxy.wire.sql import Statement

_new_unit: Callable[[Any, tuple[str, str, bool]], Unit] = tuple.__new__

_MOST_UNANSWERED, _MOST_PREPARED = 10_000, 10_000


class Unit(NamedTuple):
    """What a client sends before it waits: a simple query, or everything up to a Sync."""

    name: str
    detail: str
    extended: bool = True


class Session:
    """``in_block``, ``writes`` and ``savepoints`` tell how it will be when the server has done all that was sent."""

    def __init__(self) -> None:
        self.unanswered: deque[Unit] = deque()
        self.opaque: str | None = None  # for both directions
        self.encryption_asked = 0  # requests that are answered with one byte
        self.copying_in = False  # the server has ignored the Sync that was sent with the COPY
        self._in_block = False
        self._writes: dict[str, None] = {}
        self._savepoints: list[tuple[str, int]] = []
        self._prepared: dict[bytes, tuple[Statement, ...]] = {}

    def prepare(self, name: bytes, statements: tuple[Statement, ...]) -> None:
        if len(self._prepared) >= _MOST_PREPARED:
            self._prepared.clear()
        self._prepared[name] = statements

    def prepared(self, name: bytes) -> tuple[Statement, ...]:
        return self._prepared.get(name, ())

    def ask(self, statements: tuple[Statement, ...], *, otherwise: str = "", extended: bool = True) -> Unit:
        """A unit is sent. ``otherwise``: what it is told as when it carries out nothing."""
        if len(self.unanswered) >= _MOST_UNANSWERED:
            raise NotUnderstood(f"{_MOST_UNANSWERED} queries without an answer")
        if len(statements) == 1 and statements[0].kind == "other":  # the short way of most
            (statement,) = statements
            name, detail = "statement", statement.detail
            if statement.writes:
                if self._in_block:
                    self._writes.update(dict.fromkeys(statement.writes))
                else:
                    name = "commit"
        else:
            name, detail = self._follow(statements)
            if not detail and name == "statement":
                detail = otherwise
        unit = _new_unit(Unit, (name, detail, extended))
        self.unanswered.append(unit)
        return unit

    def answered(self, status: int) -> Unit:
        """ReadyForQuery has come; ``status`` is its byte, which is the truth if nothing else is on its way."""
        unit = self.unanswered.popleft() if self.unanswered else Unit("statement", "")
        if not self.unanswered:
            self._in_block = status != 0x49  # "I"
            if not self._in_block:
                self._forget()
        return unit

    def _follow(self, statements: Iterable[Statement]) -> tuple[str, str]:
        """Name and detail of a unit of these statements."""
        ends: dict[str, dict[str, None]] = {}  # commit, rollback → what was written
        begins = False
        writes: dict[str, None] = {}
        detail = ""
        for statement in self._resolved(statements):
            kind = statement.kind
            if kind == "other":
                self._writes.update(dict.fromkeys(statement.writes))
                writes.update(dict.fromkeys(statement.writes))
                detail = detail or statement.detail
            elif kind == "begin":
                self._in_block = begins = True
            elif kind in ("commit", "rollback"):
                ends.setdefault(kind, {}).update(self._writes)
                self._forget()
                self._in_block = statement.chained and self._in_block
            else:
                self._mark(statement)
                detail = detail or statement.detail
        if self._writes and not self._in_block:
            ends.setdefault("commit", {}).update(self._writes)
            self._forget()
        for name in ("commit", "rollback"):
            if name in ends:
                return name, ", ".join(ends[name])
        return "begin" if begins else "statement", ", ".join(writes) or ("" if begins else detail)

    def _resolved(self, statements: Iterable[Statement]) -> Iterable[Statement]:
        """SQL's own PREPARE and EXECUTE share their names with the protocol's."""
        for statement in statements:
            if statement.kind == "prepare":
                self.prepare(statement.name.encode(), (Statement("other", statement.detail, statement.writes),))
                yield Statement("other", "PREPARE")
            elif statement.kind == "execute":
                yield from self._prepared.get(statement.name.encode(), (Statement("other", "EXECUTE"),))
            else:
                yield statement

    def _mark(self, statement: Statement) -> None:
        """Savepoints: what is rolled back to one was not written."""
        if statement.kind == "savepoint":
            self._savepoints.append((statement.name, len(self._writes)))
            return
        places = [place for place, (name, _) in enumerate(self._savepoints) if name == statement.name]
        if not places:
            return
        if statement.kind == "release":
            del self._savepoints[places[-1] :]
        else:
            del self._savepoints[places[-1] + 1 :]
            self._writes = dict.fromkeys(list(self._writes)[: self._savepoints[-1][1]])

    def _forget(self) -> None:
        self._writes = {}
        self._savepoints = []
