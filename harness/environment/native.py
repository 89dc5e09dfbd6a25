"""Servers as plain processes of this machine, private to a stack, without any container."""

from __future__ import annotations

from dataclasses import dataclass

from harness.environment import postgres, proxies, rabbitmq
from harness.environment.foundation import EnvironmentName
from harness.environment.processes import ProcessRecord
from harness.environment.servers import ProxyServer, Servers
from harness.environment.stack import Stack

_MAPPER, _NODE = "epmd", "broker node"


@dataclass(frozen=True, slots=True)
class NativeServers:
    """The programs that were found, as the foundation of a stack. Its data lies in the state folder."""

    servers: Servers
    name: EnvironmentName = "native"
    ends: tuple[str, ...] = (_MAPPER, _NODE)

    @property
    def proxy_server(self) -> ProxyServer:
        return self.servers.proxy_server

    def records(self, stack: Stack) -> tuple[ProcessRecord, ...]:
        """The broker comes with the port mapper that it insists on."""
        state_dir, port = stack.state_dir, stack.port
        return (
            rabbitmq.epmd_record(self.servers, state_dir=state_dir, epmd_port=port(_MAPPER)),
            rabbitmq.record(
                self.servers,
                state_dir=state_dir,
                port=port("broker"),
                node_port=port(_NODE),
                epmd_port=port(_MAPPER),
                url=stack.broker_url,
            ),
            postgres.record(self.servers, state_dir=state_dir, port=port("database")),
            proxies.record(
                state_dir=state_dir, port=port(proxies.NAME), toxiproxy=self.servers.toxiproxy, server=self.proxy_server
            ),
        )

    def start_broker(self, stack: Stack) -> None:
        """Return when the broker answers."""
        mapper = stack.processes[rabbitmq.EPMD]
        mapper.start()
        password = stack.passwords[rabbitmq.USER]
        rabbitmq.lay_out(self.servers, state_dir=stack.state_dir, port=stack.port("broker"), password=password)
        mapper.await_ready()
        stack.broker.start()
        stack.broker.await_ready()

    def start_database(self, stack: Stack) -> None:
        """Return when the database server answers, and lets its superuser in with the stack's password."""
        postgres.lay_out(self.servers, state_dir=stack.state_dir, log=stack.log_dir / "initdb.log")
        stack.database.start()
        stack.database.await_ready()
        postgres.set_password(
            url=stack.database.record.ready,
            role=postgres.SUPERUSER,
            password=stack.passwords[postgres.SUPERUSER],
        )
