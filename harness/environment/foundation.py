"""What the servers of a stack run on. The rest of it (services, sinks, our proxies) are processes in any case."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Protocol

from harness.environment.processes import ProcessRecord
from harness.environment.servers import ProxyServer

if TYPE_CHECKING:
    from harness.environment.stack import Stack

EnvironmentName = Literal["native", "containers", "external"]
"""``external``: a system that somebody else runs has no foundation of ours."""


class Foundation(Protocol):
    """Knows how to run a database server, a broker and a proxy server, and in which order they come up."""

    @property
    def name(self) -> EnvironmentName:
        """As it is written down and chosen."""

    @property
    def proxy_server(self) -> ProxyServer:
        """Which of the proxy servers it runs."""

    @property
    def ends(self) -> tuple[str, ...]:
        """Addresses that it needs besides those that every stack has."""

    def records(self, stack: Stack) -> tuple[ProcessRecord, ...]:
        """How to run each server; made before anything runs."""

    def start_broker(self, stack: Stack) -> None:
        """Return when the broker answers."""

    def start_database(self, stack: Stack) -> None:
        """Return when the database server answers, and lets its superuser in with the stack's password."""
