"""Settings come from the environment and are checked once, all of them, before anything else starts."""

from __future__ import annotations

import os
import re
import secrets
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, TypeVar
from urllib.parse import unquote, urlsplit

import msgspec

T = TypeVar("T")
Role = Literal["user", "service", "operator"]


class Identity(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who a bearer token stands for."""

    name: Annotated[str, msgspec.Meta(min_length=1)]
    role: Role


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """Every number of the system in one place. The defaults are those of production."""

    retry_delays_ms: tuple[int, ...] = (5_000, 30_000, 120_000, 600_000)
    handlers: int = 8
    prefetch: int = 16
    handler_deadline_s: float = 60
    lease_s: float = 120
    sla_s: float = 24 * 3600
    due_workers: int = 4
    due_poll_s: float = 1  # how often timers and alerts are looked for
    alert_first_s: float = 1
    alert_most_s: float = 300

    heartbeat_s: int = 20
    blocked_connection_timeout_s: float = 30
    socket_timeout_s: float = 5
    stack_timeout_s: float = 10
    reconnect_first_s: float = 0.5
    reconnect_most_s: float = 1  # or readiness could not follow a broker that is back
    confirm_window: int = 256
    confirm_timeout_s: float = 10
    relay_batch: int = 100
    relay_poll_s: float = 1

    drain_s: float = 5  # from "not ready" to the end of serving: whoever follows readiness has looked by then
    http_connect_timeout_s: float = 2
    http_read_timeout_s: float = 8
    max_body_bytes: int = 256 * 1024
    max_header_bytes: int = 8 * 1024

    pool_size: int = 12
    pool_acquire_s: float = 2
    database_connect_timeout_s: float = 2
    database_deadline_s: float = 12
    tcp_user_timeout_ms: int = 8_000
    lock_timeout_ms: int = 3_000
    statement_timeout_ms: int = 10_000
    idle_in_transaction_timeout_ms: int = 30_000

    # Readiness follows a dependency within 2 s: an interval and a probe's time-out together stay below that.
    health_interval_s: float = 0.5
    probe_timeout_s: float = 0.9
    answer_timeout_s: float = 0.7  # of a connection that is asked whether it still lives
    probe_first_s: float = 0.1
    probe_most_s: float = 0.5
    outbox_late_s: float = 60
    metrics_interval_s: float = 30

    @property
    def max_attempts(self) -> int:
        return 1 + len(self.retry_delays_ms)


PRODUCTION = Profile()
TEST = Profile(
    retry_delays_ms=(100, 200, 400, 800),
    handler_deadline_s=15,
    lease_s=3,
    sla_s=1.5,
    due_poll_s=0.2,
    alert_first_s=0.1,
    alert_most_s=1,
    reconnect_first_s=0.1,
    confirm_timeout_s=2,
    relay_poll_s=0.25,
    drain_s=0.25,
    http_connect_timeout_s=1,
    http_read_timeout_s=2,
    pool_acquire_s=1,
    database_connect_timeout_s=1,
    database_deadline_s=5,
    tcp_user_timeout_ms=2_000,
    lock_timeout_ms=1_000,
    statement_timeout_ms=4_000,
    idle_in_transaction_timeout_ms=10_000,
    outbox_late_s=10,
    metrics_interval_s=1,
)
PROFILES = {"production": PRODUCTION, "test": TEST}


@dataclass(frozen=True, slots=True, kw_only=True)
class Outside:
    """What automation acts on: the pipeline, receivers of webhooks, and a mail server."""

    pipeline_url: str
    webhook_url: str
    alert_webhook_url: str
    webhook_allowed_hosts: frozenset[str]
    webhook_secret: str = field(repr=False)
    smtp_url: str
    mail_from: str
    mail_to: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    service: str
    instance: str
    profile: Profile
    http_host: str
    http_port: int
    database_url: str = field(repr=False)
    broker_url: str = field(repr=False)
    identities: Mapping[str, Identity] = field(repr=False)
    crm_url: str = ""
    service_token: str = field(default="", repr=False)
    outside: Outside | None = None

    def secrets(self) -> tuple[str, ...]:
        """Every text that must never be seen in a line."""
        passwords = [urlsplit(url).password or "" for url in (self.database_url, self.broker_url)]
        signing = (self.outside.webhook_secret,) if self.outside else ()
        return (*self.identities, self.service_token, *signing, *passwords, *map(unquote, passwords))


class _Environment:
    """Reads variables and gathers what is wrong with them, so that one start shows every mistake."""

    def __init__(self, variables: Mapping[str, str]) -> None:
        self._variables = variables
        self.mistakes: list[str] = []

    def read(self, name: str, parse: Callable[[str], T], must_be: str, otherwise: T, required: bool = True) -> T:
        text = self._variables.get(name, "")
        if not text:
            if required:
                self.mistakes.append(f"{name} is missing: it must be {must_be}")
            return otherwise
        try:
            return parse(text)
        except (ValueError, KeyError, msgspec.MsgspecError):
            self.mistakes.append(f"{name} is invalid: it must be {must_be}")  # its value may be a secret
            return otherwise


def load_or_exit(service: str, *, calls_crm: bool, acts: bool = False) -> Settings:
    environment = _Environment(os.environ)
    read = environment.read
    own_name = f"{service}-{os.getpid()}-{secrets.token_hex(3)}"
    tokens = 'JSON {"<token>": {"name": "…", "role": "user|service|operator"}}'
    settings = Settings(
        service=service,
        instance=read("INSTANCE", str, "a name", own_name, required=False),
        profile=read("PROFILE", PROFILES.__getitem__, "production or test", PRODUCTION),
        http_host=read("HTTP_HOST", str, "an address to listen on", ""),
        http_port=read("HTTP_PORT", _port, "a port, 1 to 65535", 0),
        database_url=read("DATABASE_URL", _url("postgresql", "postgres"), "a postgresql:// URL", ""),
        broker_url=read("BROKER_URL", _url("amqp", "amqps"), "an amqp:// URL", ""),
        identities=read("ACCESS_TOKENS", _identities, tokens, {}),
        crm_url=read("CRM_URL", _url("http", "https"), "an http:// URL", "") if calls_crm else "",
        service_token=read("SERVICE_TOKEN", str, "our own bearer token", "") if calls_crm else "",
        outside=_outside(read) if acts else None,
    )
    if environment.mistakes:
        print(f"{service} cannot start:", *environment.mistakes, sep="\n  ", file=sys.stderr)
        raise SystemExit(2)
    return settings


def _outside(read: Callable[..., Any]) -> Outside:
    web = _url("http", "https")
    return Outside(
        pipeline_url=read("PIPELINE_URL", web, "an http:// URL", ""),
        webhook_url=read("WEBHOOK_URL", web, "an http:// URL", ""),
        alert_webhook_url=read("ALERT_WEBHOOK_URL", web, "an http:// URL", ""),
        webhook_allowed_hosts=read("WEBHOOK_ALLOWED_HOSTS", _hosts, "host:port, host:port, …", frozenset()),
        webhook_secret=read("WEBHOOK_SECRET", str, "the key that webhooks are signed with", ""),
        smtp_url=read("SMTP_URL", _url("smtp"), "an smtp:// URL", ""),
        mail_from=read("MAIL_FROM", str, "a mail address", ""),
        mail_to=read("MAIL_TO", str, "a mail address", ""),
    )


def _hosts(text: str) -> frozenset[str]:
    hosts = frozenset(host.strip().lower() for host in text.split(","))
    if not all(re.fullmatch(r"[^\s/@]+:[0-9]+", host) for host in hosts):
        raise ValueError
    return hosts


def _port(text: str) -> int:
    if not re.fullmatch(r"[1-9][0-9]{0,4}", text) or int(text) > 65535:
        raise ValueError
    return int(text)


def _url(*schemes: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        parts = urlsplit(text)
        if parts.scheme not in schemes or not parts.hostname or parts.port == 0:
            raise ValueError
        return text

    return parse


def _identities(text: str) -> dict[str, Identity]:
    identities = msgspec.json.decode(text, type=dict[str, Identity])
    if not identities or "" in identities:
        raise ValueError
    return identities
