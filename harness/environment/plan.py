"""Everything about a stack that can be decided before its first process starts: ports, secrets, command lines."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from pathlib import Path

from harness.environment import postgres, proxies, rabbitmq, services, sinks
from harness.environment.failures import EnvironmentFailed
from harness.environment.foundation import Foundation
from harness.environment.stack import Stack, stack_file
from harness.target import Target

_HOST = "127.0.0.1"


def plan(
    target: Target,
    foundation: Foundation,
    *,
    take_port: Callable[[], int],
    state_dir: Path,
    run_dir: Path,
    name: str,
    source_root: Path,
) -> Stack:
    """A stack of which nothing runs yet. Its folders in the run directory are made, and it is written down."""
    if stack_file(run_dir, name).exists():
        raise EnvironmentFailed(f"{run_dir} has a stack {name!r} already; take another run directory or name")
    replicas = {f"{service}-b": service for service in target.services}
    outside = ("webhook", "mail", sinks.NAME)
    ends = ("database", "broker", proxies.NAME, *foundation.ends, *outside, *target.services, *replicas)
    addresses = {end: f"{_HOST}:{take_port()}" for end in ends}
    users = (postgres.SUPERUSER, rabbitmq.USER, sinks.SECRET, *target.database.roles)
    passwords = {user: secrets.token_urlsafe(18) for user in users}
    stack = Stack(
        name=name,
        target=target.name,
        environment=foundation.name,
        run_dir=run_dir,
        state_dir=state_dir,
        source_root=source_root,
        edges={edge: f"{_HOST}:{take_port()}" for edge in target.edges},
        proxies={edge: proxies.proxy_name(edge) for edge in target.edges},
        addresses=addresses,
        tokens={caller: secrets.token_urlsafe(24) for caller in target.tokens},
        passwords=passwords,
        database_url=database_url(addresses["database"], target.database.name, passwords[postgres.SUPERUSER]),
        broker_url=f"amqp://{rabbitmq.USER}:{passwords[rabbitmq.USER]}@{addresses['broker']}/{rabbitmq.VHOST}",
        proxies_url=f"http://{addresses[proxies.NAME]}",
        proxy_server=foundation.proxy_server,
        services=tuple(target.services),
        replicas=replicas,
    )
    servers = (*foundation.records(stack), sinks.record(stack))
    stack.records = {record.name: record for record in servers} | services.records(target, stack)
    stack.log_dir.mkdir(parents=True, exist_ok=True)
    stack.file.parent.mkdir(parents=True, exist_ok=True)
    stack.save()
    return stack


def database_url(address: str, database: str, password: str) -> str:
    """The administrator's way into a database, past every proxy."""
    return f"postgresql://{postgres.SUPERUSER}:{password}@{address}/{database}"


def upstreams(target: Target, stack: Stack) -> dict[str, str]:
    """Edge → where its proxy leads."""
    return {edge: stack.addresses[target.edge_parts(edge)[1]] for edge in target.edges}
