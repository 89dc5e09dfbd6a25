"""The one adapter around toxiproxy-python and the server behind it.

Known of toxiproxy-python 0.1.1: no time-outs, one global server address, no exception for a 5xx. Known of the server
2.12 (https://github.com/Shopify/toxiproxy): ``/reset`` is server-wide; removing a toxic whose reader is stalled wedges
the control API for good; unknown attributes are accepted silently.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests
import toxiproxy.proxy
import toxiproxy.server
from toxiproxy.api import APIConsumer, validate_response

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


class _TimedConsumer(APIConsumer):  # type: ignore[misc]  # untyped base
    """The library's transport with what it lacks: a time-out on every call and an error for a 5xx."""

    @classmethod
    def _call(cls, method: str, url: str, **arguments: Any) -> requests.Response:
        address = f"http://{cls.host}:{cls.port}{url}"
        try:
            response = requests.request(method, address, timeout=API_TIMEOUT_S, **arguments)
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


class FaultProxy:
    """All proxies of one stack. One instance a process: toxiproxy-python keeps one global server address."""

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

    def cut(self, edge: str) -> None:
        """Drop the edge's connections and refuse new ones."""
        self._proxy(edge).disable()

    def restore(self, edge: str) -> None:
        """Undo everything on an edge. Verified. An edge that is whole is left alone, with its connections.

        A proxy with toxics is made anew on its old address: a toxic that is stuck between two ends, one of which has
        died, holds the lock that removing (or updating) it needs, and with it the whole control API.
        """
        proxy = self._proxy(edge)
        if proxy.enabled and not proxy.toxics():
            return
        proxy.destroy()
        healed = self._server.create(proxy.upstream, proxy.name, listen=proxy.listen, enabled=True)
        if not healed.enabled or healed.toxics():
            raise ProxyError(f"edge {edge!r} is not healed: enabled={healed.enabled}, toxics={list(healed.toxics())}")

    def restore_all(self, edges: Iterable[str]) -> None:
        """Undo everything on all these edges. One look tells which of them need it."""
        listed: dict[str, Any] = _TimedConsumer.get("/proxies").json()
        for edge in edges:
            seen = listed.get(proxy_name(edge), {})
            if not seen.get("enabled") or seen.get("toxics"):
                self.restore(edge)

    def add_toxic(self, edge: str, kind: str, *, stream: str, attributes: dict[str, int]) -> None:
        """Add a toxic on one direction (``upstream`` or ``downstream``). Raises ProxyError for an unknown attribute."""
        unknown = set(attributes) - ATTRIBUTES.get(kind, set())
        if kind not in ATTRIBUTES or unknown:
            known = ", ".join(sorted(ATTRIBUTES.get(kind, ATTRIBUTES)))
            raise ProxyError(f"toxic {kind!r} with {sorted(attributes)}: not known; known here: {known}")
        self._proxy(edge).add_toxic(type=kind, name=f"{kind}-{stream}", stream=stream, attributes=attributes)

    def connections_on(self, edge: str) -> int:
        """Connections that are established through the edge right now."""
        return established(int(self._proxy(edge).listen.rpartition(":")[2]))


def established(port: int) -> int:
    """Number of TCP connections that a listener on this port of 127.0.0.1 has accepted (from /proc/net/tcp)."""
    local = f"0100007F:{port:04X}"
    rows = (line.split() for line in Path("/proc/net/tcp").read_text(encoding="ascii").splitlines()[1:])
    return sum(row[1] == local and row[3] == "01" for row in rows)
