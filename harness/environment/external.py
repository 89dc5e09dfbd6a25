"""A system that somebody else runs: reached by its URLs, its log collected, and nothing done to it that is not allowed.

Nothing is booted and nothing ended. What cannot be had there is told by ``lacks``, and what needs it is not applicable.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import unquote, urlsplit
from uuid import uuid4

import httpx

from harness.clients.broker import TAP
from harness.clients.http import tls
from harness.environment.capabilities import CLEAN_SLATE
from harness.environment.collector import Collector
from harness.environment.failures import EnvironmentFailed
from harness.environment.processes import ProcessRecord
from harness.environment.stack import Stack, stack_file
from harness.environment.waiting import NeverHappened, eventually
from harness.target import ExternalSpec, Target, TargetError

_READY_WITHIN_S = 10.0
_PORTS = {"http": 80, "https": 443, "postgresql": 5432, "postgres": 5432, "amqp": 5672, "amqps": 5671}


def lacks(target: Target, *, destructive: bool) -> dict[str, str]:
    """What scenarios cannot have on this system → why. Of a system that we boot ourselves: nothing."""
    external = target.external
    if external is None:
        return {}
    found = {"faults": "nobody breaks a system that others run", "topology": "only its administrator sees it"}
    if not external.database:
        found |= {"database": "the target names no database", "schema": "the target names no database"}
    if not external.broker:
        found["broker"] = "the target names no broker"
    if not (external.tap and external.broker):
        found["tap"] = "the target has no tap"
    if not external.sinks:
        found["sinks"] = "its webhooks and mail go elsewhere"
    if not destructive:
        found[CLEAN_SLATE] = "others use it too, and nothing of theirs is touched: --allow-destructive"
    return found


@contextmanager
def attach(target: Target, *, run_dir: Path, name: str, destructive: bool) -> Iterator[Stack]:
    """The system for as long as the ``with`` block lasts; its log is collected into the run directory meanwhile.

    Raises TargetError for a variable that is not set and for a host that is not on the target's list, before anything
    is sent to anybody; EnvironmentFailed if a service is not ready, or its log is not where the target says.
    """
    external = target.external
    assert external is not None
    secrets = _secrets(external)
    _allowed(external, secrets)
    run_dir = run_dir.resolve()
    stack = _stack(target, external, secrets, run_dir, name, lacks(target, destructive=destructive))
    with closing(Collector(stack, external.logs)) as collector:
        collector.start()
        for service in external.urls:
            _await_ready(target, stack, service)
            _await_its_log(stack, service)
        yield stack
    stack.ended = True
    stack.save()


def check_allowed(target: Target) -> None:
    """Raises TargetError for a variable that is not set, and for a host that is not on the target's list."""
    if target.external is not None:
        _allowed(target.external, _secrets(target.external))


def _secrets(external: ExternalSpec) -> dict[str, str]:
    """Variable → its value, of all that the target names."""
    named = [*external.tokens.values(), *filter(None, (external.database, external.broker))]
    missing = [name for name in named if not os.environ.get(name)]
    if missing:
        raise TargetError(f"the target takes credentials from the environment, and these are not set: {missing}")
    return {name: os.environ[name] for name in named}


def _allowed(external: ExternalSpec, secrets: dict[str, str]) -> None:
    urls = [*external.urls.values(), *filter(None, (external.sinks,))]
    urls += [secrets[name] for name in (external.database, external.broker) if name]
    for url in urls:
        host = urlsplit(url).hostname
        if not host or not {host, _authority(url)} & set(external.hosts):
            raise TargetError(
                f"{_authority(url)} is not on the target's list of hosts, so nothing is sent there;"
                f" it has: {', '.join(external.hosts) or 'nobody'}"
            )


def _authority(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.hostname}:{parts.port or _PORTS.get(parts.scheme, 0)}"


def _stack(
    target: Target, external: ExternalSpec, secrets: dict[str, str], run_dir: Path, name: str, lacking: dict[str, str]
) -> Stack:
    if stack_file(run_dir, name).exists():
        raise EnvironmentFailed(f"{run_dir} has a stack {name!r} already; take another run directory or name")
    urls = [secrets.get(variable, "") for variable in (external.database, external.broker)]
    passwords = {user: urlsplit(url).password for user, url in zip(("database", "broker"), urls, strict=True)}
    services = tuple(external.urls)
    records = {
        service: ProcessRecord(
            name=service, argv=(), environment={}, cwd=run_dir, output="ndjson", starts=[],
            ready=external.urls[service] + target.services[service].ready,
        )
        for service in services
    }  # fmt: skip
    stack = Stack(
        name=name,
        target=target.name,
        run_dir=run_dir,
        state_dir=run_dir / "nothing is booted",
        source_root=run_dir,
        edges={f"client→{service}": url for service, url in external.urls.items()},
        proxies={},
        addresses={**external.urls, **({"sinks": external.sinks} if external.sinks else {})},
        tokens={caller: secrets[variable] for caller, variable in external.tokens.items()},
        passwords={user: unquote(password) for user, password in passwords.items() if password},
        database_url=urls[0],
        broker_url=urls[1],
        proxies_url="",
        proxy_server="wire",
        services=services,
        replicas={},
        records=records,
        tap=f"{TAP}.{uuid4()}",
        lacks=lacking,
        environment="external",
    )
    stack.log_dir.mkdir(parents=True, exist_ok=True)
    stack.file.parent.mkdir(parents=True, exist_ok=True)
    stack.save()
    return stack


def _await_ready(target: Target, stack: Stack, service: str) -> None:
    url = stack.records[service].ready
    with _http() as http:
        _in_time(lambda: http.get(url).status_code == 200, f"{service} of {target.name} to be ready at {url}")


def _await_its_log(stack: Stack, service: str) -> None:
    """Knock at its door without a token, which is refused, and logged: so its log is known to come in."""
    with _http() as http:

        def knock() -> bool:
            http.get(f"{stack.url(service)}/")
            return bool(stack.records[service].starts)

        _in_time(knock, f"a line of {service}, which was asked for something: is its log where the target says?")


def _http() -> httpx.Client:
    return httpx.Client(timeout=2.0, trust_env=False, verify=tls())


def _in_time(probe: Callable[[], bool], describe: str) -> None:
    try:
        eventually(probe, within_s=_READY_WITHIN_S, every_s=0.2, describe=describe)
    except NeverHappened as never:
        raise EnvironmentFailed(str(never)) from None
