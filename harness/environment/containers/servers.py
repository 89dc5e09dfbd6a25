"""The servers of a stack as containers: which images, with which settings, on which ports.

PostgreSQL and RabbitMQ get the settings that they have as processes, by their command line and the variables that the
official images know, so that nothing has to be mounted. Known of a published port: the engine's own relay accepts
connections as long as the container runs, also before its server does, so only a handshake tells that it is ready.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from harness.environment import keeper, postgres, proxies, rabbitmq
from harness.environment.containers import engine, remove
from harness.environment.foundation import EnvironmentName
from harness.environment.plan import database_url
from harness.environment.processes import Container, ProcessRecord
from harness.environment.servers import ProxyServer, chosen_proxy_server
from harness.environment.stack import Stack

_POSTGRES_PORT, _RABBITMQ_PORT = 5432, 5672
_INITDB = "--encoding=UTF8 --locale=C.UTF-8 --no-sync"
_PASSED_ON = ("PATH", "HOME", "DOCKER_HOST", "DOCKER_CERT_PATH", "DOCKER_TLS_VERIFY", "DOCKER_CONFIG")
_FROM_ANYWHERE = {"listen_addresses": "*"}
"""Within the container; out here the port is published on 127.0.0.1 alone."""


@dataclass(frozen=True, slots=True)
class Image:
    """What a server is made from, and the variable that chooses another."""

    name: str
    variable: str


def images() -> dict[str, Image]:
    """Process → its image. Toxiproxy's only where it is the proxy server."""
    chosen = {
        postgres.NAME: ("GAUNTLET_IMAGE_POSTGRES", "postgres:17"),
        rabbitmq.NAME: ("GAUNTLET_IMAGE_RABBITMQ", "rabbitmq:4"),
    }
    if chosen_proxy_server() == "toxiproxy":
        chosen[proxies.NAME] = ("GAUNTLET_IMAGE_TOXIPROXY", "ghcr.io/shopify/toxiproxy:2.12.0")
    return {
        process: Image(os.environ.get(variable) or usual, variable) for process, (variable, usual) in chosen.items()
    }


def get_images(on_step: Callable[[str], None]) -> None:
    """Pull whatever the engine has not got yet. Raises NoEngine where that cannot be done."""
    for image in images().values():
        if not engine.has_image(image.name):
            on_step(f"pulling {image.name}")
            engine.pull(image.name, variable=image.variable)


@dataclass(frozen=True, slots=True)
class ContainerServers:
    """Images and an engine, as the foundation of a stack. Its data lies in the containers, and goes with them."""

    images: dict[str, Image]
    proxy_server: ProxyServer
    name: EnvironmentName = "containers"
    ends: tuple[str, ...] = ()

    def records(self, stack: Stack) -> tuple[ProcessRecord, ...]:
        """Nothing is made before the keeper knows how to remove it."""
        _note_for_the_keeper(stack.state_dir)
        return self._broker(stack), self._database(stack), self._proxies(stack)

    def start_broker(self, stack: Stack) -> None:
        """Return when the broker answers."""
        stack.broker.start()
        stack.broker.await_ready()

    def start_database(self, stack: Stack) -> None:
        """Return when the database server answers. Its image lets the superuser in."""
        stack.database.start()
        stack.database.await_ready()

    def _broker(self, stack: Stack) -> ProcessRecord:
        return ProcessRecord(
            name=rabbitmq.NAME,
            argv=(),
            environment={
                "HOME": "/var/lib/rabbitmq",  # also of commands that are run beside it: there is its cookie
                "RABBITMQ_NODENAME": rabbitmq.NODE,
                "RABBITMQ_DEFAULT_USER": rabbitmq.USER,
                "RABBITMQ_DEFAULT_PASS": stack.passwords[rabbitmq.USER],
                "RABBITMQ_DEFAULT_VHOST": rabbitmq.VHOST,
                "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": rabbitmq.ERLANG_IN_A_CONTAINER,
            },
            cwd=Path("/"),
            ready=stack.broker_url,
            container=Container(
                image=self.images[rabbitmq.NAME].name,
                port=_RABBITMQ_PORT,
                published=stack.port("broker"),
                user="rabbitmq",
            ),
        )

    def _database(self, stack: Stack) -> ProcessRecord:
        password = stack.passwords[postgres.SUPERUSER]
        return ProcessRecord(
            name=postgres.NAME,
            argv=("postgres", *postgres.options(postgres.SETTINGS | _FROM_ANYWHERE)),
            environment={
                "POSTGRES_USER": postgres.SUPERUSER,
                "POSTGRES_PASSWORD": password,
                "POSTGRES_DB": "postgres",
                "POSTGRES_INITDB_ARGS": _INITDB,
            },
            cwd=Path("/"),
            ready=database_url(stack.addresses["database"], "postgres", password),
            container=Container(
                image=self.images[postgres.NAME].name, port=_POSTGRES_PORT, published=stack.port("database")
            ),
        )

    def _proxies(self, stack: Stack) -> ProcessRecord:
        """Ours is a process. Toxiproxy's leads to ports of 127.0.0.1, so it has to be in the network of its host."""
        port = stack.port(proxies.NAME)
        made = proxies.record(
            state_dir=stack.state_dir, port=port, toxiproxy=Path("/toxiproxy-server"), server=self.proxy_server
        )
        if self.proxy_server == "toxiproxy":
            made.argv, made.environment = made.argv[1:], {}  # the image's entry point is the program
            made.container = Container(image=self.images[proxies.NAME].name, host_network=True)
        return made


def _note_for_the_keeper(state_dir: Path) -> None:
    environment = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    order = {
        "argv": [sys.executable, remove.__file__, f"{engine.STACK}={state_dir}"],
        "environment": environment | {"DOCKER_HOST": engine.host()},
    }
    file = state_dir / keeper.AT_END
    file.touch(mode=0o600)
    file.write_text(json.dumps(order), encoding="utf-8")
