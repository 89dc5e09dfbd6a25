"""The one adapter around the proxies' server: toxiproxy-python for what both servers know, plain HTTP for ours alone.

Known of toxiproxy-python 0.1.1: no time-outs, one global server address, no exception for a 5xx. Known of
toxiproxy-server 2.12 (https://github.com/Shopify/toxiproxy): ``/reset`` is server-wide; removing a toxic whose reader
is stalled wedges the control API for good; unknown attributes are accepted silently.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable
from functools import cached_property
from itertools import count
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import msgspec
import requests
import toxiproxy.proxy
import toxiproxy.server
from toxiproxy.api import APIConsumer, validate_response

from chaos.proxy.triggers import Fired, Stream, Trigger
from harness.environment.proxies import proxy_name

API_TIMEOUT_S = 5.0
ATTRIBUTES = {
    "latency": {"latency", "jitter"},
    "bandwidth": {"rate"},
    "slow_close": {"delay"},
    "timeout": {"timeout"},
    "reset_peer": {"timeout"},
    "slicer": {"average_size", "size_variation", "delay"},
    "limit_data": {"bytes"},
}


class ProxyError(Exception):
    """The proxy's server refused or did not answer. The message says which call and what came."""


_of_this_thread = threading.local()


def _session() -> requests.Session:
    """To make a session costs as much as to ask with it, and several faults at once must not share one."""
    session: requests.Session | None = getattr(_of_this_thread, "session", None)
    if session is None:
        session = _of_this_thread.session = requests.Session()
        session.trust_env = False  # no proxy between us and the proxies, whatever the environment says
    return session


class _TimedConsumer(APIConsumer):  # type: ignore[misc]  # untyped base
    """The library's transport with what it lacks: a time-out on every call and an error for a 5xx."""

    @classmethod
    def _call(cls, method: str, url: str, **arguments: Any) -> requests.Response:
        address = f"http://{cls.host}:{cls.port}{url}"
        try:
            response = _session().request(method, address, timeout=API_TIMEOUT_S, **arguments)
        except requests.RequestException as error:
            raise ProxyError(f"{method} {address}: {error}") from error
        if response.status_code >= 500:
            raise ProxyError(f"{method} {address}: {response.status_code} {response.text[:200]}")
        checked: requests.Response = validate_response(response)
        return checked

    @classmethod
    def get(cls, url: str, params: Any = None, **arguments: Any) -> requests.Response:
        return cls._call("GET", url, params=params, **arguments)

    @classmethod
    def delete(cls, url: str, **arguments: Any) -> requests.Response:
        return cls._call("DELETE", url, **arguments)

    @classmethod
    def post(cls, url: str, data: Any = None, json: Any = None, **arguments: Any) -> requests.Response:
        return cls._call("POST", url, data=data, json=json, **arguments)


toxiproxy.proxy.APIConsumer = _TimedConsumer
toxiproxy.server.APIConsumer = _TimedConsumer


class SeenStream(msgspec.Struct, frozen=True):
    """What has passed one way. ``opaque``: why its events could not be read, if so."""

    bytes: int
    events: dict[str, int]
    opaque: str | None


class Acted(msgspec.Struct, frozen=True):
    """What a toxic has really acted on."""

    connections: int
    chunks: int
    bytes: int


class Seen(msgspec.Struct, frozen=True):
    """What has passed through an edge. ``refused``: connections that the upstream refused."""

    connections: int
    open: int
    refused: int
    upstream: SeenStream
    downstream: SeenStream
    toxics: dict[str, Acted]


class WireEvent(msgspec.Struct, frozen=True, rename={"edge": "proxy"}):
    """One event on the wire of one edge; ``n`` counts all that were recorded."""

    n: int
    at: str
    edge: str
    connection: int
    stream: Stream
    name: str
    detail: str


class _State(msgspec.Struct, frozen=True):
    fired: list[Fired]


class _Recorded(msgspec.Struct, frozen=True):
    events: list[WireEvent]
    dropped: int


Answered = TypeVar("Answered")


class Armed:
    """A trigger at work on an edge."""

    def __init__(self, proxy: FaultProxy, url: str) -> None:
        self._proxy = proxy
        self._url = url
        self._fired: list[Fired] = []
        self._disarmed = False

    @property
    def disarmed(self) -> bool:
        """Whether it is known to act no more: we have disarmed it, or whoever restored its edge has."""
        return self._disarmed

    def fired(self, within_s: float = 0) -> list[Fired]:
        """How often it acted; waits until it did for the first time, or the time is over.

        When it has been disarmed: what was last known.
        """
        if not self._disarmed:
            state = self._proxy.look(f"{self._url}?within_ms={round(within_s * 1000)}", _State, within_s=within_s)
            if state is None:
                self._disarmed = True
            else:
                self._fired = state.fired
        return self._fired

    def disarm(self) -> None:
        """Act no more, and let go of all that it holds up. Does nothing the second time."""
        self.fired()
        if not self._disarmed:
            self._disarmed = True
            self._proxy.tell("DELETE", self._url)


class FaultProxy:
    """All proxies of one stack. One instance a process: toxiproxy-python keeps one global server address."""

    _numbers = count(1)  # of triggers, also over instances: their names must not meet on a server

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._url = url
        self._server = toxiproxy.server.Toxiproxy()
        self._server.update_api_consumer(parts.hostname, parts.port)
        _TimedConsumer.host, _TimedConsumer.port = parts.hostname, parts.port

    def _proxy(self, edge: str) -> Any:
        proxy = self._server.get_proxy(proxy_name(edge))
        if proxy is None:
            raise ProxyError(f"no proxy for edge {edge!r} at {self._url}; it has: {', '.join(self._server.proxies())}")
        return proxy

    @cached_property
    def wire_aware(self) -> bool:
        """Whether the server is ours: it knows triggers, and what it has seen."""
        version: str = _TimedConsumer.get("/version").json()["version"]
        return version.startswith("gauntlet")

    def cut(self, edge: str) -> None:
        """Drop the edge's connections and refuse new ones."""
        self._proxy(edge).disable()

    def restore(self, edge: str) -> None:
        """Undo everything on an edge. Verified. An edge that is whole is left alone, with its connections.

        Our own server keeps the connections in any case (but those that the toxic ``timeout`` has taken bytes from).
        With Toxiproxy's, a proxy with toxics is made anew on its old address: a toxic that is stuck between two ends,
        one of which has died, holds the lock that removing (or updating) it needs, and with it the whole control API.
        """
        if self.wire_aware:
            self.restore_all([edge])
            return
        proxy = self._proxy(edge)
        if proxy.enabled and not proxy.toxics():
            return
        proxy.destroy()
        healed = self._server.create(proxy.upstream, proxy.name, listen=proxy.listen, enabled=True)
        if not healed.enabled or healed.toxics():
            raise ProxyError(f"edge {edge!r} is not healed: enabled={healed.enabled}, toxics={list(healed.toxics())}")

    def restore_all(self, edges: Iterable[str]) -> None:
        """Undo everything on all these edges. One look tells which of them need it."""
        names = {proxy_name(edge): edge for edge in edges}
        if self.wire_aware and names:
            self.tell("POST", f"/reset?proxies={','.join(names)}")
        listed: dict[str, Any] = _TimedConsumer.get("/proxies").json()
        for name, edge in names.items():
            seen = listed.get(name, {})
            whole = seen.get("enabled") and not seen.get("toxics")
            if not whole and self.wire_aware:
                raise ProxyError(f"edge {edge!r} is not healed: {seen or 'there is no such proxy'}")
            if not whole:
                self.restore(edge)

    def add_toxic(self, edge: str, kind: str, *, stream: str, attributes: dict[str, int]) -> None:
        """Add a toxic on one direction (``upstream`` or ``downstream``). Raises ProxyError for an unknown attribute."""
        unknown = set(attributes) - ATTRIBUTES.get(kind, set())
        if kind not in ATTRIBUTES or unknown:
            known = ", ".join(sorted(ATTRIBUTES.get(kind, ATTRIBUTES)))
            raise ProxyError(f"toxic {kind!r} with {sorted(attributes)}: not known; known here: {known}")
        self._proxy(edge).add_toxic(type=kind, name=f"{kind}-{stream}", stream=stream, attributes=attributes)

    # --- what our own server knows beyond Toxiproxy -----------------------------------------------------------------

    def arm(self, edge: str, trigger: Trigger) -> Armed:
        """Let something happen at an event on an edge. Raises ProxyError if that could never be."""
        name = f"trigger-{os.getpid()}-{next(self._numbers)}"
        hold = tuple(map(proxy_name, trigger.hold))
        asked = msgspec.to_builtins(msgspec.structs.replace(trigger, hold=hold)) | {"name": name}
        self.tell("POST", f"/proxies/{proxy_name(edge)}/triggers", asked)
        return Armed(self, f"/proxies/{proxy_name(edge)}/triggers/{name}")

    def seen(self, edge: str) -> Seen:
        """What has passed through an edge since its proxy was made, or since ``forget``."""
        return self._look(f"/proxies/{proxy_name(edge)}/seen", Seen)

    def forget(self, edge: str) -> None:
        """Zero what was seen, but for what is open."""
        self.tell("DELETE", f"/proxies/{proxy_name(edge)}/seen")

    def record(self) -> None:
        """Write down every event on every edge from now on; what was recorded before is gone."""
        self.tell("PUT", "/events", {"recording": True})

    def stop_recording(self) -> None:
        """What was recorded stays."""
        self.tell("PUT", "/events", {"recording": False})

    def events(self) -> list[WireEvent]:
        """All that was recorded. Raises ProxyError if that were so many that some had to be dropped."""
        recorded = self._look("/events", _Recorded)
        if recorded.dropped:
            raise ProxyError(
                f"{recorded.dropped} events were dropped: {len(recorded.events)} are the most that are kept"
            )
        return [msgspec.structs.replace(one, edge=one.edge.replace("-to-", "→")) for one in recorded.events]

    def _look(self, path: str, kind: type[Answered]) -> Answered:
        found = self.look(path, kind)
        if found is None:
            raise ProxyError(f"GET {self._url}{path}: there is no such thing")
        return found

    def look(self, path: str, kind: type[Answered], *, within_s: float = 0) -> Answered | None:
        """What the server says there; None if there is no such thing."""
        self._needs_ours(path)
        answer = self._call("GET", path, timeout=API_TIMEOUT_S + within_s)
        return None if answer.status_code == 404 else msgspec.json.decode(self._checked(answer).content, type=kind)

    def tell(self, method: str, path: str, body: dict[str, Any] | None = None) -> None:
        """Let the server do something. Raises ProxyError if it refuses."""
        self._needs_ours(path)
        self._checked(self._call(method, path, json=body))

    def _call(
        self, method: str, path: str, *, timeout: float = API_TIMEOUT_S, json: dict[str, Any] | None = None
    ) -> requests.Response:
        try:
            return _session().request(method, f"{self._url}{path}", timeout=timeout, json=json)
        except requests.RequestException as error:
            raise ProxyError(f"{method} {self._url}{path}: {error}") from error

    def _checked(self, answer: requests.Response) -> requests.Response:
        if not answer.ok:
            asked = answer.request
            raise ProxyError(f"{asked.method} {asked.url}: {answer.status_code} {answer.text[:500]}")
        return answer

    def _needs_ours(self, path: str) -> None:
        if not self.wire_aware:
            raise ProxyError(
                f"{path}: {self._url} is not the wire-aware proxy (start the stack with GAUNTLET_PROXY=wire)"
            )

    def connections_on(self, edge: str) -> int:
        """Connections that are established through the edge right now."""
        return established(int(self._proxy(edge).listen.rpartition(":")[2]))


def established(port: int) -> int:
    """Number of TCP connections that a listener on this port of 127.0.0.1 has accepted (from /proc/net/tcp)."""
    local = f"0100007F:{port:04X}"
    rows = (line.split() for line in Path("/proc/net/tcp").read_text(encoding="ascii").splitlines()[1:])
    return sum(row[1] == local and row[3] == "01" for row in rows)
