"""The sinks as a real process: they take what comes, answer as they are told, and write down what it was."""

from __future__ import annotations

import hashlib
import hmac
import smtplib
from collections.abc import Iterator
from email.message import EmailMessage

import httpx
import pytest

from harness.clients.sinks.behaviour import Answer
from harness.clients.sinks.client import Sinks
from harness.environment import sinks as environment
from harness.environment.ports import PortLease
from harness.environment.processes import ManagedProcess
from harness.evidence.records import Received

KEY = "a key of this test"


class Outside:
    """The sinks and their addresses."""

    def __init__(self, ports: dict[str, int]) -> None:
        self.sinks = Sinks(f"http://127.0.0.1:{ports['door']}")
        self._webhook, self._mail = f"http://127.0.0.1:{ports['webhook']}", ports["mail"]

    def post(self, body: bytes = b"{}", *, key: str = KEY, **headers: str) -> httpx.Response:
        signature = hmac.new(key.encode(), b"1700000000." + body, hashlib.sha256).hexdigest()
        signed = {"X-Timestamp": "1700000000", "X-Signature": f"sha256={signature}"}
        return httpx.post(f"{self._webhook}/notifications", content=body, headers=signed | headers)

    def send(self, message_id: str) -> None:
        message = EmailMessage()
        message["Message-ID"] = message_id
        message["X-Correlation-Id"] = "a flow"
        message.set_content("Hello")
        with smtplib.SMTP("127.0.0.1", self._mail) as smtp:
            smtp.send_message(message, "crm@example.test", ["sales@example.test"])

    def only(self) -> Received:
        (item,) = self.sinks.received()
        return item


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outside]:
    folder = tmp_path_factory.mktemp("sinks")
    lease = PortLease()
    ports = {name: lease.take() for name in ("webhook", "mail", "door")}
    record = environment.record(state_dir=folder, ports=ports, key=KEY)
    process = ManagedProcess(record, state_dir=folder, run_dir=folder, log_dir=folder, journal=lambda: None)
    process.start()
    try:
        process.await_ready()
        yield Outside(ports)
        assert process.terminate()
    finally:
        process.kill()
        lease.close()


@pytest.fixture
def outside(running: Outside) -> Outside:
    running.sinks.clean_slate()
    return running


def test_a_webhook_is_taken_and_written_down(outside: Outside) -> None:
    assert outside.post(b'{"a": 1}', **{"Idempotency-Key": "k1", "X-Correlation-Id": "a flow"}).status_code == 200
    item = outside.only()
    assert (item.channel, item.path, item.key, item.correlation_id) == ("webhook", "/notifications", "k1", "a flow")
    assert (item.signed, item.answered, item.body) == (True, 200, '{"a": 1}')


def test_a_webhook_signed_with_another_key_is_written_down_as_such(outside: Outside) -> None:
    outside.post(key="somebody else's")
    assert not outside.only().signed


def test_mail_is_taken_and_its_message_id_is_its_key(outside: Outside) -> None:
    outside.send("<one@example.test>")
    item = outside.only()
    assert (item.channel, item.path, item.key) == ("mail", "sales@example.test", "<one@example.test>")
    assert (item.correlation_id, item.answered) == ("a flow", 200)


def test_the_next_ones_are_answered_as_told_and_the_rest_as_ever(outside: Outside) -> None:
    outside.sinks.webhook.answers(Answer(status=429, headers={"Retry-After": "1"}), Answer(status=503))
    answers = [outside.post() for _ in range(3)]
    assert [answer.status_code for answer in answers] == [429, 503, 200]
    assert answers[0].headers["Retry-After"] == "1"
    assert [item.answered for item in outside.sinks.received("webhook")] == [429, 503, 200]


def test_a_sink_that_hangs_up_has_written_down_what_came(outside: Outside) -> None:
    outside.sinks.webhook.always(Answer(hang_up=True))
    with pytest.raises(httpx.RemoteProtocolError):
        outside.post()
    assert outside.only().answered is None


def test_mail_is_refused_for_a_while_when_told_so(outside: Outside) -> None:
    outside.sinks.mail.always(Answer(status=500))
    with pytest.raises(smtplib.SMTPDataError):
        outside.send("<one@example.test>")
    assert outside.only().answered == 500


def test_a_clean_slate_forgets_what_came_and_how_to_answer(outside: Outside) -> None:
    outside.sinks.webhook.always(Answer(status=500))
    outside.post()
    outside.sinks.clean_slate()
    assert outside.sinks.received() == ()
    assert outside.post().status_code == 200
