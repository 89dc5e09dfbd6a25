"""The stack that is measured: services without proxies, and a database whose durability can be switched."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import msgspec
import pika
import psycopg
from msgspec import structs

from harness.environment.boot import OnStep, boot
from harness.environment.failures import EnvironmentFailed
from harness.environment.servers import Servers, find_servers
from harness.environment.stack import Stack
from harness.target import Target, load_target

Outcome = TypeVar("Outcome", bound=msgspec.Struct)

LEADS = 10_000
FIRST_LEAD = 100_000_000_000
"""Leads have ids that pgbench can make too: ``00000000-0000-4000-8000-`` and a number of twelve digits."""

_RELAXED_TO_DURABLE = {"fsync=off": "fsync=on", "full_page_writes=off": "full_page_writes=on"}


class Site:
    """One booted stack, and what all measurements do to it."""

    def __init__(self, stack: Stack, target: Target, servers: Servers) -> None:
        self.stack, self.target, self.servers = stack, target, servers

    def switch(self, *, durable: bool) -> None:
        """Restart the database with or without fsync. No service runs afterwards."""
        self.stop(*self.stack.services)
        words = _RELAXED_TO_DURABLE if durable else {on: off for off, on in _RELAXED_TO_DURABLE.items()}
        record = self.stack.database.record
        record.argv = tuple(words.get(word, word) for word in record.argv)
        self.stack.database.restart()

    def start(self, *services: str) -> None:
        """Start services and wait until they are ready."""
        for name in services:
            self.stack.processes[name].start()
        for name in services:
            self.stack.processes[name].await_ready()

    def stop(self, *services: str) -> None:
        for name in services:
            self.stack.processes[name].terminate()

    @contextmanager
    def database(self) -> Iterator[psycopg.Connection]:
        """An administrator's session, each statement on its own."""
        with psycopg.connect(self.stack.database_url, autocommit=True) as connection:
            yield connection

    def empty_queues(self) -> None:
        """Only for a stopped system."""
        connection = pika.BlockingConnection(pika.URLParameters(self.stack.broker_url))
        for queue in self.target.broker.queues:
            connection.channel().queue_purge(queue)
        connection.close()

    def fresh_tables(self) -> None:
        """Only for a stopped system: the same rows for whoever is measured next, nothing bloated, nothing dirty."""
        with self.database() as database:
            database.execute(f"TRUNCATE {', '.join(self.target.database.transient)} RESTART IDENTITY CASCADE".encode())
            database.execute(
                "INSERT INTO pipeline.stages (entity_type, entity_id, stage, version)"
                " SELECT 'lead', ('00000000-0000-4000-8000-' || %s + number)::uuid, 'contacted', 0"
                " FROM generate_series(0, %s - 1) AS number",
                (FIRST_LEAD, LEADS),
            )
            database.execute("VACUUM ANALYZE pipeline.stages")
            database.execute("CHECKPOINT")


def in_its_own_process(module: str, order: msgspec.Struct, outcome: type[Outcome]) -> Outcome:
    """Run a module of the bench on an order. Raises EnvironmentFailed with what it complained of."""
    done = subprocess.run(
        [sys.executable, "-m", module], input=msgspec.json.encode(order), capture_output=True, check=False
    )
    if done.returncode != 0:
        raise EnvironmentFailed(f"{module} failed: {done.stderr.decode().strip()[-500:]}")
    return msgspec.json.decode(done.stdout, type=outcome)


@contextmanager
def site(run_dir: Path, on_step: OnStep) -> Iterator[Site]:
    """A stack as in production: no proxy between a service and its servers, and the production profile."""
    target, servers = _in_production(load_target()), find_servers()
    with boot(target, run_dir=run_dir, name="bench", environment="native", on_step=on_step) as stack:
        here = Site(stack, target, servers)
        here.stop(*stack.services)
        direct = {listen: stack.addresses[target.edge_parts(edge)[1]] for edge, listen in stack.edges.items()}
        for name in stack.services:
            environment = stack.records[name].environment
            for key, text in environment.items():
                for proxy, address in direct.items():
                    text = text.replace(proxy, address)
                environment[key] = text
        stack.save()
        yield here


def _in_production(target: Target) -> Target:
    services = {
        name: structs.replace(service, environment=service.environment | {"PROFILE": "production"})
        for name, service in target.services.items()
    }
    return structs.replace(target, services=services)
