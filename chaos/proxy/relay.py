"""One connection: two sockets and two directions between them. No task, no copy, no timer of its own."""

from __future__ import annotations

import array
import asyncio
import fcntl
import socket
import struct
from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING, cast

from chaos.proxy.tap import Tap
from chaos.proxy.toxics import KINDS
from chaos.proxy.toxics.stage import End, Sink, Stage
from chaos.proxy.triggers import Stream
from chaos.proxy.wire import decoders
from chaos.proxy.wire.events import Decoder

if TYPE_CHECKING:
    from chaos.proxy.proxies import Proxy, Toxic

RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER of zero seconds
HIGH_WATER = 256 << 10
FLUSH_MOST_S = 1.0
"""A receiver that takes nothing for so long is not waited for."""
SIOCOUTQNSD = 0x894B
"""Linux's request for the bytes of a socket that have not been sent yet (linux/sockios.h)."""


class Connection:
    """A client's socket (``client``) and ours to the upstream (``server``)."""

    def __init__(self, proxy: Proxy, number: int) -> None:
        self.proxy = proxy
        self.number = number
        self.client, self.server = Side(self), Side(self)
        up, down = decoders(proxy.protocol)
        self.upstream = Flow(self, "upstream", self.client, self.server, up)
        self.downstream = Flow(self, "downstream", self.server, self.client, down)

    @property
    def flows(self) -> tuple[Flow, Flow]:
        return self.upstream, self.downstream

    def flow(self, stream: Stream) -> Flow:
        return self.upstream if stream == "upstream" else self.downstream

    def start(self) -> None:
        """Both sockets are there."""
        for flow in self.flows:
            flow.start()

    def lost(self, side: Side, broken: bool) -> None:
        """One of the sockets is gone. What it had said before still goes its way to the other."""
        side.gone = True
        side.into.die()
        if not side.out.ended:
            side.out.end(End.RESET if broken else End.HALF)
        elif broken:
            side.peer.reset()
        self.look()

    def look(self) -> None:
        """Close what is left when neither direction has anything to say any more."""
        if self.upstream.ended and self.downstream.ended:
            for side in (self.client, self.server):
                side.close()
        if self.client.gone and self.server.gone:
            self.proxy.connections.discard(self)

    def drop(self) -> None:
        """End both sockets now, whatever is on its way."""
        self._die(Side.abort)

    def reset(self) -> None:
        """End both sockets with RST now, whatever is on its way."""
        self._die(Side.reset)

    def _die(self, end: Callable[[Side], None]) -> None:
        for side in (self.client, self.server):
            end(side)
        for flow in self.flows:
            flow.die()
        self.look()


class Side(asyncio.Protocol):
    """One socket of a connection: what comes goes into ``out``, what is to be sent comes from ``into``."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.transport: asyncio.Transport | None = None
        self.gone = False
        self.out: Flow
        self.into: Flow
        self._closed = False  # for writing

    @property
    def peer(self) -> Side:
        return self.out.destination

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.transport.set_write_buffer_limits(HIGH_WATER)
        if self.gone:  # dropped while it was made
            self.transport.abort()

    def data_received(self, data: bytes) -> None:
        self.out.entry(data)

    def eof_received(self) -> bool:
        self.out.end(End.HALF)
        return True  # the other direction may go on

    def pause_writing(self) -> None:
        self.into.pause(self)

    def resume_writing(self) -> None:
        self.into.resume(self)

    def connection_lost(self, error: Exception | None) -> None:
        self._closed = True
        if not self.gone:
            self.connection.lost(self, broken=error is not None)

    def write(self, data: bytes) -> None:
        if not self._closed and self.transport is not None:
            self.transport.write(data)

    def write_eof(self) -> None:
        if not self._closed and self.transport is not None:
            self._closed = True
            self.transport.write_eof()

    def close(self) -> None:
        """In order: what has been written is sent first."""
        self._closed = True
        if not self.gone and self.transport is not None:
            self.transport.close()

    def abort(self) -> None:
        self._closed = True
        if not self.gone and self.transport is not None:
            self.transport.abort()
        self.gone = True

    def reset(self) -> None:
        if not self.gone and self.transport is not None:
            reset_on_close(self.transport.get_extra_info("socket"))
        self.abort()

    def when_flushed(self, then: Callable[[], None]) -> None:
        """Call ``then`` when the kernel has sent all that was written here (a RST overtakes it), or nobody reads it."""
        loop = asyncio.get_running_loop()
        before, since = -1, loop.time()

        def look() -> None:
            nonlocal before, since
            left = 0 if self.gone or self.transport is None else self._unsent(self.transport)
            if left != before:
                before, since = left, loop.time()
            if left and loop.time() < since + FLUSH_MOST_S:
                loop.call_later(0.001, look)
            else:
                then()

        look()

    def _unsent(self, transport: asyncio.Transport) -> int:
        return transport.get_write_buffer_size() + unsent(transport.get_extra_info("socket"))


class Flow:
    """One direction: from a socket through the toxics and the tap to the other socket."""

    def __init__(
        self, connection: Connection, stream: Stream, source: Side, destination: Side, decoder: Decoder
    ) -> None:
        self.connection = connection
        self.proxy = connection.proxy
        self.number = connection.number
        self.stream = stream
        self.source = source
        self.destination = destination
        source.out = self
        destination.into = self
        self.ended = False
        self._ending = False
        self._broken = False
        self._dead = False
        self._pauses: set[object] = set()
        self.stages: list[Stage] = []
        self._names: list[str] = []
        self.tap = Tap(self, decoder, destination.write)
        self._started = False
        self._early: list[bytes] = []
        self._early_end: End | None = None
        self.entry: Callable[[bytes], None] = self._too_early

    # --- its beginning ----------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Both sockets are there, and what is set of the proxy now holds for this direction."""
        if self._dead:
            return
        self._started = True
        self.entry = self.tap.feed
        for why in self.proxy.holds:
            self.tap.block(why)
        for toxic in self.proxy.toxics:
            if toxic.stream == self.stream and toxic.acts_on(self.number):
                self._add(toxic).started(live=False)
        for data in self._early:
            self.entry(data)
        self._early.clear()
        self.resume(self)
        if self._early_end is not None:
            self.end(self._early_end)

    def _too_early(self, data: bytes) -> None:
        """One socket speaks before the other is there."""
        self._early.append(data)
        self.pause(self)

    # --- toxics -----------------------------------------------------------------------------------------------------

    def toxic_changed(self, toxic: Toxic) -> None:
        """It was added, or has other attributes, or acts on more or fewer connections than before."""
        if self._dead or not self._started:
            return
        acts = toxic.acts_on(self.number)
        there = toxic.name in self._names
        if acts and there:
            self.stages[self._names.index(toxic.name)].updated(toxic.attributes)
        elif acts:
            self._add(toxic).started(live=True)
        elif there:
            self.toxic_removed(toxic)

    def toxic_removed(self, toxic: Toxic) -> None:
        if self._dead or toxic.name not in self._names:
            return
        place = self._names.index(toxic.name)
        stage = self.stages.pop(place)
        self._names.pop(place)
        self._link()
        stage.removed()

    def _add(self, toxic: Toxic) -> Stage:
        """At the end, as in Toxiproxy: what earlier toxics hold will go through it as well."""
        random = Random(f"{self.proxy.seed}/{self.proxy.name}/{toxic.name}/{self.number}")
        acted = self.proxy.counts.toxics[toxic.name]
        stage = KINDS[toxic.type](toxic.attributes, self, acted, random)
        self.stages.append(stage)
        self._names.append(toxic.name)
        self._link()
        return stage

    def _link(self) -> None:
        sinks: list[Sink] = [*self.stages, self.tap]
        for stage, following in zip(self.stages, sinks[1:], strict=True):
            stage.next = following
        self.entry = sinks[0].feed

    # --- its end ----------------------------------------------------------------------------------------------------

    def end(self, how: End) -> None:
        """The source says no more. That goes through the toxics behind its last byte."""
        self._broken = self._broken or how is End.RESET
        if not self._started:
            self._early_end = how
        elif not self._ending:
            self._ending = True
            first: Sink = self.stages[0] if self.stages else self.tap
            first.finish(how)

    def ended_with(self, how: End) -> None:
        """The end has come out of the tap."""
        if self.ended:
            return
        self.ended = True
        if self._broken:
            self.destination.reset()
        elif how is End.CLOSE:
            self.destination.close()
        else:
            self.destination.write_eof()
        self.connection.look()

    def die(self) -> None:
        """Nothing can be delivered any more."""
        self.ended = self._ending = self._dead = True
        self.entry = _discard
        for stage in self.stages:
            stage.dropped()
        self.tap.drop()
        self.resume_all()

    def cut(self, done: Callable[[], None]) -> None:
        """Reset both ends as soon as all that has been passed on so far has left."""

        def cut() -> None:
            self.connection.reset()
            done()

        for flow in self.connection.flows:
            flow.tap.block(cut)
        self.destination.when_flushed(cut)

    def reset(self) -> None:
        self.connection.reset()

    # --- back-pressure ----------------------------------------------------------------------------------------------

    def pause(self, why: object) -> None:
        """Read no more from the source until ``resume`` is called for the same reason."""
        if self._dead:
            return
        self._pauses.add(why)
        source = self.source  # each time anew: uvloop begins to read after connection_made, whatever was said before
        if source.transport is not None and not source.gone:
            source.transport.pause_reading()

    def resume(self, why: object) -> None:
        if why in self._pauses:
            self._pauses.discard(why)
            if not self._pauses:
                self.resume_all()

    def resume_all(self) -> None:
        self._pauses.clear()
        source = self.source
        if source.transport is not None and not source.gone and not source.transport.is_closing():
            source.transport.resume_reading()


def reset_on_close(sock: socket.socket) -> None:
    """Let the socket's end be a RST, not a FIN."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)


def unsent(sock: socket.socket) -> int:
    """Bytes of the socket that the kernel has not sent yet, for the receiver's window is full."""
    size = array.array("i", [0])
    fcntl.ioctl(sock.fileno(), SIOCOUTQNSD, size)
    return size[0]


def _discard(_: bytes) -> None:
    """Where the bytes of a dead direction go."""
