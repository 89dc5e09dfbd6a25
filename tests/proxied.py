"""What the tests of the fault proxy share: a server of either kind, an upstream, pairs of sockets through a proxy."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from itertools import count
from typing import Any, Literal, NamedTuple

import httpx
import toxiproxy

from chaos.proxy.client import FaultProxy
from harness.environment.ports import PortLease
from harness.environment.servers import look_around
from harness.environment.waiting import Hopeless, eventually
from harness.target import PROJECT_ROOT

Kind = Literal["ours", "toxiproxy-server"]
WITHIN_S = 20.0
"""How long a test waits for what must come. Nothing passes or fails by it but what never comes."""
LONG_MS = 600_000
"""A delay that no test waits for: what arrives nevertheless was let go."""


class Pair(NamedTuple):
    """The two ends of one connection through a proxy."""

    client: socket.socket
    server: socket.socket

    def towards(self, stream: str) -> tuple[socket.socket, socket.socket]:
        """Who sends and who receives on a stream."""
        return (self.client, self.server) if stream == "upstream" else (self.server, self.client)


class Through(NamedTuple):
    """A proxy with an upstream of ours behind it."""

    name: str
    address: tuple[str, int]
    upstream: socket.socket
    api: ProxyServer

    @property
    def path(self) -> str:
        return f"/proxies/{self.name}"

    def pair(self) -> Pair:
        """A new connection. (The proxy connects to the upstream by itself, so the other end is there already.)"""
        client = self.dial()
        server, _ = self.upstream.accept()
        return Pair(client, self.api.kept(server))

    def dial(self) -> socket.socket:
        return self.api.kept(socket.create_connection(self.address, timeout=WITHIN_S))

    def add(self, kind: str, stream: str = "downstream", *, toxicity: float = 1.0, **attributes: int) -> str:
        """Add a toxic, and return its path."""
        body = {"type": kind, "stream": stream, "toxicity": toxicity, "attributes": attributes}
        answer = self.api.ask("POST", f"{self.path}/toxics", body)
        assert answer.status_code == 200, answer.text
        return f"{self.path}/toxics/{answer.json()['name']}"

    def enable(self, enabled: bool) -> None:
        assert self.api.ask("POST", self.path, {"enabled": enabled}).status_code == 200


class ProxyServer:
    """A running server of either kind, and all that a test has made through it."""

    _numbers = count(1)

    def __init__(self, kind: Kind, url: str, process: subprocess.Popen[bytes]) -> None:
        self.kind = kind
        self.url = url
        self.process = process
        self._made = ExitStack()

    @property
    def ours(self) -> bool:
        return self.kind == "ours"

    def ask(self, method: str, path: str, json: Any = None, **more: Any) -> httpx.Response:
        with httpx.Client(trust_env=False, verify=False, timeout=WITHIN_S) as client:
            return client.request(method, f"{self.url}{path}", json=json, **more)

    def toxiproxy(self) -> Any:
        """toxiproxy-python, led to this server."""
        FaultProxy(self.url)
        return toxiproxy.Toxiproxy()

    def kept(self, sock: socket.socket) -> socket.socket:
        sock.settimeout(WITHIN_S)
        self._made.callback(sock.close)
        return sock

    def listener(self) -> socket.socket:
        return self.kept(socket.create_server(("127.0.0.1", 0), backlog=512))

    def name(self) -> str:
        return f"proxy-{next(self._numbers)}"

    def through(self, **fields: Any) -> Through:
        """A new proxy with an upstream of its own."""
        upstream, name = self.listener(), fields.get("name") or self.name()
        body = {"name": name, "listen": "127.0.0.1:0", "upstream": address_of(upstream), **fields}
        answer = self.ask("POST", "/proxies", body)
        assert answer.status_code == 201, answer.text
        self._made.callback(self.ask, "DELETE", f"/proxies/{name}")
        return Through(name, split(answer.json()["listen"]), upstream, self)

    def forget(self) -> None:
        """Remove all that was made since."""
        self._made.close()


@contextmanager
def running(kind: Kind, *options: str) -> Iterator[ProxyServer]:
    """A server for the duration of the block."""
    with closing(PortLease()) as lease, _started(kind, lease.take(), options) as server:
        yield server  # on a port that no connection can take before the server does


@contextmanager
def _started(kind: Kind, port: int, options: Sequence[str]) -> Iterator[ProxyServer]:
    address = ["-host", "127.0.0.1", "-port", str(port)]
    argv = [sys.executable, "-m", "chaos.proxy", *address, *options] if kind == "ours" else [*_theirs(), *address]
    environment = {"PATH": "/usr/bin:/bin", "LOG_LEVEL": "fatal"}
    process = subprocess.Popen(argv, cwd=PROJECT_ROOT, env=environment, stdout=subprocess.DEVNULL)
    server = ProxyServer(kind, f"http://127.0.0.1:{port}", process)

    def up() -> bool:
        if process.poll() is not None:
            raise Hopeless(f"{kind} ended with {process.returncode}")
        return server.ask("GET", "/version").status_code == 200

    try:
        eventually(up, within_s=WITHIN_S, describe=f"{kind} answers")
        yield server
    finally:
        process.kill()
        process.wait()


def _theirs() -> list[str]:
    program = look_around()["toxiproxy-server"]
    if isinstance(program.found, str):
        raise AssertionError(f"{program.found}; the suite has to run against it too: {program.remedy}")
    return [str(program.found.place)]


def address_of(sock: socket.socket) -> str:
    return "{}:{}".format(*sock.getsockname())


def split(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    return host, int(port)


def received(sock: socket.socket, size: int) -> bytes:
    """Exactly so many bytes, or fewer if the stream ends before."""
    data = bytearray()
    while len(data) < size and (more := sock.recv(size - len(data))):
        data += more
    return bytes(data)


def rest(sock: socket.socket) -> tuple[bytes, Literal["end", "reset"]]:
    """All that still comes, and how it ends: in order (FIN) or not (RST)."""
    data = bytearray()
    try:
        while more := sock.recv(1 << 16):
            data += more
    except ConnectionResetError:
        return bytes(data), "reset"
    return bytes(data), "end"


def is_silent(sock: socket.socket, for_s: float = 0.1) -> bool:
    """Whether nothing comes. (Too short a while can hide a mistake, it can never invent one.)"""
    sock.settimeout(for_s)
    try:
        sock.recv(1, socket.MSG_PEEK)
    except TimeoutError:
        return True
    finally:
        sock.settimeout(WITHIN_S)
    return False


class Stopwatch:
    def __init__(self) -> None:
        self._began = time.monotonic()

    @property
    def s(self) -> float:
        return time.monotonic() - self._began
