"""PostgreSQL's protocol 3: units of work and their answers as events.

https://www.postgresql.org/docs/current/protocol-flow.html and protocol-message-formats.html. Of a message only its head
is looked at, the rest is counted down.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any, ClassVar

from chaos.proxy.wire.events import Event
from chaos.proxy.wire.opaque import NotUnderstood, ReadingDecoder
from chaos.proxy.wire.postgres_session import Session
from chaos.proxy.wire.sql import Statement, classify

_MESSAGE = struct.Struct(">BI")  # type, length of the rest with these four bytes
_STARTUP = struct.Struct(">II")
_SSL, _GSS, _CANCEL = 80877103, 80877104, 80877102
_LONGEST_STARTUP = 10_000
_MOST_EXECUTED, _MOST_PORTALS = 1_000, 10_000
_LONGEST = 1 << 30  # the server's own limit
_SQL_HEAD, _NAMES_HEAD, _HEAD = 1 << 16, 256, 128

_new_event: Callable[[Any, tuple[str, str, int, int]], Event] = tuple.__new__


class _PostgresDecoder(ReadingDecoder):
    """One direction: the messages."""

    heads: ClassVar[dict[int, int]]  # type of message → how much of it is looked at
    carried: ClassVar[frozenset[int]]  # types that tell nothing: they are counted down

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._session = session
        self._kind = 0
        self._head = b""
        self._start = 0
        self._left = 0  # bytes of the message in hand that are not looked at

    def feed(self, data: bytes) -> list[Event]:
        if self._session.opaque is not None and self.opaque is None:
            self._turn_opaque(self._session.opaque)
        return super().feed(data)

    def _read(self, data: bytes, base: int, events: list[Event]) -> None:
        self._rest, at = b"", 0
        if self._left:
            at = min(self._left, len(data))
            self._left -= at
            if self._left:
                return
            self._message(self._kind, self._head, self._start, base + at, events)
        at = self._read_messages(data, at, base, events)
        self._stopped(base + at)
        if not self._left:
            self._rest = data[at:]

    def _read_messages(self, data: bytes, at: int, base: int, events: list[Event]) -> int:
        """Where the last whole message ends. (Of the next, the head may have been read: ``_left`` is not 0 then.)"""
        size, unpack, heads, carried = len(data), _MESSAGE.unpack_from, self.heads, self.carried
        while at < size:
            if self._before_messages():
                taken = self._read_before_messages(data, at, base, events)
                if not taken:
                    return at
                at += taken
                continue
            if size - at < 5:
                return at
            kind, length = unpack(data, at)
            end = at + 1 + length
            if kind in carried and length >= 4 and end <= size:
                at = end
                continue
            head = heads.get(kind)
            if head is None or not 4 <= length <= _LONGEST:
                raise NotUnderstood(f"a message of type {bytes([kind])!r} and {length} bytes")
            if end <= size:
                self._message(
                    kind, data[at + 5 : end if length < head else at + 5 + head], base + at, base + end, events
                )
                at = end
                continue
            if size < at + 5 + head:
                return at
            self._kind, self._head, self._start, self._left = kind, data[at + 5 : at + 5 + head], base + at, end - size
            return at
        return at

    def _before_messages(self) -> bool:
        """Whether something else than messages is to come next."""
        return False

    def _read_before_messages(self, data: bytes, at: int, base: int, events: list[Event]) -> int:
        """How many bytes of it were read; 0 if more are needed."""
        raise NotImplementedError

    def _message(self, kind: int, head: bytes, start: int, end: int, events: list[Event]) -> None:
        """A message has ended."""
        raise NotImplementedError

    def _stopped(self, end: int) -> None:
        """For now no more can be read. ``end`` is that of the last message which was there whole."""

    def _tell(self, name: str, detail: str, end: int, events: list[Event]) -> None:
        events.append(_new_event(Event, (name, detail, self.boundary, end)))
        self.boundary = end


def _kinds(letters: str, head: int) -> dict[int, int]:
    return {ord(letter): head for letter in letters}


class Upstream(_PostgresDecoder):
    """What a client says to a server."""

    heads: ClassVar = {**_kinds("DFSHdcfpX", 0), **_kinds("QP", _SQL_HEAD), **_kinds("BEC", _NAMES_HEAD)}
    carried: ClassVar = frozenset(b"Dd")  # Describe, CopyData

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self._started = False
        self._in_unit = False  # of the extended protocol
        self._executed: tuple[Statement, ...] = ()
        self._portals: dict[bytes, tuple[Statement, ...]] = {}
        self._prepares = False

    def _before_messages(self) -> bool:
        return not self._started

    def _read_before_messages(self, data: bytes, at: int, base: int, events: list[Event]) -> int:
        if data[at] == 0x16:
            raise NotUnderstood("TLS")
        if data[at]:
            raise NotUnderstood("it does not begin as PostgreSQL does")
        if len(data) - at < 8:
            return 0
        length, code = _STARTUP.unpack_from(data, at)
        if not 8 <= length <= _LONGEST_STARTUP or not (code >> 16 == 3 or code in (_SSL, _GSS, _CANCEL)):
            raise NotUnderstood("it does not begin as PostgreSQL 3 does")
        if len(data) - at < length:
            return 0
        end = base + at + int(length)
        if code in (_SSL, _GSS):
            self._session.encryption_asked += 1
            self.boundary = end
        elif code == _CANCEL:
            self._started = True
            self._tell("cancel", "", end, events)
        else:
            self._started = True
            self._tell("startup", "", end, events)
        return int(length)

    def _message(self, kind: int, head: bytes, start: int, end: int, events: list[Event]) -> None:
        if kind == 0x42:  # Bind
            self._in_unit = True
            self._bind(head)
        elif kind == 0x45:  # Execute
            self._in_unit = True
            self._executed += self._portals.get(head[: head.find(b"\0")], ())
            if len(self._executed) > _MOST_EXECUTED:
                raise NotUnderstood(f"{_MOST_EXECUTED} statements without a Sync")
        elif kind == 0x53:  # Sync
            self._sync(end, events)
        elif kind == 0x51:  # Query
            unit = self._session.ask(classify(head), extended=False)
            self._tell(unit.name, unit.detail, end, events)
        elif kind == 0x50:  # Parse
            self._in_unit = self._prepares = True
            name, _, text = head.partition(b"\0")
            self._session.prepare(name, classify(text[: text.find(b"\0") + 1]))
        elif kind == 0x46:  # FunctionCall
            unit = self._session.ask((Statement("other", "FUNCTION"),), extended=False)
            self._tell(unit.name, unit.detail, end, events)
        elif kind == 0x48 or not self._in_unit:  # Flush, or what is no part of a unit (passwords, the end of a COPY)
            self.boundary = end

    def _sync(self, end: int, events: list[Event]) -> None:
        if self._session.copying_in and not self._executed:
            self.boundary = end  # the end of the COPY, in place of the Sync that was ignored
        else:
            unit = self._session.ask(self._executed, otherwise="PREPARE" if self._prepares else "")
            self._tell(unit.name, unit.detail, end, events)
        self._session.copying_in = self._in_unit = self._prepares = False
        self._executed = ()

    def _bind(self, head: bytes) -> None:
        portal_end = head.find(b"\0")
        name_end = head.find(b"\0", portal_end + 1)
        if len(self._portals) >= _MOST_PORTALS:
            self._portals.clear()
        self._portals[head[:portal_end]] = self._session.prepared(head[portal_end + 1 : name_end])

    def _stopped(self, end: int) -> None:
        if not self._in_unit:
            self.boundary = end  # rows that are copied


class Downstream(_PostgresDecoder):
    """What a server says to a client."""

    heads: ClassVar = {**_kinds("KSTDInN123stGHdcWvV", 0), **_kinds("RCEAZ", _HEAD)}
    carried: ClassVar = frozenset(b"TD123nstIHdcV")  # what is only ever part of an answer

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self._authenticated = self._ready = False
        self._error = ""
        self._rolled_back = False

    def _before_messages(self) -> bool:
        return self._session.encryption_asked > 0

    def _read_before_messages(self, data: bytes, at: int, base: int, events: list[Event]) -> int:
        self._session.encryption_asked -= 1
        if data[at] in b"SG":
            self._session.opaque = "TLS" if data[at] == 0x53 else "GSSAPI encryption"
        elif data[at] != 0x4E:
            raise NotUnderstood(f"{data[at : at + 1]!r} in answer to the wish to encrypt")
        self.boundary = base + at + 1
        return 1

    def _message(self, kind: int, head: bytes, start: int, end: int, events: list[Event]) -> None:
        if kind == 0x43:  # CommandComplete
            if head.startswith((b"COMMIT", b"ROLLBACK")):
                self._rolled_back = head.startswith(b"ROLLBACK")
        elif kind == 0x5A:  # ReadyForQuery
            self._answer(head, end, events)
        elif kind == 0x45:  # ErrorResponse
            self._fail(head, end, events)
        elif kind == 0x41 and start == self.boundary:  # NotificationResponse, not within an answer
            self._tell("notification", _text(head[4:].partition(b"\0")[0]), end, events)
        elif kind == 0x57:  # CopyBothResponse
            self._session.opaque = "replication"
            raise NotUnderstood("replication")
        elif kind == 0x47:  # CopyInResponse: the client waits for it
            unanswered = self._session.unanswered
            self._session.copying_in = bool(unanswered) and unanswered[0].extended
            self.boundary = end
        elif not self._ready:
            self._authenticate(kind, head, end)
        elif kind in b"NS" and start == self.boundary and not self._session.unanswered:
            self.boundary = end

    def _stopped(self, end: int) -> None:
        if self._ready and not self._session.unanswered:
            self.boundary = end  # an answer to what has not ended with a Sync yet: the client may wait for it

    def _authenticate(self, kind: int, head: bytes, end: int) -> None:
        if kind == 0x52:  # Authentication…
            if len(head) < 4:
                raise NotUnderstood("an authentication message that is cut short")
            self._authenticated = head[:4] == b"\0\0\0\0"
        if not self._authenticated:
            self.boundary = end  # the client has to answer it, or to know it

    def _answer(self, head: bytes, end: int, events: list[Event]) -> None:
        if len(head) != 1:
            raise NotUnderstood("a ReadyForQuery without its status")
        if not self._ready:
            self._ready = True
            self._tell("authenticated", "", end, events)
            return
        unit = self._session.answered(head[0])
        if self._error:
            self._tell("error", self._error, end, events)
        elif unit.name in ("commit", "rollback"):
            self._tell("rolled back" if self._rolled_back else "committed", unit.detail, end, events)
        else:
            self._tell("result", unit.detail, end, events)
        self._error, self._rolled_back = "", False

    def _fail(self, head: bytes, end: int, events: list[Event]) -> None:
        fields = {field[:1]: field[1:] for field in head.split(b"\0")}
        state = _text(fields.get(b"C", b""))
        severity = fields.get(b"V") or fields.get(b"S")
        if severity in (b"FATAL", b"PANIC"):  # nothing comes behind it
            self._tell("error", state, end, events)
            return
        self._error = self._error or state


def _text(name: bytes) -> str:
    return name.decode(errors="replace")


def directions() -> tuple[Upstream, Downstream]:
    """The two decoders of a new connection."""
    session = Session()
    return Upstream(session), Downstream(session)
