"""Webhooks: signed POSTs to the receivers on the list and to nobody else, however their address is written.

The list has exact `host:port` entries. A name is resolved once and the connection made to that very address,
so that a second answer of the name server cannot lead elsewhere; an address that is not a public one must
stand on the list itself; and a redirection is never followed.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import ipaddress
import socket
from dataclasses import dataclass
from urllib.parse import urlsplit

import httpx

from system_under_test.automation.retries import NonRetryable
from system_under_test.service_kit import correlation
from system_under_test.service_kit.calls import observed, tls
from system_under_test.service_kit.settings import Outside, Profile

_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Receiver:
    scheme: str
    host: str
    port: int
    path: str

    @property
    def authority(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Webhook:
    def __init__(self, outside: Outside, profile: Profile) -> None:
        self._url, self._allowed = outside.webhook_url, outside.webhook_allowed_hosts
        self._secret = outside.webhook_secret.encode()
        self._deadline_s = profile.http_connect_timeout_s + profile.http_read_timeout_s
        timeout = httpx.Timeout(profile.http_read_timeout_s, connect=profile.http_connect_timeout_s)
        # Each call has a connection of its own: one that was made for another name must not be used again.
        limits = httpx.Limits(max_keepalive_connections=0)
        self._client = httpx.AsyncClient(
            timeout=timeout, limits=limits, trust_env=False, follow_redirects=False, verify=tls()
        )

    async def __aenter__(self) -> Webhook:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.aclose()

    async def post(self, body: bytes, key: str, *, url: str | None = None, attempt: int = 1) -> None:
        """Raises PeerTrouble for what may pass, NonRetryable for a receiver that we may not call or that refuses."""
        receiver = _parsed(url or self._url)
        if receiver.authority not in self._allowed:
            raise NonRetryable("the webhook's receiver is not on the list of allowed hosts")
        with observed("webhook", "POST", receiver.authority, attempt=attempt) as answer:
            async with asyncio.timeout(self._deadline_s):
                address = await _resolved(receiver)
                target = httpx.URL(
                    scheme=receiver.scheme, host=address, port=receiver.port, raw_path=receiver.path.encode()
                )
                headers, name = self._headers(receiver, body, key), {"sni_hostname": receiver.host}
                call = self._client.stream("POST", target, content=body, headers=headers, extensions=name)
                async with call as response:  # what it says besides its status is not read
                    answer.http_status = response.status_code
                    answer.retry_after = response.headers.get("Retry-After", "")
                    answer.date = response.headers.get("Date", "")
        if answer.or_trouble() >= 300:
            raise NonRetryable(f"the webhook's receiver answers {answer.http_status}")

    def _headers(self, receiver: Receiver, body: bytes, key: str) -> dict[str, str]:
        return {
            "Host": receiver.authority,
            "Content-Type": "application/json",
            "Idempotency-Key": key,
            "X-Signature": f"sha256={hmac.new(self._secret, body, hashlib.sha256).hexdigest()}",
            "X-Correlation-Id": str(correlation.current().correlation_id),
        }


def _parsed(url: str) -> Receiver:
    """Only the parts that we took from the URL are used further on: there is no second reading of it."""
    try:
        parts = urlsplit(url)
        port = _PORTS[parts.scheme] if parts.port is None else parts.port
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        path.encode("ascii")
    except (ValueError, KeyError):
        raise NonRetryable("the webhook's URL is not one") from None
    if parts.scheme not in _PORTS or not parts.hostname or "@" in parts.netloc:
        raise NonRetryable("the webhook's URL has no plain host")
    return Receiver(parts.scheme, parts.hostname, port, path)


async def _resolved(receiver: Receiver) -> str:
    """The one address that will be used. A private one is refused, unless it is what the list says literally."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(receiver.host, receiver.port, type=socket.SOCK_STREAM)
    text = str(found[0][4][0])
    address = ipaddress.ip_address(text)
    address = getattr(address, "ipv4_mapped", None) or address
    if text != receiver.host and (not address.is_global or address.is_multicast):
        raise NonRetryable("the webhook's receiver has an address that is not public")
    return text
