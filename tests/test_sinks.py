"""The sinks: they write down what really came, and answer as they were told."""

from __future__ import annotations

import hashlib
import hmac
import smtplib
import socket
import threading
from collections.abc import Iterator
from email.message import EmailMessage

import httpx
import pytest

from harness.environment.ports import PortLease
from harness.sinks.inbox import MAIL, Behaviour, Inbox
from harness.sinks.mail import mail_server
from harness.sinks.webhooks import webhook_server

SECRET = "the key"
BODY = b'{"rule_id": "r", "event_id": "e", "entity_id": "l"}'


@pytest.fixture
def inbox() -> Inbox:
    return Inbox()


@pytest.fixture
def webhooks(inbox: Inbox) -> Iterator[httpx.Client]:
    server = webhook_server(0, inbox, SECRET)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    with httpx.Client(base_url=f"http://127.0.0.1:{server.server_port}", trust_env=False) as client:
        yield client
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def mail(inbox: Inbox) -> Iterator[smtplib.SMTP]:
    lease = PortLease()
    port = lease.take()
    server = mail_server(port, inbox)
    server.start()
    with smtplib.SMTP("127.0.0.1", port) as client:
        yield client
    server.stop()
    lease.close()


def signature(secret: str) -> str:
    return "sha256=" + hmac.new(secret.encode(), BODY, hashlib.sha256).hexdigest()


@pytest.mark.parametrize("cut_at", [1, 40, 75, 110], ids=["request line", "headers", "length", "body"])
def test_a_webhook_that_is_cut_off_on_its_way_was_not_received(
    webhooks: httpx.Client, inbox: Inbox, cut_at: int
) -> None:
    """Whatever came of it: its sender has no answer, and will send it again."""
    head = b"POST /hooks HTTP/1.1\r\nHost: sink\r\nIdempotency-Key: key\r\nContent-Length: %d\r\n\r\n" % len(BODY)
    with socket.create_connection((webhooks.base_url.host, webhooks.base_url.port or 80), timeout=5) as client:
        client.sendall((head + BODY)[:cut_at])
        client.shutdown(socket.SHUT_WR)
        while client.recv(4096):
            pass
    assert inbox.received() == []
    webhooks.post("/hooks", content=BODY)
    assert len(inbox.received()) == 1


@pytest.mark.parametrize(("secret", "signed"), [(SECRET, True), ("another", False)])
def test_a_webhook_is_written_down_with_its_key_and_whether_its_signature_is_ours(
    webhooks: httpx.Client, inbox: Inbox, secret: str, signed: bool
) -> None:
    headers = {"Idempotency-Key": "k", "X-Signature": signature(secret), "X-Correlation-Id": "c"}
    assert webhooks.post("/hooks?x=1", content=BODY, headers=headers).status_code == 204
    (item,) = inbox.received()
    assert (item.place, item.key, item.signed, item.status) == ("/hooks?x=1", "k", signed, 204)
    assert (item.correlation_id, item.rule_id, item.event_id, item.entity_id) == ("c", "r", "e", "l")


def test_a_limited_behaviour_is_used_up_and_each_place_has_its_own(webhooks: httpx.Client, inbox: Inbox) -> None:
    inbox.behave(Behaviour(place="/a", status=429, times=1, retry_after="7"))
    inbox.behave(Behaviour(place="/b", status=302, location="/c"))
    first, second = webhooks.post("/a"), webhooks.post("/a")
    assert (first.status_code, first.headers["Retry-After"], second.status_code) == (429, "7", 204)
    for _ in range(2):
        assert webhooks.post("/b").headers["Location"] == "/c"
    inbox.clear()
    assert (webhooks.post("/b").status_code, len(inbox.received())) == (204, 1)


def test_what_is_no_json_is_written_down_too(webhooks: httpx.Client, inbox: Inbox) -> None:
    webhooks.post("/hooks", content=b"\xff")
    (item,) = inbox.received()
    assert (item.body, item.key, item.signed) == ("\\xff", None, False)


def test_mail_is_taken_or_refused_as_told(mail: smtplib.SMTP, inbox: Inbox) -> None:
    inbox.behave(Behaviour(place=MAIL, status=451, times=1))
    message = EmailMessage()
    message["Message-ID"], message["X-Rule-Id"], message["X-Correlation-Id"] = "<k@x>", "r", "c"
    message.set_content(BODY.decode())
    with pytest.raises(smtplib.SMTPDataError, match="451"):
        mail.send_message(message, "a@x.test", ["b@x.test"])
    mail.send_message(message, "a@x.test", ["b@x.test"])
    refused, taken = inbox.received()
    assert (refused.status, refused.accepted, taken.accepted) == (451, False, True)
    assert (taken.key, taken.rule_id, taken.entity_id, taken.digest) == ("<k@x>", "r", "l", refused.digest)
