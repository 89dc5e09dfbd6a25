"""AMQP 0-9-1: frames as events. https://www.rabbitmq.com/resources/specs/amqp0-9-1.pdf

A message is a method frame, a header frame and body frames of one channel. Bodies and properties are counted down, not
looked at. Where frames of several channels lie within each other, the events of such a knot share its two ends: the
first has all its bytes, the others lie empty at its end.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

from chaos.proxy.wire.amqp_channels import Channels
from chaos.proxy.wire.amqp_methods import METHODS
from chaos.proxy.wire.events import Edit, Event
from chaos.proxy.wire.opaque import NotUnderstood, ReadingDecoder

_GREETING = b"AMQP\x00\x00\x09\x01"
_METHOD, _HEADER, _BODY, _HEARTBEAT, _END = 1, 2, 3, 8, 0xCE
_FRAME = struct.Struct(">BHI")  # type, channel, length
_CONTENT_HEADER = struct.Struct(">BHIHHQ")  # the same and class, weight, size of the body
_CODE = struct.Struct(">I")  # class and method
_TAG = struct.Struct(">QB")  # delivery tag, flags
_SETTLING = struct.Struct(">BHIIQBB")  # a whole frame of basic.ack or basic.nack

_LOOKED_AT = 1024  # longer than any method whose arguments are of interest can be
_LONGEST_FRAME = 1 << 27
_LONGEST_KEPT = 1 << 16
_MOST_KNOWN = 1_000  # frames and names
_IDS = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}|(?<=amq\.gen-)[\w-]+")

_PUBLISH, _RETURN, _DELIVER, _GET_OK = 0x3C0028, 0x3C0032, 0x3C003C, 0x3C0047
_ACK, _REJECT, _NACK = 0x3C0050, 0x3C005A, 0x3C0078
_OF_INTEREST = {_PUBLISH, _RETURN, _DELIVER, _GET_OK, _ACK, _REJECT, _NACK}
_CHANNEL_OPEN, _CONFIRM_SELECT = 0x14000A, 0x55000A

_new_event: Callable[[Any, tuple[str, str, int, int]], Event] = tuple.__new__


def _end_of_content(data: bytes, at: int, number: int) -> int:
    """Where a message ends whose header is there; 0 if not all of it is, in one frame each and as it should be."""
    size = len(data)
    if size - at < 29:
        return 0
    kind, of, length, family, _, body = _CONTENT_HEADER.unpack_from(data, at)
    first = at + 8 + length
    end: int = first + 8 + body if body else first
    if end > size or kind != _HEADER or of != number or family != 60 or length < 14 or data[first - 1] != _END:
        return 0
    if body and (data[end - 1] != _END or _FRAME.unpack_from(data, first) != (_BODY, number, body)):
        return 0
    return end


class _Content:
    """A message that is on its way."""

    __slots__ = ("channel", "detail", "header", "left", "name", "start", "tag")

    def __init__(self, channel: int, name: str, detail: str, start: int) -> None:
        self.channel, self.name, self.detail, self.start = channel, name, detail, start
        self.tag = 0
        self.left = -1  # bytes of its body; -1: its header has not come
        self.header = b""


class _Told(NamedTuple):
    """An event whose end is not known yet."""

    name: str
    detail: str
    start: int
    channel: int


class _AmqpDecoder(ReadingDecoder):
    """One direction: the frames."""

    contents: ClassVar[dict[int, str]]  # methods that messages follow, and how they are called

    def __init__(self, channels: Channels) -> None:
        super().__init__()
        self._channels = channels
        self._greeted = False
        self._left = 0  # bytes of the frame in hand that need no looking at, with its end
        self._ended: _Told | None = None  # what has happened when the frame in hand ends
        self._open: dict[int, _Content] = {}
        self._knot: list[_Told] = []
        self._details: dict[bytes, str] = {}

    def _read(self, data: bytes, base: int, events: list[Event]) -> None:
        self._rest, at, size = b"", 0, len(data)
        if not self._greeted:
            at = self._greeting(data, base, events)
        while at < size:
            if self._left:
                if size - at < self._left:
                    self._left -= size - at
                    return
                at += self._left
                self._left = 0
                if data[at - 1] != _END:
                    raise NotUnderstood("a frame that does not end as frames do")
                if self._ended is not None:
                    ended, self._ended = self._ended, None
                    self._tell(ended, base + at, events)
            if not self._open:
                at = self._read_whole(data, at, base, events)
            if at < size and not self._look(data, at, base):
                self._rest = data[at:]
                return

    def _greeting(self, data: bytes, base: int, events: list[Event]) -> int:
        """The client's first bytes; also those of a broker that wants another version."""
        if data[:4] == b"AMQP"[: len(data)]:
            if len(data) < 8:
                self._rest = data
                return len(data)
            if data[:8] != _GREETING:
                raise NotUnderstood(f"AMQP {data[5]}.{data[6]}.{data[7]} (protocol {data[4]})")
            events.append(Event("protocol-header", "", base, base + 8))
            self.boundary = base + 8
            self._greeted = True
            return 8
        if data[0] == 0x16:
            raise NotUnderstood("TLS")
        if data[0] != _METHOD:
            raise NotUnderstood("it does not begin as AMQP does")
        self._greeted = True
        return 0

    def _read_whole(self, data: bytes, at: int, base: int, events: list[Event]) -> int:
        """A short way for what is frequent, and all there: where it ends. What it does not take, ``_look`` does."""
        raise NotImplementedError

    def _look(self, data: bytes, at: int, base: int) -> bool:
        """Look at the beginning of a frame; whether enough of it was there."""
        there = len(data) - at
        if there < 7:
            return False
        kind, number, length = _FRAME.unpack_from(data, at)
        if length > _LONGEST_FRAME:
            raise NotUnderstood(f"a frame of {length} bytes")
        if kind == _METHOD:
            if there < min(length + 8, _LOOKED_AT):
                return False
            payload = data[at + 7 : at + 7 + min(length, _LOOKED_AT - 7)]
            try:
                self._look_at_method(payload, number, base + at, base + at + length + 8)
            except (IndexError, struct.error):
                raise NotUnderstood(f"a method that is cut short: {payload[:64]!r}") from None
        elif kind == _HEADER:
            if length < 14:
                raise NotUnderstood(f"a header of {length} bytes")
            kept = length if self.editing and length <= _LONGEST_KEPT else 14
            if there < 7 + kept:
                return False
            self._look_at_header(data[at + 7 : at + 7 + kept], number)
        elif kind == _BODY:
            content = self._open.get(number)
            if content is None or content.left < length:
                raise NotUnderstood("a body of no message")
            content.left -= length
            if not content.left:
                self._ended = _Told(content.name, content.detail, content.start, number)
        elif kind == _HEARTBEAT and not length:
            self._ended = _Told("heartbeat", "", base + at, -1)
        else:
            raise NotUnderstood(f"a frame of type {kind} and {length} bytes")
        self._left = length + 8
        return True

    def _look_at_method(self, payload: bytes, number: int, start: int, end: int) -> None:
        code = _CODE.unpack_from(payload)[0] if len(payload) >= 4 else 0
        if code not in METHODS:
            raise NotUnderstood(f"method {code >> 16}.{code & 0xFFFF}")
        if number in self._open:
            raise NotUnderstood(f"{METHODS[code]} within a message")
        if code in _OF_INTEREST and end - start != len(payload) + 8:
            raise NotUnderstood(f"{METHODS[code]} of {end - start} bytes")
        name = self.contents.get(code)
        if name is None:
            self._ended = self._method(code, payload, number, start, end)
            return
        detail, tag = self._message(code, payload)
        self._open[number] = content = _Content(number, name, detail, start)
        content.tag = tag

    def _look_at_header(self, payload: bytes, number: int) -> None:
        content = self._open.get(number)
        if content is None or content.left != -1:
            raise NotUnderstood("a header of no message")
        content.left = int.from_bytes(payload[4:12])
        content.header = payload
        if not content.left:
            self._ended = _Told(content.name, content.detail, content.start, number)

    def _tell(self, told: _Told, end: int, events: list[Event]) -> None:
        content = self._open.pop(told.channel, None)
        if content is not None and content.tag:
            self._channels[told.channel].delivered(content.tag, content.detail)
        if self._open:
            self._knot.append(told)
            return
        if not self._knot:
            events.append(event := Event(told.name, told.detail, told.start, end))
            self._happened(event, told.channel, content)
        else:
            start = self.boundary
            for one in sorted([*self._knot, told], key=lambda one: one.start):
                events.append(event := Event(one.name, one.detail, start, end))
                start = end
                self._happened(event, one.channel, None)
            self._knot = []
        self.boundary = end

    def _method(self, code: int, payload: bytes, number: int, start: int, end: int) -> _Told:
        """What a method says that no message follows."""
        raise NotImplementedError

    def _message(self, code: int, payload: bytes) -> tuple[str, int]:
        """What message it is (detail, delivery tag), by the method that begins it."""
        raise NotImplementedError

    def _happened(self, event: Event, number: int, content: _Content | None) -> None:
        """A method, or a message, has ended (of a knot: without content)."""

    def _detail(self, payload: bytes, at: int) -> str:
        """``EXCHANGE/ROUTING_KEY``, which are the two short strings there. Looked up: texts are made once."""
        middle = at + 1 + payload[at]
        after = middle + 1 + payload[middle]
        key = payload[at:after]
        detail = self._details.get(key)
        if detail is None:
            if len(payload) < after:
                raise NotUnderstood("a name that is longer than its method")
            text = (payload[at + 1 : middle] + b"/" + payload[middle + 1 : after]).decode(errors="replace")
            if len(self._details) >= _MOST_KNOWN:
                self._details.clear()
            detail = self._details[key] = _IDS.sub("{id}", text)
        return detail


class Upstream(_AmqpDecoder):
    """What a client says to a broker."""

    contents: ClassVar = {_PUBLISH: "publish"}

    def __init__(self, channels: Channels, downstream: Downstream) -> None:
        super().__init__(channels)
        self._downstream = downstream
        self._known: dict[bytes, tuple[int, str]] = {}  # frame of a publish's method → channel, detail
        self._like = b"\xff"  # the latest of them: the next is mostly equal

    def duplicated(self, event: Event) -> None:
        if event.name == "publish" and self._channels.sent_twice(event):
            self._downstream.editing = self._downstream.opaque is None

    def _read_whole(self, data: bytes, at: int, base: int, events: list[Event]) -> int:
        starts, size, began = data.startswith, len(data), at
        like = self._like
        number, detail = self._known.get(like, (0, ""))
        channel = self._channels[number]
        while True:
            if not starts(like, at):
                if size - at < 21:
                    break
                kind, of, length, code, tag, flags, last = _SETTLING.unpack_from(data, at)
                if kind != _METHOD:
                    break
                if code == _ACK and length == 13 and last == _END:
                    settled = self._channels[of].acked(tag, multiple=bool(flags & 1))
                    events.append(_new_event(Event, ("ack", settled, base + at, base + at + 21)))
                    at += 21
                    continue
                frame = data[at : at + length + 8] if length <= _LOOKED_AT else b""
                if frame not in self._known:
                    break
                self._like = like = frame
                number, detail = self._known[like]
                channel = self._channels[number]
            end = _end_of_content(data, at + len(like), number)
            if not end:
                break
            event = _new_event(Event, ("publish", detail, base + at, base + end))
            events.append(event)
            if channel.confirming:
                channel.published(event)
            at = end
        if at != began:
            self.boundary = base + at
        return at

    def _message(self, code: int, payload: bytes) -> tuple[str, int]:
        return self._detail(payload, 6), 0

    def _look_at_method(self, payload: bytes, number: int, start: int, end: int) -> None:
        super()._look_at_method(payload, number, start, end)
        if payload.startswith(b"\x00\x3c\x00\x28"):
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            self._like = _FRAME.pack(_METHOD, number, len(payload)) + payload + bytes([_END])
            self._known[self._like] = number, self._open[number].detail

    def _method(self, code: int, payload: bytes, number: int, start: int, end: int) -> _Told:
        if code in (_ACK, _NACK, _REJECT):
            tag, flags = _TAG.unpack_from(payload, 4)
            detail = self._channels[number].acked(tag, multiple=code != _REJECT and bool(flags & 1))
            return _Told(METHODS[code].removeprefix("basic."), detail, start, -1)
        if code == _CHANNEL_OPEN:
            self._channels.reset(number)
        elif code == _CONFIRM_SELECT:
            self._channels[number].confirming = True
        return _Told(METHODS[code], "", start, -1)

    def _happened(self, event: Event, number: int, content: _Content | None) -> None:
        if event.name == "publish" and self._channels[number].confirming:
            self._channels[number].published(event)


class Downstream(_AmqpDecoder):
    """What a broker says to a client."""

    contents: ClassVar = {_DELIVER: "deliver", _RETURN: "return", _GET_OK: "basic.get-ok"}

    def __init__(self, channels: Channels) -> None:
        super().__init__(channels)
        self._known: dict[tuple[bytes, bytes], tuple[int, str]] = {}
        # The latest deliver's frame, before and behind its delivery tag: the next is mostly equal.
        self._like = (b"\xff", b"\xff")

    def _read_whole(self, data: bytes, at: int, base: int, events: list[Event]) -> int:
        starts, size, began = data.startswith, len(data), at
        like, behind = self._like
        number, detail = self._known.get(self._like, (0, ""))
        channel = self._channels[number]
        while True:
            tag_at = at + len(like)
            if not (starts(like, at) and starts(behind, tag_at + 8)):
                if size - at < 21:
                    break
                kind, of, length, code, tag, flags, last = _SETTLING.unpack_from(data, at)
                if kind != _METHOD:
                    break
                if code == _ACK and length == 13 and last == _END and not self.editing:
                    settled = self._channels[of].confirmed(tag, multiple=bool(flags & 1))
                    events.append(_new_event(Event, ("confirm", settled, base + at, base + at + 21)))
                    at += 21
                    continue
                tag_at = at + 12 + data[at + 11]
                frame = (data[at:tag_at], data[tag_at + 8 : at + length + 8]) if length <= _LOOKED_AT else (b"", b"")
                if frame not in self._known:
                    break
                self._like = like, behind = frame
                number, detail = self._known[frame]
                channel = self._channels[number]
            end = _end_of_content(data, tag_at + 8 + len(behind), number)
            if not end:
                break
            events.append(_new_event(Event, ("deliver", detail, base + at, base + end)))
            channel.delivered(int.from_bytes(data[tag_at : tag_at + 8]), detail)
            at = end
        if at != began:
            self.boundary = base + at
        return at

    def _message(self, code: int, payload: bytes) -> tuple[str, int]:
        if code == _RETURN:
            return self._detail(payload, 7 + payload[6]), 0
        at = 5 + payload[4] if code == _DELIVER else 4
        return self._detail(payload, at + 9), int.from_bytes(payload[at : at + 8])

    def _look_at_method(self, payload: bytes, number: int, start: int, end: int) -> None:
        super()._look_at_method(payload, number, start, end)
        if payload.startswith(b"\x00\x3c\x00\x3c"):
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            tag_at = 5 + payload[4]
            before = _FRAME.pack(_METHOD, number, len(payload)) + payload[:tag_at]
            self._like = before, payload[tag_at + 8 :] + bytes([_END])
            self._known[self._like] = number, self._open[number].detail

    def _method(self, code: int, payload: bytes, number: int, start: int, end: int) -> _Told:
        if code not in (_ACK, _NACK):
            return _Told(METHODS[code], "", start, -1)
        tag, flags = _TAG.unpack_from(payload, 4)
        multiple = bool(flags & 1)
        channel = self._channels[number]
        if self.editing and channel.copies:
            wanted = channel.as_client_counts(tag, multiple=multiple)
            detail = channel.detail_of_copy(tag) if wanted is None else channel.confirmed(wanted, multiple=multiple)
            if wanted is None:
                self.edits.append(Edit(start, end, b""))
            elif wanted != tag:
                edited = _SETTLING.pack(_METHOD, number, len(payload), code, wanted, flags, _END)
                self.edits.append(Edit(start, end, edited))
        else:
            detail = channel.confirmed(tag, multiple=multiple)
        return _Told("confirm" if code == _ACK else "refuse", detail, start, -1)

    def _happened(self, event: Event, number: int, content: _Content | None) -> None:
        if not self.editing or content is None or event.name != "return":
            return
        if self._channels[number].returned_twice(content.detail, content.header):
            self.edits.append(Edit(event.start, event.end, b""))


def directions() -> tuple[Upstream, Downstream]:
    """The two decoders of a new connection."""
    channels = Channels()
    downstream = Downstream(channels)
    return Upstream(channels, downstream), downstream
