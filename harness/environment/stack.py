"""A stack: everything that came up for one target, where it is reached and how it is ended.

It is written to ``<run>/stacks/<name>/stack.json`` (mode 0600: it holds credentials) at every change, so that another
command can use, fault or end it, and so that a later check knows which process was killed on purpose.
"""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import Any

import msgspec

from harness.clients.broker import TAP
from harness.environment import keeper, postgres, rabbitmq
from harness.environment.failures import EnvironmentFailed
from harness.environment.foundation import EnvironmentName
from harness.environment.processes import ManagedProcess, ProcessRecord, Supervised
from harness.environment.servers import ProxyServer

_FILE = "stack.json"
_SERVICE_GRACE_S = 4.0
_writing = threading.Lock()


class Stack(msgspec.Struct, kw_only=True, dict=True):
    """What is up. Addresses are host:port; ``edges`` lead through the proxies, ``addresses`` directly.

    ``replicas`` (name → service) are second processes of a service on the same edges; a scenario starts them.
    """

    name: str
    target: str
    run_dir: Path
    state_dir: Path
    source_root: Path
    edges: dict[str, str]
    proxies: dict[str, str]
    addresses: dict[str, str]
    tokens: dict[str, str]
    passwords: dict[str, str]
    database_url: str
    broker_url: str
    proxies_url: str
    proxy_server: ProxyServer
    services: tuple[str, ...]
    replicas: dict[str, str]
    environment: EnvironmentName = "native"
    records: dict[str, ProcessRecord] = {}
    tap: str = TAP
    """The queue that the broker's copies go to."""
    lacks: dict[str, str] = {}
    """What a scenario cannot have here → why. Of what we have booted ourselves: nothing."""
    ended: bool = False

    @property
    def file(self) -> Path:
        """Where it is written down."""
        return stack_file(self.run_dir, self.name)

    @property
    def log_dir(self) -> Path:
        """What its processes print, one file for each start."""
        return self.run_dir / "logs" / self.name

    @cached_property
    def processes(self) -> dict[str, Supervised]:
        """Every process by name: services, ``postgres``, ``rabbitmq``, ``proxies``, ``sinks``; natively ``epmd``."""
        return {name: self._supervised(record) for name, record in self.records.items()}

    def _supervised(self, record: ProcessRecord) -> Supervised:
        places = {"state_dir": self.state_dir, "run_dir": self.run_dir, "log_dir": self.log_dir}
        if record.container is None:
            return ManagedProcess(record, journal=self.save, **places)
        from harness.environment.containers.container import ContainerProcess  # a native stack does without

        return ContainerProcess(record, journal=self.save, **places)

    @property
    def database(self) -> Supervised:
        """The database server."""
        return self.processes[postgres.NAME]

    @property
    def broker(self) -> Supervised:
        """The message broker."""
        return self.processes[rabbitmq.NAME]

    def skews_s(self) -> dict[str, float]:
        """By the name of the file that holds what it printed: by how much the clock of a process was fast."""
        starts = (start for process in self.processes.values() for start in process.starts)
        return {Path(start.file).name: start.skew_s for start in starts if start.skew_s}

    def port(self, end: str) -> int:
        """The port of an address."""
        return int(self.addresses[end].rpartition(":")[2])

    def url(self, service: str) -> str:
        """A service's own address, which no fault on an edge touches."""
        return _url(self.addresses[service])

    def edge_url(self, edge: str) -> str:
        """An HTTP edge's address, which is the proxy's."""
        return _url(self.edges[edge])

    def save(self) -> None:
        """Write it down, whole or not at all. Two processes may at once: a worker and the command that ends its run."""
        with _writing:
            draft = self.file.with_suffix(f".{os.getpid()}.tmp")
            with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as out:
                out.write(msgspec.json.format(msgspec.json.encode(self, enc_hook=str), indent=1))
            draft.replace(self.file)

    def running(self) -> dict[int | str, str]:
        """Process or container id → what it was started as, of everything of this stack that is still there.

        Raises EnvironmentFailed if its container engine does not answer.
        """
        names = {pid: name for name in self.records for pid in keeper.members(self.state_dir, name)}
        found: dict[int | str, str] = {pid: names.get(pid, "a child") for pid in keeper.members(self.state_dir)}
        return found | self._containers()

    def assert_standing(self) -> None:
        """Raises EnvironmentFailed if a container has ended by itself, or with its engine: whatever the system did
        since then proves nothing."""
        for process in self._contained():
            process.notice()
            if process.starts and (last := process.starts[-1]).how == "crashed":
                raise EnvironmentFailed(
                    f"the container of {process.name} ended (exit code {last.exit_code}), and nobody here has ended it",
                    log=process.log,
                )

    def end(self) -> None:
        """End everything: services properly (they have something to finish), then the rest. Harmless if done twice."""
        services = (*self.services, *self.replicas)
        try:
            with ThreadPoolExecutor(thread_name_prefix="end") as pool:
                list(pool.map(lambda name: self.processes[name].terminate(within_s=_SERVICE_GRACE_S), services))
                rest = [process for name, process in self.processes.items() if name not in services]
                list(pool.map(_end_server, rest))
            self.clear()
            (self.state_dir / keeper.AT_END).unlink(missing_ok=True)  # done
        finally:
            keeper.end_everything(self.state_dir)
            self.ended = not (survivors := self.running())
            self.save()
        if survivors:
            raise EnvironmentFailed(f"these processes of stack {self.name!r} cannot be ended: {survivors}")

    def clear(self) -> None:
        """Remove its containers, with all that is in them. Raises EnvironmentFailed if that cannot be done now."""
        if self.environment == "containers":
            from harness.environment.containers.engine import remove_stack

            remove_stack(self.state_dir)

    def _contained(self) -> list[Supervised]:
        return [process for name, process in self.processes.items() if self.records[name].container]

    def _containers(self) -> dict[int | str, str]:
        if self.environment != "containers":
            return {}
        from harness.environment.containers import engine

        found = engine.containers(f"{engine.STACK}={self.state_dir}")
        return {one.short_id: one.labels[engine.PROCESS] for one in found}


def _url(address: str) -> str:
    """Of what we boot we know host and port; of what others run, the whole address."""
    return address if "://" in address else f"http://{address}"


def stack_file(run_dir: Path, name: str) -> Path:
    """Where the stack of that name in a run is written down."""
    return run_dir / "stacks" / name / _FILE


def stacks_of(run_dir: Path) -> list[Stack]:
    """Every stack that a run wrote down."""
    return [load_stack(file) for file in sorted(run_dir.glob(f"stacks/*/{_FILE}"))]


def load_stack(file: Path) -> Stack:
    """Read a stack as another command wrote it; the run directory may have been moved since."""
    try:
        stack = msgspec.json.decode(file.read_bytes(), type=Stack, dec_hook=_decode)
    except (OSError, msgspec.ValidationError, msgspec.DecodeError) as error:
        raise EnvironmentFailed(f"{file} does not describe a stack: {error}") from error
    stack.run_dir = file.resolve().parents[2]
    return stack


def _end_server(process: Supervised) -> None:
    """The data is thrown away; only the database has something to give back to the kernel."""
    if process.name == postgres.NAME:
        process.terminate(within_s=2.0)
    else:
        process.kill()


def _decode(kind: type[Any], value: Any) -> Any:
    return kind(value)
