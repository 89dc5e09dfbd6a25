"""Ports that nobody else gets: not another stack of this user, and not the kernel for an outgoing connection.

Asking the kernel for a free port gives one out of the range from which it also serves outgoing connections, so that
it can be gone by the time a server is restarted on it. These come from outside that range. A lease is a lock on one
byte of a shared file, the byte's offset being the port. Such a lock belongs to the open file, not to the process, so a
process that inherits the descriptor keeps the lease alive for a stack that outlives the command which made it.
"""

from __future__ import annotations

import errno
import fcntl
import os
import random
import socket
import struct
from collections.abc import Sequence
from pathlib import Path

from harness.environment.failures import EnvironmentFailed
from harness.environment.folders import cache_folder

_EPHEMERAL = Path("/proc/sys/net/ipv4/ip_local_port_range")
_LOWEST, _HIGHEST = 10_240, 65_535


class PortLease:
    """Any number of ports, held until it is closed here and in every process that inherited it."""

    def __init__(self, candidates: Sequence[int] | None = None) -> None:
        self._file = os.open(cache_folder() / "ports", os.O_RDWR | os.O_CREAT, 0o600)
        choice = outside_the_kernels_range() if candidates is None else candidates
        self._candidates = iter(random.SystemRandom().sample(choice, len(choice)))

    def take(self) -> int:
        """One more port."""
        for port in self._candidates:
            if self._lock(port) and _is_free(port):
                return port
        raise EnvironmentFailed(f"no port is left ({_LOWEST} to {_HIGHEST} without the range in {_EPHEMERAL})")

    def fileno(self) -> int:
        """The descriptor to hand to a process that shall keep the lease alive."""
        return self._file

    def close(self) -> None:
        """Let go of it, as far as this process is concerned."""
        os.close(self._file)

    def _lock(self, port: int) -> bool:
        one_byte = struct.pack("hhqqi", fcntl.F_WRLCK, os.SEEK_SET, port, 1, 0)
        try:
            fcntl.fcntl(self._file, fcntl.F_OFD_SETLK, one_byte)
        except OSError as error:
            if error.errno in (errno.EAGAIN, errno.EACCES):
                return False
            raise
        return True


def outside_the_kernels_range() -> list[int]:
    """The ports that the kernel gives to no outgoing connection."""
    low, high = (int(word) for word in _EPHEMERAL.read_text(encoding="ascii").split())
    return [port for port in range(_LOWEST, _HIGHEST + 1) if not low <= port <= high]


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # what a server does; a listener still collides
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
