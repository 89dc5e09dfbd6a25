"""The proxies of one server: each listens on an address, and everything that is set of it outlives its connections."""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import Iterable
from random import Random
from typing import Any

import msgspec

from chaos.proxy.counts import Counts, Recorder
from chaos.proxy.once_more import send_once_more
from chaos.proxy.relay import Connection, Flow, reset_on_close
from chaos.proxy.toxics.stage import Attributes
from chaos.proxy.triggers import Armed, Stream

BACKLOG = 1024
ACCEPT_AGAIN_S = 0.1


class Toxic(msgspec.Struct):
    """One toxic of a proxy, as the control API shows it."""

    name: str
    type: str
    stream: Stream
    toxicity: float
    attributes: Attributes
    _draw: str = ""  # seed of what decides which connections it acts on

    def acts_on(self, connection: int) -> bool:
        """Decided once for a connection: a higher toxicity adds connections, and takes none away."""
        return self.toxicity >= 1 or Random(f"{self._draw}/{connection}").random() < self.toxicity

    def shown(self) -> dict[str, Any]:
        return {
            "attributes": msgspec.to_builtins(self.attributes),
            "name": self.name,
            "type": self.type,
            "stream": self.stream,
            "toxicity": self.toxicity,
        }


class Proxy:
    """One listener with what is done to the connections that come through it."""

    def __init__(self, name: str, *, listen: str, upstream: str, protocol: str | None, proxies: Proxies) -> None:
        self.name = name
        self.listen = listen
        self.upstream = upstream
        self._upstream = split_address(upstream)
        self.protocol = protocol
        self.seed = proxies.seed
        self.recorder = proxies.recorder
        self._proxies = proxies
        self.counts = Counts()
        self.toxics: list[Toxic] = []
        self.armed: dict[Stream, list[Armed]] = {"upstream": [], "downstream": []}
        self.holds: set[Armed] = set()  # nothing passes while there is one; of other proxies too
        self.connections: set[Connection] = set()
        self._accepted = 0
        self._connecting: set[asyncio.Task[None]] = set()
        self._listener: socket.socket | None = None

    # --- on and off -------------------------------------------------------------------------------------------------

    @property
    def enabled(self) -> bool:
        return self._listener is not None

    def enable(self) -> None:
        """Listen. Raises OSError if the address is taken."""
        if self._listener is not None:
            return
        host, port = split_address(self.listen)
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, socket.SOCK_STREAM)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.setblocking(False)
            listener.bind(address)
            listener.listen(BACKLOG)
        except OSError:
            listener.close()
            raise
        self._listener = listener
        self.listen = (
            f"{self.listen.rpartition(':')[0] or host}:{listener.getsockname()[1]}"  # any port becomes this one
        )
        self._listen()

    def _listen(self) -> None:
        if self._listener is not None:
            asyncio.get_running_loop().add_reader(self._listener, self._accept)

    def disable(self) -> None:
        """Refuse new connections, and drop those that are open."""
        if self._listener is None:
            return
        asyncio.get_running_loop().remove_reader(self._listener)
        self._listener.close()
        self._listener = None
        for task in self._connecting:
            task.cancel()
        for connection in list(self.connections):
            connection.drop()

    def reset_toxics_and_triggers(self) -> None:
        """Nothing is done to its connections any more. They stay (but for those of the toxic ``timeout``)."""
        for toxic in list(self.toxics):
            self.remove_toxic(toxic)
        for armed in self.triggers:
            self.disarm(armed)

    def lead_elsewhere(self, *, listen: str, upstream: str, protocol: str | None) -> None:
        """Disabled afterwards, with its connections dropped."""
        self.disable()
        self.listen, self.upstream, self.protocol = listen, upstream, protocol
        self._upstream = split_address(upstream)

    # --- connections ------------------------------------------------------------------------------------------------

    def _accept(self) -> None:
        """Take all that wait, each to a short task that connects it to the upstream."""
        while self._listener is not None:
            try:
                client, _ = self._listener.accept()
            except BlockingIOError:
                return
            except OSError as error:  # most likely too many files are open: it would be so again at once
                print(f"chaos.proxy: {self.name} cannot accept: {error}", file=sys.stderr, flush=True)
                loop = asyncio.get_running_loop()
                loop.remove_reader(self._listener)
                loop.call_later(ACCEPT_AGAIN_S, self._listen)
                return
            client.setblocking(False)
            self._accepted += 1
            self.counts.connections += 1
            task = asyncio.get_running_loop().create_task(self._connect(client, self._accepted))
            self._connecting.add(task)
            task.add_done_callback(self._connecting.discard)

    async def _connect(self, client: socket.socket, number: int) -> None:
        loop = asyncio.get_running_loop()
        connection = Connection(self, number)
        host, port = self._upstream
        try:
            await loop.create_connection(lambda: connection.server, host, port)
            await loop.connect_accepted_socket(lambda: connection.client, client)
        except BaseException as error:
            connection.drop()
            if client.fileno() != -1:  # else its transport has closed it already
                reset_on_close(client)  # refused there, so refused here: a client must not take it for a good one
                client.close()
            if isinstance(error, OSError):
                self.counts.refused += 1
                return
            raise
        self.connections.add(connection)
        connection.start()

    def _flows(self, stream: Stream) -> list[Flow]:
        return [connection.flow(stream) for connection in self.connections]  # a copy: it may lose some on the way

    def send_once_more(self, request: bytes) -> None:
        """A request over a connection of its own, whose answer nobody gets."""
        task = asyncio.get_running_loop().create_task(send_once_more(*self._upstream, request))
        self._connecting.add(task)
        task.add_done_callback(self._connecting.discard)

    # --- toxics -----------------------------------------------------------------------------------------------------

    def toxic(self, name: str) -> Toxic | None:
        return next((toxic for toxic in self.toxics if toxic.name == name), None)

    def add_toxic(self, toxic: Toxic) -> None:
        toxic._draw = f"{self.seed}/{self.name}/{toxic.name}"
        self.toxics.append(toxic)
        self.update_toxic(toxic, toxic.attributes, toxic.toxicity)

    def update_toxic(self, toxic: Toxic, attributes: Attributes, toxicity: float) -> None:
        """At once, also for what it holds at this moment."""
        toxic.attributes, toxic.toxicity = attributes, toxicity
        for flow in self._flows(toxic.stream):
            flow.toxic_changed(toxic)

    def remove_toxic(self, toxic: Toxic) -> None:
        self.toxics.remove(toxic)
        for flow in self._flows(toxic.stream):
            flow.toxic_removed(toxic)

    # --- triggers ---------------------------------------------------------------------------------------------------

    @property
    def triggers(self) -> list[Armed]:
        return [*self.armed["upstream"], *self.armed["downstream"]]

    def trigger(self, name: str) -> Armed | None:
        return next((armed for armed in self.triggers if armed.trigger.name == name), None)

    def arm(self, armed: Armed) -> None:
        self.armed[armed.trigger.stream].append(armed)
        for flow in self._flows(armed.trigger.stream):
            flow.tap.look_around()

    def hold(self, armed: Armed) -> None:
        """Let nothing pass, here and through the others that it names."""
        for proxy in self._proxies.held_by(self, armed):
            proxy.holds.add(armed)
            for connection in proxy.connections:
                for flow in connection.flows:
                    flow.tap.block(armed)

    def disarm(self, armed: Armed) -> None:
        """Act no more, and let go of what is held up."""
        armed.disarmed = True
        self.armed[armed.trigger.stream].remove(armed)
        for proxy in self._proxies.held_by(self, armed):
            proxy.holds.discard(armed)
            for connection in list(proxy.connections):
                for flow in connection.flows:
                    flow.tap.unblock(armed)

    def shown(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "listen": self.listen,
            "upstream": self.upstream,
            "enabled": self.enabled,
            "protocol": self.protocol,
            "toxics": [toxic.shown() for toxic in self.toxics],
        }


class Proxies(dict[str, Proxy]):
    """All of them, by name."""

    def __init__(self, seed: str) -> None:
        super().__init__()
        self.seed = seed
        self.recorder = Recorder()

    def make(self, name: str, *, listen: str, upstream: str, protocol: str | None) -> Proxy:
        """A new one, in the place of the one of that name. It does not listen yet."""
        self.remove(name)
        self[name] = Proxy(name, listen=listen, upstream=upstream, protocol=protocol, proxies=self)
        return self[name]

    def remove(self, name: str) -> None:
        proxy = self.pop(name, None)
        if proxy is not None:
            for armed in proxy.triggers:
                proxy.disarm(armed)
            proxy.disable()

    def held_by(self, proxy: Proxy, armed: Armed) -> Iterable[Proxy]:
        return {proxy, *(self[name] for name in armed.trigger.hold if name in self)}


def split_address(address: str) -> tuple[str, int]:
    """``host:port``; an empty host is the loopback. Raises ValueError that says what is wrong."""
    host, separator, port = address.rpartition(":")
    if not separator or not port.isdecimal() or int(port) > 65535:
        raise ValueError(f"an address is HOST:PORT, not {address!r}")
    return host.strip("[]") or "127.0.0.1", int(port)
