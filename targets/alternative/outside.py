"""Calls to others: each has a time limit and two lines; none is ever repeated here."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import ipaddress
import json
import socket
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.message import EmailMessage
from email.utils import format_datetime, parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import aiosmtplib
from yarl import URL

from targets.alternative import log, metrics
from targets.alternative.dependencies import Degraded
from targets.alternative.events import Event
from targets.alternative.failures import NonRetryable, PeerTrouble
from targets.alternative.settings import Settings

_PORTS = {"http": 80, "https": 443}
_PASSING = (408, 425, 429)


@dataclass(slots=True)
class Answer:
    status: int | None = None
    headers: Mapping[str, str] | None = None
    how: str = "connection_error"


@contextmanager
def told(peer: str, method: str, route: str, attempt: int) -> Iterator[Answer]:
    """The two lines around a call. Raises PeerTrouble for silence, 5xx, and refusals that pass."""
    answer, started = Answer(), time.perf_counter()
    with log.within(log.flow().deeper()):
        log.line("call.sent", "sent", peer=peer, method=method, route=route, attempt=attempt)
        try:
            yield answer
            answer.how = _how(answer.status)
        except TimeoutError:
            answer.how, answer.status = "timeout", None
        except (aiohttp.ClientError, aiosmtplib.SMTPException, OSError):
            answer.status = None
        finally:
            duration_ms = round((time.perf_counter() - started) * 1000, 3)
            log.line(
                "call.completed",
                answer.how,
                level="info" if answer.how in ("ok", "client_error") else "warning",
                peer=peer,
                http_status=answer.status,
                duration_ms=duration_ms,
            )
            metrics.count("calls_total", peer=peer, status=answer.how)
            metrics.observe("call_duration_seconds", duration_ms, peer=peer)
    passing = answer.status in _PASSING
    if answer.status is None or answer.status >= 500 or passing:
        what = f"{answer.how} {answer.status or ''}".strip()
        raise PeerTrouble(peer, what, may_be_down=not passing, retry_after_s=_patience_s(answer.headers or {}))


def _how(status: int | None) -> str:
    if status is None:
        return "connection_error"
    return "server_error" if status >= 500 else "client_error" if status >= 400 else "ok"


def _patience_s(headers: Mapping[str, str]) -> float:
    """Retry-After: seconds, or a date of the answerer's clock, which the answer's own date tells."""
    asked = headers.get("Retry-After", "")
    if asked.isdecimal():
        return float(asked)
    moment = _moment(asked)
    return (moment - (_moment(headers.get("Date", "")) or datetime.now(UTC))).total_seconds() if moment else 0


def _moment(date: str) -> datetime | None:
    try:
        moment = parsedate_to_datetime(date)
    except ValueError:
        return None
    return moment.replace(tzinfo=moment.tzinfo or UTC)


def session(settings: Settings) -> Any:
    numbers = settings.numbers
    timeout = aiohttp.ClientTimeout(
        total=numbers.connect_s + numbers.read_s, connect=numbers.connect_s, sock_read=numbers.read_s
    )
    return aiohttp.ClientSession(timeout=timeout, cookie_jar=aiohttp.DummyCookieJar(), middlewares=(_once,))


async def _once(request: Any, send: Callable[[Any], Awaitable[Any]]) -> Any:
    """By itself aiohttp sends a GET a second time when its connection is lost, and one call would be two requests."""
    try:
        return await send(request)
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as lost:
        raise aiohttp.ClientConnectionError(f"the connection is lost: {type(lost).__name__}") from lost


class Peer:
    def __init__(self, name: str, url: str, settings: Settings, http: Any) -> None:
        self.name, self._url, self._token, self._http = name, url, settings.service_token, http

    async def ask(
        self, method: str, route: str, attempt: int, *, entity: str = "", json_body: object = None, **query: str
    ) -> tuple[int, dict[str, Any]]:
        """Status and body. ``entity`` stands in the place of what the route has in braces."""
        path = f"{route.partition('{')[0]}{entity}{route.partition('}')[2]}" if "{" in route else route
        body = b""
        with told(self.name, method, route, attempt) as answer:
            call = self._http.request(
                method, self._url + path, params=query, json=json_body, headers=self._headers(), allow_redirects=False
            )
            async with call as response:
                body = await response.read()
                answer.status, answer.headers = response.status, response.headers
        assert answer.status is not None
        try:
            found = json.loads(body)
        except ValueError:
            found = {}
        return answer.status, found if isinstance(found, dict) else {}

    def _headers(self) -> dict[str, str]:
        flow = log.flow()
        given = {
            "Authorization": f"Bearer {self._token}",
            "X-Correlation-Id": flow.correlation_id,
            "X-Causation-Id": flow.causation_id,
            "X-Parent-Span-Id": flow.span_id,
            "X-Hop-Count": str(flow.hops),
        }
        return {name: value for name, value in given.items() if value is not None}

    async def probe(self) -> None:
        async with self._http.get(f"{self._url}/health/ready") as response:
            if response.status != 200:
                raise Degraded(f"it answers {response.status} when asked whether it is ready")


class Webhook:
    """Signed POSTs to the receivers on the list and to nobody else, however their address is written.

    A name is resolved once and the connection made to that address; one that is not public has to be the very entry.
    """

    def __init__(self, settings: Settings, http: Any) -> None:
        self._settings, self._http = settings, http

    async def post(self, url: str, body: bytes, key: str, attempt: int) -> None:
        """Raises PeerTrouble for what may pass, NonRetryable for whom we may not call, or who refuses."""
        scheme, host, port, path = _parts(url)
        named = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        if named not in self._settings.receivers:
            raise NonRetryable("the webhook's receiver is not on the list of allowed hosts")
        signature = hmac.new(self._settings.webhook_secret.encode(), body, hashlib.sha256).hexdigest()
        headers = {
            "Host": named,
            "Connection": "close",  # one that was made for another name must not be used again
            "Content-Type": "application/json",
            "Idempotency-Key": key,
            "X-Signature": f"sha256={signature}",
            "X-Correlation-Id": str(log.flow().correlation_id),
        }
        with told("webhook", "POST", named, attempt) as answer:
            address = await _resolved(host, port)
            where = URL(f"{scheme}://{f'[{address}]' if ':' in address else address}:{port}{path}", encoded=True)
            call = self._http.post(where, data=body, headers=headers, allow_redirects=False, server_hostname=host)
            async with call as response:  # what it says besides is not read
                answer.status, answer.headers = response.status, response.headers
        assert answer.status is not None
        if answer.status >= 300:
            raise NonRetryable(f"the webhook's receiver answers {answer.status}")


def _parts(url: str) -> tuple[str, str, int, str]:
    try:
        parts = urlsplit(url)
        port = _PORTS[parts.scheme] if parts.port is None else parts.port
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        path.encode("ascii")
    except (ValueError, KeyError):
        raise NonRetryable("the webhook's URL is not one") from None
    if parts.scheme not in _PORTS or not parts.hostname or "@" in parts.netloc:
        raise NonRetryable("the webhook's URL has no plain host")
    return parts.scheme, parts.hostname, port, path


async def _resolved(host: str, port: int) -> str:
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    text = str(found[0][4][0])
    address = ipaddress.ip_address(text)
    address = getattr(address, "ipv4_mapped", None) or address
    if text != host and (not address.is_global or address.is_multicast):
        raise NonRetryable("the webhook's receiver has an address that is not public")
    return text


class Mail:
    """The Message-ID stays the same: by it a receiver knows a second copy."""

    def __init__(self, settings: Settings) -> None:
        self._settings, self._server = settings, urlsplit(settings.smtp_url)

    async def send(self, body: str, key: str, event: Event, rule: str, attempt: int) -> None:
        message = EmailMessage()
        message["From"], message["To"] = self._settings.mail_from, self._settings.mail_to
        message["Subject"] = f"{event.event_type}: {event.entity_type} {event.entity_id}"
        message["Message-ID"] = f"<{key}@automation>"
        message["Date"] = format_datetime(datetime.fromisoformat(event.occurred_at))
        message["X-Rule-Id"], message["X-Correlation-Id"] = rule, str(log.flow().correlation_id)
        message.set_content(body)
        numbers = self._settings.numbers
        with _refusals_told("mail", attempt) as answer:
            timeout_s = numbers.connect_s + numbers.read_s
            await aiosmtplib.send(
                message, hostname=self._server.hostname, port=self._server.port or 25, timeout=timeout_s
            )
            answer.status = 250


@contextmanager
def _refusals_told(peer: str, attempt: int) -> Iterator[Answer]:
    """Of mail, 4xx replies pass and 5xx do not, the other way round than in HTTP."""
    answer = Answer()
    try:
        with told(peer, "SEND", "message", attempt) as line:
            try:
                yield answer
            except aiosmtplib.SMTPException as error:
                first = error.recipients[0] if isinstance(error, aiosmtplib.SMTPRecipientsRefused) else error
                answer.status = first.code if isinstance(first, aiosmtplib.SMTPResponseException) else None
                if answer.status is None:
                    raise
            line.status = answer.status
    except PeerTrouble as trouble:
        if answer.status is not None and answer.status >= 500:
            raise NonRetryable(f"the mail server refuses the message with {answer.status}") from trouble
        raise
    if answer.status is not None and answer.status >= 400:
        raise PeerTrouble(peer, f"refused for now with {answer.status}")
