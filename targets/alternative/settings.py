"""Settings, from the environment. Every number of the service stands here."""

from __future__ import annotations

import json
import os
import secrets
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit


@dataclass(frozen=True, slots=True, kw_only=True)
class Numbers:
    """The defaults are those of production."""

    retry_delays_ms: tuple[int, ...] = (5_000, 30_000, 120_000, 600_000)
    handlers: int = 8
    prefetch: int = 16
    step_s: float = 60
    lease_s: float = 120
    sla_s: float = 24 * 3600
    due_workers: int = 4
    due_poll_s: float = 1
    alert_first_s: float = 1
    alert_most_s: float = 300
    reconnect_most_s: float = 0.5
    confirm_s: float = 10
    connect_s: float = 2
    read_s: float = 8
    database_s: float = 12
    lock_ms: int = 3_000
    statement_ms: int = 10_000
    metrics_s: float = 30
    drain_s: float = 5

    @property
    def max_attempts(self) -> int:
        return 1 + len(self.retry_delays_ms)


NUMBERS = {
    "production": Numbers(),
    "test": Numbers(
        retry_delays_ms=(100, 200, 400, 800),
        step_s=15,
        lease_s=3,
        sla_s=1.5,
        due_poll_s=0.2,
        alert_first_s=0.1,
        alert_most_s=1,
        reconnect_most_s=0.2,
        confirm_s=2,
        connect_s=1,
        read_s=2,
        database_s=5,
        lock_ms=1_000,
        statement_ms=4_000,
        metrics_s=1,
        drain_s=0.25,
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    numbers: Numbers
    instance: str
    host: str
    port: int
    crm_url: str
    pipeline_url: str
    webhook_url: str
    alert_url: str
    receivers: frozenset[str]
    smtp_url: str
    mail_from: str
    mail_to: str
    database_url: str = field(repr=False)
    broker_url: str = field(repr=False)
    service_token: str = field(repr=False)
    webhook_secret: str = field(repr=False)
    callers: Mapping[str, Mapping[str, str]] = field(repr=False)

    def secrets(self) -> tuple[str, ...]:
        """Every text that must never be seen in a line."""
        passwords = [urlsplit(url).password or "" for url in (self.database_url, self.broker_url)]
        return (*self.callers, self.service_token, self.webhook_secret, *passwords, *map(unquote, passwords))


def load() -> Settings:
    """Ends the process with code 2 and the name of the variable where one is missing or cannot be read."""
    given = os.environ
    try:
        return Settings(
            numbers=NUMBERS[given.get("PROFILE", "production")],
            instance=f"automation-{os.getpid()}-{secrets.token_hex(3)}",
            host=given["HTTP_HOST"],
            port=int(given["HTTP_PORT"]),
            crm_url=given["CRM_URL"],
            pipeline_url=given["PIPELINE_URL"],
            webhook_url=given["WEBHOOK_URL"],
            alert_url=given["ALERT_WEBHOOK_URL"],
            receivers=frozenset(host.strip().lower() for host in given["WEBHOOK_ALLOWED_HOSTS"].split(",")),
            smtp_url=given["SMTP_URL"],
            mail_from=given["MAIL_FROM"],
            mail_to=given["MAIL_TO"],
            database_url=given["DATABASE_URL"],
            broker_url=given["BROKER_URL"],
            service_token=given["SERVICE_TOKEN"],
            webhook_secret=given["WEBHOOK_SECRET"],
            callers=json.loads(given["ACCESS_TOKENS"]),
        )
    except KeyError as missing:
        what = f"{missing} is missing or unknown"
    except ValueError:
        what = "HTTP_PORT has to be a number, ACCESS_TOKENS to be JSON"
    print(f"automation cannot start: {what}", file=sys.stderr)
    raise SystemExit(2)
