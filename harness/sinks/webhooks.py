"""The receiver of webhooks: takes every POST, checks its signature, writes it down, answers as told."""

from __future__ import annotations

import hashlib
import hmac
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import msgspec

from harness.evidence.clock import wall_now
from harness.evidence.records import Received
from harness.sinks.inbox import Behaviour, Inbox


class QuietHandler(BaseHTTPRequestHandler):
    """HTTP/1.1 without a line on stderr for each request."""

    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        """The inbox tells."""

    def body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def answer(self, status: int, content: bytes = b"", headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


def webhook_server(port: int, inbox: Inbox, secret: str) -> ThreadingHTTPServer:
    """A receiver that listens; whoever calls it serves it."""

    class Handler(QuietHandler):
        def do_POST(self) -> None:
            body = self.body()
            if len(body) != int(self.headers.get("Content-Length") or -1):
                self.close_connection = True  # cut off on its way: it has not been received, and gets no answer
                return
            behaviour = inbox.answer_for(self.path, otherwise=204)
            inbox.add(_received(self, body, behaviour, secret))
            time.sleep(behaviour.delay_ms / 1000)
            told = {"Retry-After": behaviour.retry_after, "Location": behaviour.location}
            self.answer(behaviour.status, headers={name: value for name, value in told.items() if value})

    return ThreadingHTTPServer(("127.0.0.1", port), Handler)


def _received(request: QuietHandler, body: bytes, behaviour: Behaviour, secret: str) -> Received:
    signature = f"sha256={hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()}"
    told = _loosely(body)
    return Received(
        kind="webhook",
        place=request.path,
        received_at=wall_now(),
        key=request.headers.get("Idempotency-Key"),
        signed=hmac.compare_digest(request.headers.get("X-Signature", ""), signature),
        status=behaviour.status,
        digest=hashlib.sha256(body).hexdigest(),
        body=body[:4096].decode("utf-8", "backslashreplace"),
        correlation_id=request.headers.get("X-Correlation-Id"),
        rule_id=told.get("rule_id"),
        event_id=told.get("event_id"),
        entity_id=told.get("entity_id"),
    )


def _loosely(body: bytes) -> dict[str, Any]:
    try:
        return msgspec.json.decode(body, type=dict[str, Any])
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return {}
