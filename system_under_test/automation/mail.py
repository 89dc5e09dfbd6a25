"""Mail over SMTP, under a Message-ID that stays the same, by which a receiver knows a second copy."""

from __future__ import annotations

from datetime import datetime
from email.message import EmailMessage
from email.utils import format_datetime
from urllib.parse import urlsplit

import aiosmtplib

from system_under_test.automation.retries import NonRetryable
from system_under_test.service_kit import correlation
from system_under_test.service_kit.calls import PeerTrouble, observed
from system_under_test.service_kit.envelope import Envelope
from system_under_test.service_kit.settings import Outside, Profile


class Mail:
    def __init__(self, outside: Outside, profile: Profile) -> None:
        server = urlsplit(outside.smtp_url)
        self._host, self._port = server.hostname, server.port or 25
        self._timeout_s = profile.http_connect_timeout_s + profile.http_read_timeout_s
        self._from, self._to = outside.mail_from, outside.mail_to

    async def send(self, body: str, key: str, event: Envelope, rule_id: str, *, attempt: int) -> None:
        """Raises PeerTrouble for what may pass (silence, a 4xx reply), NonRetryable for what will not (5xx)."""
        message = EmailMessage()
        message["From"], message["To"] = self._from, self._to
        message["Subject"] = f"{event.event_type}: {event.entity_type} {event.entity_id}"
        message["Message-ID"] = f"<{key}@automation>"
        message["Date"] = format_datetime(datetime.fromisoformat(event.occurred_at))
        message["X-Rule-Id"] = rule_id
        message["X-Correlation-Id"] = correlation.current().correlation_id
        message.set_content(body)
        with observed("mail", "SEND", "message", attempt=attempt) as answer:
            try:
                await aiosmtplib.send(message, hostname=self._host, port=self._port, timeout=self._timeout_s)
                answer.http_status = 250
            except aiosmtplib.SMTPException as error:
                answer.http_status = _reply_code(error)
                if answer.http_status is None:
                    raise
        if answer.http_status is not None and answer.http_status >= 500:
            raise NonRetryable(f"the mail server refuses the message with {answer.http_status}")
        if answer.or_trouble() >= 400:
            raise PeerTrouble("mail", f"refused for now with {answer.http_status}")


def _reply_code(error: aiosmtplib.SMTPException) -> int | None:
    if isinstance(error, aiosmtplib.SMTPRecipientsRefused):
        error = error.recipients[0]
    return error.code if isinstance(error, aiosmtplib.SMTPResponseException) else None
