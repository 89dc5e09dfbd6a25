"""Starting a service as a fork of a process that has imported its libraries (see ``fork_server``)."""

from __future__ import annotations

import atexit
import json
import socket
import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO

from harness.environment import fork_server
from harness.environment.failures import EnvironmentFailed

_MOST_BYTES = 1 << 17
_ROOM = 1 << 15
"""For the variables of a service, in bytes."""


@dataclass(frozen=True, slots=True)
class Forked:
    """A child of the fork server; as much of Popen as anybody needs."""

    pid: int
    server: ForkServer

    def poll(self) -> int | None:
        """Its exit code, negative for a signal; None while it runs."""
        return self.server.exit_code(self.pid)


class ForkServer:
    """One running fork server. It ends with this process, or when it is closed; its children outlive it."""

    def __init__(self, preload: tuple[str, ...], environment: dict[str, str]) -> None:
        self._door, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._asking = threading.Lock()
        self._exit_codes: dict[int, int] = {}
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, fork_server.__file__, *preload],
                env=environment | {fork_server.PADDING: "x" * _ROOM},
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
                cwd="/",
            )

    def start(
        self, argv: Sequence[str], environment: dict[str, str], *, cwd: Path, stdout: BinaryIO, stderr: BinaryIO
    ) -> Forked:
        """Fork one that runs ``python -m …``. Raises EnvironmentFailed if the server is gone."""
        order = json.dumps({"argv": argv, "environment": environment, "cwd": str(cwd)}).encode()
        with self._asking:
            try:
                socket.send_fds(self._door, [order], [stdout.fileno(), stderr.fileno()])
                while "pid" not in (said := self._hear()):
                    pass
            except OSError as error:
                raise self._gone(error) from error
        self._exit_codes.pop(said["pid"], None)  # of an earlier child with the same process id
        return Forked(said["pid"], self)

    def exit_code(self, pid: int) -> int | None:
        """Of a child; None while it runs."""
        with self._asking:
            try:
                while pid not in self._exit_codes:
                    self._hear(socket.MSG_DONTWAIT)
            except BlockingIOError:
                return None
            except OSError as error:
                raise self._gone(error) from error
            return self._exit_codes[pid]

    def close(self) -> None:
        """Send it home."""
        self._door.close()
        self._process.wait()

    def _gone(self, error: OSError) -> EnvironmentFailed:
        return EnvironmentFailed(
            f"the fork server (pid {self._process.pid}), from which services are started, is gone: {error}"
        )

    def _hear(self, flags: int = 0) -> dict[str, Any]:
        message = self._door.recv(_MOST_BYTES, flags)
        if not message:
            raise ConnectionResetError("it has hung up")
        said: dict[str, Any] = json.loads(message)
        if "ended" in said:
            self._exit_codes[said["ended"]] = said["code"]
        return said


@cache
def _server(preload: tuple[str, ...], environment: tuple[tuple[str, str], ...]) -> ForkServer:
    server = ForkServer(preload, dict(environment))
    atexit.register(server.close)
    return server


def fork_server_for(preload: tuple[str, ...], environment: dict[str, str]) -> ForkServer:
    """The fork server of this process that has imported these modules, started if there is none yet.

    ``environment``: what holds from an interpreter's start on, as the folder of a user's own packages.
    """
    return _server(preload, tuple(environment.items()))
