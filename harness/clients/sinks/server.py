"""``python -m harness.clients.sinks.server``: a webhook receiver, an SMTP server, and a door to steer and ask them.

It is a process of its own beside the system, so that neither waits for the other's threads.
"""

from __future__ import annotations

import argparse
import hashlib
import hmac
import json
import os
import signal
import threading
import time
from collections.abc import Mapping
from email import message_from_bytes
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import msgspec
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Session
from aiosmtpd.smtp import Envelope as SmtpEnvelope

from harness.clients.sinks.behaviour import KEY_VARIABLE, Answer, Behaviour, Channel, Plan
from harness.evidence.clock import wall_now
from harness.evidence.records import Received

_HOST = "127.0.0.1"
_LONGEST_BODY = 4_000


class Inbox:
    """What came, in order, and how it is answered."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._lock = threading.Lock()
        self._received: list[Received] = []
        self.behaviours: dict[Channel, Behaviour] = {"webhook": Behaviour(), "mail": Behaviour()}

    def take(self, channel: Channel, path: str, headers: Mapping[str, str], body: bytes, key: str | None) -> Answer:
        """Write an item down, and say how it is to be answered."""
        answer = self.behaviours[channel].answer()
        with self._lock:
            self._received.append(
                Received(
                    number=len(self._received) + 1,
                    channel=channel,
                    received_at=wall_now(),
                    path=path,
                    key=key,
                    correlation_id=headers.get("X-Correlation-Id"),
                    signed=self._signed(headers, body) if channel == "webhook" else True,
                    answered=None if answer.hang_up else answer.status,
                    digest=hashlib.sha256(body).hexdigest(),
                    body=body[:_LONGEST_BODY].decode("utf-8", "replace"),
                )
            )
        time.sleep(answer.delay_ms / 1000)  # a slow receiver is what was asked for
        return answer

    def _signed(self, headers: Mapping[str, str], body: bytes) -> bool:
        signed = headers.get("X-Timestamp", "").encode() + b"." + body
        expected = "sha256=" + hmac.new(self._key, signed, hashlib.sha256).hexdigest()
        return hmac.compare_digest(expected, headers.get("X-Signature", ""))

    def received(self) -> list[Received]:
        with self._lock:
            return list(self._received)

    def empty(self) -> None:
        with self._lock:
            self._received.clear()
        for behaviour in self.behaviours.values():
            behaviour.follow(Plan())


class _Handler(BaseHTTPRequestHandler):
    inbox: Inbox
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, format: str, *args: Any) -> None:
        """What came is told over the door, not on the terminal."""

    def answer(self, status: int, body: bytes = b"", headers: Mapping[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))


class Webhook(_Handler):
    """The receiver of webhooks: takes any POST."""

    def do_POST(self) -> None:
        answer = self.inbox.take("webhook", self.path, self.headers, self.body(), self.headers.get("Idempotency-Key"))  # type: ignore[arg-type]
        if answer.hang_up:
            self.close_connection = True
            return
        self.answer(answer.status, headers=answer.headers)


class Door(_Handler):
    """``GET /received``, ``DELETE /received``, ``PUT /behaviour/CHANNEL`` with a plan; ``GET /`` says that it is up."""

    def do_GET(self) -> None:
        self.answer(200, msgspec.json.encode(self.inbox.received() if self.path == "/received" else []))

    def do_DELETE(self) -> None:
        self.inbox.empty()
        self.answer(204)

    def do_PUT(self) -> None:
        channel = self.path.rpartition("/")[2]
        behaviour = self.inbox.behaviours.get(channel)  # type: ignore[call-overload]
        if behaviour is None:
            self.answer(404, f"no sink {channel!r}".encode())
            return
        try:
            behaviour.follow(msgspec.json.decode(self.body(), type=Plan))
        except msgspec.MsgspecError as error:
            self.answer(422, str(error).encode())
            return
        self.answer(204)


class Mail:
    """The SMTP server's handler."""

    def __init__(self, inbox: Inbox) -> None:
        self._inbox = inbox

    async def handle_DATA(self, server: SMTP, _session: Session, envelope: SmtpEnvelope) -> str:
        content = envelope.original_content or b""
        message = message_from_bytes(content)
        headers = {name: str(value) for name, value in message.items()}
        answer = self._inbox.take("mail", ",".join(envelope.rcpt_tos), headers, content, headers.get("Message-ID"))
        if answer.hang_up and server.transport is not None:
            server.transport.close()
        return "250 taken" if answer.status < 300 else f"451 refused as {answer.status}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for port in ("webhook", "mail", "door"):
        parser.add_argument(f"--{port}-port", type=int, required=True)
    ports = parser.parse_args()
    ending = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, ending)  # in every thread, so that it is waited for below
    inbox = Inbox(os.environ[KEY_VARIABLE].encode())
    for handler, port in ((Webhook, ports.webhook_port), (Door, ports.door_port)):
        server = ThreadingHTTPServer((_HOST, port), type(handler.__name__, (handler,), {"inbox": inbox}))
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, name=handler.__name__, daemon=True).start()
    Controller(Mail(inbox), hostname=_HOST, port=ports.mail_port).start()
    print(json.dumps({"up": vars(ports)}), flush=True)
    signal.sigwait(ending)


if __name__ == "__main__":
    main()
