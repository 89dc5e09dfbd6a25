"""Locust as a process of its own (it replaces the standard library's sockets when it is imported): one, or several."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec

from harness.environment import keeper
from harness.environment.ports import PortLease
from harness.environment.stack import Stack
from harness.environment.waiting import NeverHappened, eventually
from harness.target import PROJECT_ROOT
from scenarios.load import order as orders
from scenarios.load.order import Order

LOCUSTFILE = Path(__file__).with_name("locustfile.py")
NAME = "generator"
LOCUSTS_OWN = "locust"
"""The file with Locust's own statistics, which adds ``.json`` to its name."""
_ENDS_WITHIN_S = 5.0


class GeneratorFailed(Exception):
    """The generator did not begin, or did not do its work. The message has the end of its log."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """How many processes send the requests. ``expect``: so many workers are started by others, and connect to
    ``bind``:``port``; ``page``: Locust's page is shown (and tells the address)."""

    processes: int = 1
    expect: int = 0
    bind: str = "127.0.0.1"
    port: int = 0
    page: bool = False

    @property
    def workers(self) -> int:
        return self.expect or (self.processes if self.processes > 1 else 0)


class Generator:
    """Locust at work. ``begun_ns``: the zero of its schedule."""

    def __init__(self, stack: Stack, folder: Path, processes: Sequence[subprocess.Popen[bytes]], page: str) -> None:
        self._stack, self._folder, self._processes = stack, folder, processes
        self.page = page
        """The address of Locust's page, where there is one."""

    @property
    def log(self) -> Path:
        return self._folder / "locust-0.log"

    def pids(self) -> set[int]:
        """Of all its processes on this machine."""
        return {process.pid for process in self._processes if process.poll() is None}

    def await_begun(self, *, within_s: float) -> int:
        """Wait for the zero of the schedule. Raises GeneratorFailed."""
        begun = self._folder / orders.BEGUN

        def probe() -> str:
            if not self.running:
                raise GeneratorFailed(f"Locust ended before it began:\n{self._last_words()}")
            return begun.read_text() if begun.exists() else ""

        try:
            return int(eventually(probe, within_s=within_s, describe="Locust to begin", every_s=0.05, log=self.log))
        except NeverHappened as never:
            raise GeneratorFailed(f"{never}\n{self._last_words()}") from never

    @property
    def running(self) -> bool:
        return self._processes[0].poll() is None

    def ended(self, *, within_s: float) -> bool:
        """Wait so long for its end; whether it has come."""
        try:
            self._processes[0].wait(within_s)
        except subprocess.TimeoutExpired:
            return False
        return True

    def stop(self) -> None:
        """Let it send nothing more. What is under way it waits for."""
        (self._folder / orders.STOP).touch()

    @property
    def stopped(self) -> bool:
        return (self._folder / orders.STOP).exists()

    def sent(self) -> list[int]:
        """How many requests each process that has come to its end says that it has sent."""
        done = self._folder / orders.DONE
        return list(map(int, done.read_text().split())) if done.exists() else []

    def end(self) -> None:
        """Ask all to end, then insist. Harmless if they have ended."""
        for process in self._processes:
            keeper.send(process.pid, signal.SIGTERM, self._stack.state_dir)
        for process in self._processes:
            if not _has_ended(process.pid, within_s=_ENDS_WITHIN_S):
                keeper.send(process.pid, signal.SIGKILL, self._stack.state_dir)
                _has_ended(process.pid, within_s=_ENDS_WITHIN_S)
            process.poll()

    def _last_words(self) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-12:])


def _has_ended(pid: int, *, within_s: float) -> bool:
    """Wait for the end of a child. Not by Popen: a Ctrl-C at the wrong moment of its ``wait`` leaves its lock taken
    (right before the ``try`` that gives it back), and whoever waits after that waits in vain."""
    try:
        end = os.pidfd_open(pid)
    except ProcessLookupError:  # and somebody has heard of it already
        return True
    try:
        return bool(select.select([end], [], [], within_s)[0])
    finally:
        os.close(end)


@contextmanager
def generating(stack: Stack, order: Order, folder: Path, fleet: Fleet) -> Iterator[Generator]:
    """The generator for the duration of the block; whatever happens, nothing of it stays.

    Its processes carry the stack's mark, so they end with the stack even where this process is killed.
    """
    order_file = folder / "order.json"
    with os.fdopen(os.open(order_file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as out:
        out.write(msgspec.json.encode(order))  # it holds a token, so nobody else may read it
    with closing(PortLease()) as ports:
        page_port, port = ports.take(), fleet.port or ports.take()
        commands = _commands(fleet, folder, port, page_port)
        processes: list[subprocess.Popen[bytes]] = []
        generator = Generator(stack, folder, processes, f"http://127.0.0.1:{page_port}" if fleet.page else "")
        try:
            for number, command in enumerate(commands):
                processes.append(_start(stack, command, order_file, folder / f"locust-{number}.log"))
            yield generator
        finally:
            generator.end()


def _commands(fleet: Fleet, folder: Path, port: int, page_port: int) -> list[list[str]]:
    """What the one process, or the master and its workers, are told."""
    arguments = ["--loglevel", "INFO", "--only-summary", "--exit-code-on-error", "0"]
    arguments += ["--json-file", str(folder / LOCUSTS_OWN)]
    arguments += ["--web-host", "127.0.0.1", "--web-port", str(page_port)] if fleet.page else ["--headless"]
    arguments += ["--autostart", "--autoquit", "1"] if fleet.page else []
    if fleet.workers:
        arguments += ["--master", "--master-bind-host", fleet.bind, "--master-bind-port", str(port)]
        arguments += ["--expect-workers", str(fleet.workers)]
    commands = [arguments]
    if not fleet.expect:
        commands += [["--worker", "--master-host", "127.0.0.1", "--master-port", str(port)]] * fleet.workers
    return commands


def _start(stack: Stack, arguments: Sequence[str], order_file: Path, log: Path) -> subprocess.Popen[bytes]:
    environment = os.environ | {
        "PYTHONPATH": str(PROJECT_ROOT),
        orders.ORDER: str(order_file),
        keeper.STACK: str(stack.state_dir),
        keeper.PROCESS: NAME,
        keeper.STOP_SIGNAL: str(int(signal.SIGTERM)),
    }
    with log.open("ab") as out:
        return subprocess.Popen(
            locust_command(arguments), env=environment, cwd=PROJECT_ROOT, stdin=subprocess.DEVNULL, stdout=out,
            stderr=out, start_new_session=True,
        )  # fmt: skip


def locust_command(arguments: Sequence[str]) -> list[str]:
    """How Locust is started with our locustfile."""
    return [sys.executable, "-m", "locust", "-f", str(LOCUSTFILE), *arguments]
