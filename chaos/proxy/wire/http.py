"""HTTP/1.1: requests and responses as events. https://www.rfc-editor.org/rfc/rfc9112

Heads are looked at when they are whole; bodies are counted down.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable
from typing import Any

from chaos.proxy.wire.events import Event
from chaos.proxy.wire.opaque import NotUnderstood, ReadingDecoder

_LONGEST_HEAD, _LONGEST_CHUNK_LINE = 1 << 16, 1 << 12
_MOST_UNANSWERED, _MOST_CACHED, _LONGEST_CACHED = 10_000, 1_000, 1 << 11
_CHUNKED, _UNTIL_CLOSE = -1, -2  # lengths of bodies whose length is not known beforehand

_TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}"
_REQUEST = re.compile(rb"(%b) (\S+) HTTP/1\.[01]\r\n" % _TOKEN)
_REQUEST_BEGINS = re.compile(rb"%b(?: [^\r\n]*(?:\r?\Z|\r\n)|\Z)" % _TOKEN)
_RESPONSE = re.compile(rb"HTTP/1\.[01] ([1-9][0-9][0-9])(?: [^\r\n]*)?\r\n")
_RESPONSE_BEGINS = re.compile(rb"HTTP/1\.[01] [1-9][0-9][0-9](?:[ \r]|\Z)")
_FRAMING = re.compile(rb"\r\n(?:content-length[ \t]*:[ \t]*([^\r\n]*)|transfer-encoding[ \t]*:[ \t]*([^\r\n]*))")
_CHUNK_SIZE = re.compile(rb"([0-9a-fA-F]{1,16})[ \t]*(?:;[^\r\n]*)?\Z")
_IDS = re.compile(r"(?<=/)(?:\d+|[0-9a-fA-F]{8}(?:-?[0-9a-fA-F]{4}){3}-?[0-9a-fA-F]{12})(?=/|\Z)")
_ORIGIN = re.compile(r"\A[a-zA-Z][a-zA-Z0-9+.-]*://[^/?#]*")

_new_event: Callable[[Any, tuple[str, str, int, int]], Event] = tuple.__new__
_heads: dict[bytes, tuple[str, int]] = {}  # of requests: detail, length of the body


class _Exchange:
    """What both directions know together."""

    def __init__(self) -> None:
        self.unanswered: deque[str] = deque()  # ``GET /deals``
        self.opaque: str | None = None  # for both


class _HttpDecoder(ReadingDecoder):
    """One direction: the messages, one behind the other."""

    name: str
    begins: re.Pattern[bytes]  # what the beginning of a head that is not whole yet has to look like

    def __init__(self, exchange: _Exchange) -> None:
        super().__init__()
        self._exchange = exchange
        self._detail: str | None = None  # of the message whose head was read
        self._left = 0  # bytes of the body, or of the chunk in hand
        self._chunks: str = ""  # what comes next of a body in chunks: size, end, trailer
        self._endless = False

    def feed(self, data: bytes) -> list[Event]:
        if self._exchange.opaque is not None and self.opaque is None:
            self._turn_opaque(self._exchange.opaque)
        return super().feed(data)

    def eof(self) -> list[Event]:
        events: list[Event] = []
        if self._endless and self.opaque is None:
            self._end(self._offset, events)
        return events

    def _read(self, data: bytes, base: int, events: list[Event]) -> None:
        self._rest, at, size = b"", 0, len(data)
        while at < size:
            if self._exchange.opaque is not None:
                raise NotUnderstood(self._exchange.opaque)
            if self._endless:
                return
            if self._left:
                skipped = min(self._left, size - at)
                self._left -= skipped
                at += skipped
                if not self._left and not self._chunks:
                    self._end(base + at, events)
                continue
            after = self._read_chunking(data, at) if self._chunks else self._read_head(data, at, base)
            if not after:
                self._rest = data[at:]
                return
            at = after
            if self._detail is not None and not (self._left or self._chunks or self._endless):
                self._end(base + at, events)

    def _read_head(self, data: bytes, at: int, base: int) -> int:
        """Where it ends; 0 if it is not whole yet."""
        end = data.find(b"\r\n\r\n", at) + 4
        if end == 3:
            self._begins_well(data[at:])
            return 0
        if end - at > _LONGEST_HEAD:
            raise NotUnderstood("a head that is too long")
        head = self._look(data[at:end])
        if head is None:
            self.boundary = base + end
            return end
        self._detail, length = head
        self._left = max(length, 0)
        self._chunks = "size" if length == _CHUNKED else ""
        self._endless = length == _UNTIL_CLOSE
        return end

    def _begins_well(self, beginning: bytes) -> None:
        if len(beginning) > _LONGEST_HEAD:
            raise NotUnderstood("a head that is too long")
        if not self.begins.match(beginning):
            raise NotUnderstood(f"no HTTP/1.1 {self.name}: {beginning[:40]!r}")

    def _look(self, head: bytes) -> tuple[str, int] | None:
        """Detail, and length of the body or one of the two above; None for a head that tells nothing (no body)."""
        raise NotImplementedError

    def _read_chunking(self, data: bytes, at: int) -> int:
        """What lies between chunks: where it ends; 0 if it is not whole yet."""
        end = data.find(b"\r\n", at)
        if end < 0:
            if len(data) - at > _LONGEST_CHUNK_LINE:
                raise NotUnderstood("a chunk whose size is too long")
            return 0
        line = data[at:end]
        if self._chunks == "size":
            size = _CHUNK_SIZE.match(line)
            if size is None:
                raise NotUnderstood(f"no size of a chunk: {line[:40]!r}")
            self._left = int(size[1], 16)
            self._chunks = "end" if self._left else "trailer"
        elif self._chunks == "end":
            if line:
                raise NotUnderstood("a chunk that is longer than it said")
            self._chunks = "size"
        elif not line:
            self._chunks = ""
        return end + 2

    def _end(self, end: int, events: list[Event]) -> None:
        events.append(_new_event(Event, (self.name, self._detail or "", self.boundary, end)))
        self.boundary = end
        self._detail, self._endless = None, False


class Upstream(_HttpDecoder):
    """What a client says to a server."""

    name = "request"
    begins = _REQUEST_BEGINS

    def _begins_well(self, beginning: bytes) -> None:
        if beginning not in (b"\r", b"\r\n"):
            super()._begins_well(beginning.removeprefix(b"\r\n"))

    def _look(self, head: bytes) -> tuple[str, int] | None:
        known = _heads.get(head) or _look_at_request(head)
        if len(self._exchange.unanswered) >= _MOST_UNANSWERED:
            raise NotUnderstood(f"{_MOST_UNANSWERED} requests without an answer")
        self._exchange.unanswered.append(known[0])
        return known


class Downstream(_HttpDecoder):
    """What a server says to a client."""

    name = "response"
    begins = _RESPONSE_BEGINS

    def __init__(self, exchange: _Exchange, upstream: Upstream) -> None:
        super().__init__(exchange)
        self._upstream = upstream

    def _begins_well(self, beginning: bytes) -> None:
        if not b"HTTP/1.1 200 ".startswith(beginning[:9]) and not b"HTTP/1.0 200 ".startswith(beginning[:9]):
            raise NotUnderstood(f"no HTTP/1.1 response: {beginning[:40]!r}")
        if len(beginning) > 12:
            super()._begins_well(beginning)

    def _look(self, head: bytes) -> tuple[str, int] | None:
        line = _RESPONSE.match(head)
        if line is None:
            raise NotUnderstood(f"no HTTP/1.1 response: {head[:40]!r}")
        status = int(line[1])
        if status == 101:
            self._exchange.opaque = "another protocol (101)"
            raise NotUnderstood(self._exchange.opaque)
        if status < 200:
            return None
        unanswered = self._exchange.unanswered
        if not unanswered and self._upstream.opaque is not None:
            raise NotUnderstood("its requests are not understood")
        asked = unanswered.popleft() if unanswered else ""
        if asked.startswith("CONNECT ") and status < 300:
            self._exchange.opaque = "a tunnel (CONNECT)"
        bare = asked.startswith(("HEAD ", "CONNECT ")) or status in (204, 304)
        detail = f"{asked} {status}" if asked else str(status)
        return detail, 0 if bare else _length(head, otherwise=_UNTIL_CLOSE)


def _look_at_request(head: bytes) -> tuple[str, int]:
    line = _REQUEST.match(head, 2 if head.startswith(b"\r\n") else 0)
    if line is None:
        raise NotUnderstood(f"no HTTP/1.1 request: {head[:40]!r}")
    method, target = line[1].decode("latin-1"), line[2].decode("latin-1")
    if method != "CONNECT" and not target.startswith("/"):
        target = _ORIGIN.sub("", target) or "/"
    path = target.partition("?")[0].partition("#")[0]
    length = _length(head, otherwise=0)
    if length == _UNTIL_CLOSE:
        raise NotUnderstood("a request whose end is not told")
    known = f"{method} {_IDS.sub('{id}', path)}", length
    if len(head) <= _LONGEST_CACHED:
        if len(_heads) >= _MOST_CACHED:
            _heads.clear()
        _heads[head] = known
    return known


def _length(head: bytes, *, otherwise: int) -> int:
    """Of the body, by RFC 9112, 6.3."""
    lower = head.lower()
    field = lower.find(b"\r\ncontent-length:")
    if b"\r\ntransfer-encoding" in lower or (lower.find(b"\r\ncontent-length", field + 1) if field >= 0 else 0) > 0:
        return _length_of_several(lower, otherwise)
    if field < 0:
        return otherwise
    return _digits(lower[field + 17 : lower.find(b"\r", field + 17)])


def _length_of_several(lower: bytes, otherwise: int) -> int:
    """The same where more than one field tells it, or none in the usual way."""
    lengths: set[bytes] = set()
    codings = b""
    for length, coding in _FRAMING.findall(lower):
        if coding:
            codings = coding
        else:
            lengths.update(part.strip() for part in length.split(b","))
    if codings:
        return _CHUNKED if codings.rstrip().endswith(b"chunked") else _UNTIL_CLOSE
    if len(lengths) > 1:
        raise NotUnderstood(f"content-lengths {sorted(lengths)!r}")
    return _digits(lengths.pop()) if lengths else otherwise


def _digits(text: bytes) -> int:
    text = text.strip(b" \t")
    if not text.isdigit() or len(text) > 18:
        raise NotUnderstood(f"content-length {text!r}")
    return int(text)


def directions() -> tuple[Upstream, Downstream]:
    """The two decoders of a new connection."""
    exchange = _Exchange()
    upstream = Upstream(exchange)
    return upstream, Downstream(exchange, upstream)
