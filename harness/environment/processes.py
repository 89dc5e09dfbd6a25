"""One process of a stack: start it, know it again, freeze it, end it, and keep account of every start.

Everything here is data and can be written down, so that a stack which outlives the command that made it can be
faulted and ended by another one. The mark in the environment (see ``keeper``) tells which processes are meant.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Literal, TypedDict

import msgspec

from harness.environment import faketime, keeper
from harness.environment.failures import EnvironmentFailed
from harness.environment.forking import Forked, ForkServer, fork_server_for
from harness.environment.handshakes import handshake
from harness.environment.waiting import NeverHappened, eventually

READY_WITHIN_S = 30.0
_GONE_WITHIN_S = 5.0

How = Literal["running", "stopped", "forced", "killed", "crashed"]


class Start(msgspec.Struct):
    """One life of a process: its output (a path within the run directory) and its end.

    ``killed`` is on purpose; ``forced`` was asked to end and did not; nobody orders ``crashed``.
    """

    file: str
    pid: int
    started_at: str
    ended_at: str | None = None
    how: How = "running"
    skew_s: float = 0.0
    """So much its wall clock was fast, in this life (negative: slow)."""
    exit_code: int | None = None
    """With which it ended, negative for a signal; None for one that another command has started."""
    first_seq: int = 0
    """The number of the first line that its file holds: not 0 where we came when it was running already."""


class Container(msgspec.Struct, kw_only=True):
    """Where a process runs that runs in a container. ``port``: on which it listens in there; ``published``: the same
    port on 127.0.0.1 out here, in every life of it. Neither where it uses the network of its host (``host_network``).
    """

    image: str
    port: int = 0
    published: int = 0
    host_network: bool = False
    user: str = ""
    """As whom commands are run in there; as whoever the image says, if nobody is named."""
    id: str | None = None
    """The engine's name for it, once it was made."""


class ProcessRecord(msgspec.Struct, kw_only=True):
    """All there is to know about a process of a stack: enough for another command to fault it, start it, judge it.

    In a container, ``environment`` is what is set there besides what the image sets.
    """

    name: str
    argv: tuple[str, ...]
    environment: dict[str, str]
    cwd: Path
    ready: str
    user: str | None = None
    stop_signal: int = int(signal.SIGTERM)
    output: Literal["ndjson", "log"] = "log"
    container: Container | None = None
    preload: tuple[str, ...] = ()
    """Modules that a fork server has imported, of which this is a fork then: it runs ``python -m …``."""
    starts: list[Start] = []


@dataclass(frozen=True, slots=True)
class Ran:
    """What came of a command: the exit code, what it said, and what it complained of."""

    exit_code: int
    said: str
    complained: str = ""


class Supervised(ABC):
    """A process that a stack is made of, wherever it runs: killable, pausable, restartable (see ``capabilities``)."""

    def __init__(
        self, record: ProcessRecord, *, state_dir: Path, run_dir: Path, log_dir: Path, journal: Callable[[], None]
    ) -> None:
        self.record = record
        self.name = record.name
        self._state_dir = state_dir
        self._run_dir = run_dir
        self._log_dir = log_dir
        self._journal = journal

    @property
    @abstractmethod
    def alive(self) -> bool:
        """Whether it runs (a paused process does)."""

    @property
    @abstractmethod
    def exit_code(self) -> int | None:
        """How its latest start ended; None while it runs, or where that is not known."""

    @abstractmethod
    def start(self, *, keep_open: Sequence[int] = (), skew_s: float = 0.0) -> None:
        """Start it, with files of its own for this start. Returns before it is ready.

        ``keep_open``: descriptors that it inherits. ``skew_s``: let its wall clock be so much fast. Raises
        EnvironmentFailed where that cannot be done.
        """

    def prepare(self) -> object:
        """Do what can be done before it is started: nothing, as a rule. Returns at once."""
        return None

    @abstractmethod
    def kill(self) -> None:
        """End it, and all that it started, at once. Returns when it is gone."""

    @abstractmethod
    def terminate(self, *, within_s: float = 10.0) -> bool:
        """Ask it to end, then insist. Says whether asking was enough. A paused process is resumed first."""

    @abstractmethod
    def pause(self) -> None:
        """Freeze it and all that it started. Returns when nothing of it runs any more."""

    @abstractmethod
    def resume(self) -> None:
        """Let it go on. Harmless if it was not paused."""

    @abstractmethod
    def find_beside(self, program: str, *patterns: str) -> str | None:
        """Where a program is, for ``run_beside``: on its search path, or else where one of the patterns leads."""

    @abstractmethod
    def run_beside(self, argv: Sequence[str], *, told: str = "", within_s: float) -> Ran:
        """Run a command where it runs and as who it is; ``told`` is its standard input."""

    @property
    def starts(self) -> list[Start]:
        """Every start so far, the latest last."""
        return self.record.starts

    @property
    def log(self) -> Path:
        """Where the latest start's complaints are."""
        output = self._output(max(1, len(self.starts)))
        return output.with_suffix(".stderr") if self.record.output == "ndjson" else output

    def await_ready(self, *, within_s: float = READY_WITHIN_S) -> None:
        """Return when it answers a real handshake. Raises EnvironmentFailed with the end of its log."""
        try:
            eventually(self._answers, within_s=within_s, describe=f"{self.name} to answer a handshake")
        except NeverHappened as error:
            raise EnvironmentFailed(str(error), log=self.log) from error

    def restart(self) -> None:
        """End it properly if it runs, start it, wait until it is ready."""
        self.terminate()
        self.start()
        self.await_ready()

    def notice(self) -> None:
        """Put an end that nobody ordered into the account."""
        if self._accounted and not self.alive:
            self._ended("crashed")

    def _answers(self) -> bool:
        if not self.alive:
            self.notice()
            raise EnvironmentFailed(f"{self.name} ended (exit code {self.exit_code}) before it was ready", log=self.log)
        return handshake(self.record.ready)

    def _output(self, start: int) -> Path:
        return self._log_dir / f"{self.name}-{start}.{self.record.output}"

    def _started(self, pid: int, *, at: str, skew_s: float = 0.0) -> None:
        file = str(self._output(len(self.starts) + 1).relative_to(self._run_dir))
        self.starts.append(Start(file=file, pid=pid, started_at=at, skew_s=skew_s))
        self._journal()

    @property
    def _accounted(self) -> bool:
        """Whether the account has a start that has not ended. What runs without one: whoever started it was killed
        before it could write that down."""
        return bool(self.starts) and self.starts[-1].how == "running"

    def _ended(self, how: How) -> bool:
        """Put its end into the account. Whether there was a start to end."""
        if not self._accounted:
            return False
        start = self.starts[-1]
        start.how, start.ended_at, start.exit_code = how, now(), self.exit_code
        self._journal()
        return True


class ManagedProcess(Supervised):
    """A process of this machine."""

    _popen: subprocess.Popen[bytes] | Forked | None = None

    @property
    def alive(self) -> bool:
        """Whether it runs (a paused process does)."""
        if self._popen is not None:
            return self._popen.poll() is None
        return bool(keeper.members(self._state_dir, self.name))

    @property
    def exit_code(self) -> int | None:
        """How its latest start ended; None while it runs, and for one that another command has started."""
        return None if self._popen is None else self._popen.poll()

    def start(self, *, keep_open: Sequence[int] = (), skew_s: float = 0.0) -> None:
        """Start it in a session of its own, with files of its own for this start. Returns before it is ready.

        ``skew_s``: let its wall clock be so much fast. Raises EnvironmentFailed where that cannot be done.
        """
        self.notice()
        if self.alive:
            raise EnvironmentFailed(f"{self.name} is to be started, but runs (pid {self.starts[-1].pid})")
        output = self._output(len(self.starts) + 1)
        complaints = output.with_suffix(".stderr") if self.record.output == "ndjson" else output
        environment = self.record.environment | _marks(self._state_dir, self.name, self.record.stop_signal)
        at = now()  # before it can say a word
        with output.open("ab") as out, complaints.open("ab") as err:
            if (server := self.prepare()) and not skew_s:  # a clock has to be changed before an interpreter starts
                self._popen = server.start(self.record.argv, environment, cwd=self.record.cwd, stdout=out, stderr=err)
            else:
                self._popen = subprocess.Popen(
                    self.record.argv,
                    env=environment | faketime.environment(skew_s),
                    cwd=self.record.cwd,
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=err,
                    start_new_session=True,
                    pass_fds=keep_open,
                    **_as_user(self.record.user),
                )
        self._started(self._popen.pid, at=at, skew_s=skew_s)

    def prepare(self) -> ForkServer | None:
        """Let its fork server import what it has to, while others start. None if it is no fork."""
        if not self.record.preload:
            return None
        return fork_server_for(self.record.preload, plain_environment(Path(self.record.environment["HOME"])))

    def tree(self) -> set[int]:
        """Its process ids: what carries its mark, and what descends from that."""
        return keeper.tree(keeper.members(self._state_dir, self.name))

    def kill(self) -> None:
        """End it, and all that it started, at once. Returns when it is gone."""
        self.notice()
        was_alive = self.alive
        self._force()
        if was_alive:
            self._ended("killed")

    def terminate(self, *, within_s: float = 10.0) -> bool:
        """Ask it to end, then insist. Says whether asking was enough. A paused process is resumed first."""
        self.notice()
        if not self.alive:
            return True
        if not self._accounted:
            self._force()
            return False
        self.resume()
        keeper.send(self.starts[-1].pid, self.record.stop_signal, self._state_dir)
        try:
            eventually(lambda: not self.alive, within_s=within_s, describe=f"{self.name} to end")
            how: How = "stopped"
        except NeverHappened:
            how = "forced"
        self._force()
        self._ended(how)
        return how == "stopped"

    def pause(self) -> None:
        """Freeze it and all that it started. Returns when nothing of it runs any more."""
        if not self.alive:
            raise EnvironmentFailed(f"{self.name} is to be paused, but does not run", log=self.log)
        eventually(self._freeze, within_s=_GONE_WITHIN_S, describe=f"{self.name} to stand still", every_s=0.005)

    def resume(self) -> None:
        """Let it go on. Harmless if it was not paused."""
        for pid in self.tree():
            keeper.send(pid, signal.SIGCONT, self._state_dir)

    def find_beside(self, program: str, *patterns: str) -> str | None:
        """Where a program is: on its search path, or else where one of the patterns leads."""
        folders = [str(place.parent) for pattern in patterns for place in Path("/").glob(pattern.lstrip("/"))]
        return shutil.which(program, path=":".join([self.record.environment["PATH"], *folders]))

    def run_beside(self, argv: Sequence[str], *, told: str = "", within_s: float) -> Ran:
        """Run a command in its folder and with its variables; ``told`` is its standard input."""
        done = subprocess.run(
            argv,
            input=told,
            env=self.record.environment,
            cwd=self.record.cwd,
            capture_output=True,
            text=True,
            timeout=within_s,
            check=False,
        )
        return Ran(done.returncode, done.stdout, done.stderr)

    def _freeze(self) -> bool:
        running = [pid for pid in self.tree() if keeper.state_of(pid) not in "TtZX"]
        for pid in running:  # a fork may have escaped: only a look that finds none running is the last one
            keeper.send(pid, signal.SIGSTOP, self._state_dir)
        return not running

    def _force(self) -> None:
        """To look for all that belongs to it is to read about every process of the machine: not done while they die."""
        soon = partial(eventually, within_s=_GONE_WITHIN_S, every_s=0.003)

        def killed() -> bool:
            victims = self._living(self.tree())
            for pid in victims:
                keeper.send(pid, signal.SIGKILL, self._state_dir)
            soon(lambda: not self._living(victims), describe=f"{victims} to be gone")
            return not victims and not self.alive  # a fork may have escaped: the last look is one that finds none

        soon(killed, describe=f"{self.name} to be gone")

    @staticmethod
    def _living(pids: set[int]) -> set[int]:
        return {pid for pid in pids if keeper.state_of(pid) not in "ZX"}

    def _ended(self, how: How) -> bool:
        ended = super()._ended(how)
        if ended and self.starts[-1].skew_s:
            faketime.clear_up(self.starts[-1].pid)
        return ended


def plain_environment(home: Path) -> dict[str, str]:
    """What every process gets: nothing of ours but the search path, so that a run does not depend on a shell."""
    path = os.environ.get("PATH", "")
    return {
        "PATH": f"{path}:/usr/local/bin:/usr/bin:/bin".lstrip(":"),
        "HOME": str(home),
        "LANG": "C.UTF-8",
        "TZ": "UTC",
    }


def run_to_end(
    argv: Sequence[str], *, name: str, state_dir: Path, log: Path, cwd: Path = Path("/"), user: str | None = None
) -> None:
    """Run a command that ends by itself; it is of the stack like all the rest. Raises EnvironmentFailed if it fails."""
    with log.open("ab") as out:
        done = subprocess.run(
            argv,
            env=plain_environment(state_dir) | _marks(state_dir, name, signal.SIGKILL),
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
            check=False,
            **_as_user(user),
        )
    if done.returncode != 0:
        raise EnvironmentFailed(f"{' '.join(argv[:3])} … failed with exit code {done.returncode}", log=log)


def _marks(state_dir: Path, name: str, stop_signal: int) -> dict[str, str]:
    return {keeper.STACK: str(state_dir), keeper.PROCESS: name, keeper.STOP_SIGNAL: str(int(stop_signal))}


class _User(TypedDict, total=False):
    user: str
    group: int
    extra_groups: list[int]


def _as_user(user: str | None) -> _User:
    return {} if user is None else {"user": user, "group": pwd.getpwnam(user).pw_gid, "extra_groups": []}


def now() -> str:
    """This moment, as all moments of a run are written."""
    return datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
