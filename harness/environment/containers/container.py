"""One container of a stack, with the face of a process: start it, know it again, freeze it, end it.

It is made once; a kill leaves its files, and the next start finds them, on the same published port.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import cache, partial
from http import HTTPStatus
from pathlib import Path
from secrets import token_hex
from threading import get_ident
from typing import Any

from docker.errors import APIError, NotFound
from docker.models.containers import Container as Handle
from testcontainers.core.container import DockerContainer

from harness.environment.containers import engine
from harness.environment.containers.engine import asked
from harness.environment.failures import EnvironmentFailed
from harness.environment.processes import Container, How, Ran, Supervised, now
from harness.environment.waiting import eventually

_GONE_WITHIN_S = 10.0
_ASKED_AT_MOST = 5
_ENDED = "gauntlet: ended with exit code "
_ONCE = f"""\
told=$1; shift
[ -e "$0" ] || {{
    printf %s "$told" | "$@" >"$0.part" 2>"$0.err"
    echo "{_ENDED}$?" >>"$0.part"
    mv "$0.part" "$0"
}}
cat "$0.err" >&2
cat "$0"
"""
"""A shell that runs a command whose output is not in the file yet, and says what is in there."""
_FORCED = 137
"""The exit code of a container whose end was a SIGKILL."""


class ContainerProcess(Supervised):
    """A process in a container. Its log is fetched from the engine when somebody wants to read it."""

    @property
    def alive(self) -> bool:
        """Whether it runs (a paused one does)."""
        return bool(self._state().get("Running"))

    @property
    def exit_code(self) -> int | None:
        """How its latest start ended; None while it runs, or when it has been removed."""
        state = self._state()
        return None if not state or state["Running"] else int(state["ExitCode"])

    @property
    def log(self) -> Path:
        """What its latest start has printed so far, as a file of the run directory. Complete as of this moment."""
        file = super().log
        if self.starts and (handle := self._handle()):
            since = datetime.fromisoformat(self.starts[-1].started_at).timestamp()
            draft = file.with_suffix(f".{get_ident()}.tmp")
            with asked(f"for the log of {self.name}"), _no_conflict():
                draft.write_bytes(handle.logs(since=since))
                draft.replace(file)
        return file

    def start(self, *, keep_open: Sequence[int] = (), skew_s: float = 0.0) -> None:
        """Make it, or start it again with its files. Its clock is the engine's: a skewed one is refused."""
        if skew_s:
            raise EnvironmentFailed(f"{self.name} runs in a container, and its clock is that of the engine's machine")
        self.notice()
        if self.alive:
            raise EnvironmentFailed(f"{self.name} is to be started, but runs (container {self._what.id})")
        at = now()
        with asked(f"to start {self.name} ({self._what.image})"):
            if handle := self._handle():
                handle.start()
            else:
                self._make()
        self._started(int(self._state().get("Pid", 0)), at=at)

    def kill(self) -> None:
        """SIGKILL to all of it. Returns when it is gone. A paused one has to run for that, for a moment."""
        self.notice()
        if not self.alive:
            return
        self.resume()
        self._have("kill", Handle.kill)
        eventually(lambda: not self.alive, within_s=_GONE_WITHIN_S, describe=f"{self.name} to be gone")
        self._ended("killed")

    def terminate(self, *, within_s: float = 10.0) -> bool:
        """Ask it to end, then insist. Says whether asking was enough. A paused one is resumed first."""
        self.notice()
        if not self.alive:
            return True
        self.resume()
        self._have("stop", partial(Handle.stop, timeout=math.ceil(within_s)))
        how: How = "forced" if self.exit_code == _FORCED else "stopped"
        self._ended(how)
        return how == "stopped"

    def pause(self) -> None:
        """Freeze all of it. Returns when nothing of it runs any more."""
        if not self.alive:
            raise EnvironmentFailed(f"{self.name} is to be paused, but does not run", log=self.log)
        if not self._state()["Paused"]:
            self._have("pause", Handle.pause)

    def resume(self) -> None:
        """Let it go on. Harmless if it was not paused."""
        if self._state().get("Paused"):
            self._have("resume", Handle.unpause)

    def find_beside(self, program: str, *patterns: str) -> str | None:
        """Where a program is in there: on its search path, or else where one of the patterns leads."""
        return _found(self._what.id or "", self._what.user, program, patterns)

    def run_beside(self, argv: Sequence[str], *, told: str = "", within_s: float) -> Ran:
        """Run a command in there, once; ``told`` is its standard input.

        Known of engines (20.10): they now and then lose what a command has said that ends at once. So it is kept in a
        file in there, and asked for again.
        """
        limited = ("timeout", str(math.ceil(within_s)), *argv)
        command = ("sh", "-c", _ONCE, f"/tmp/gauntlet-{token_hex(8)}", told, *limited)
        for _ in range(_ASKED_AT_MOST):
            with asked(f"to run {argv[0]} in {self.name}"):
                ran = _run(self._must_have(), command, self._what.user, self.record.environment)
            said, ended, code = ran.said.rpartition(_ENDED)
            if ended:
                return Ran(int(code), said, ran.complained)
        raise EnvironmentFailed(
            f"the engine does not tell what {argv[0]} said in {self.name} (exit code {ran.exit_code}): {ran.complained}"
        )

    @property
    def _what(self) -> Container:
        assert self.record.container is not None
        return self.record.container

    def _make(self) -> None:
        what = self._what
        made = DockerContainer(what.image, docker_client_kw={"timeout": engine.PATIENCE_S})
        made.with_command(list(self.record.argv)).with_envs(**self.record.environment)
        labels = {
            engine.OWNER: engine.owner(),
            engine.STACK: str(self._state_dir),
            engine.RUN: str(self._run_dir),
            engine.PROCESS: self.name,
        }
        if what.host_network:
            made.with_kwargs(labels=labels, network="host")
        else:
            # testcontainers would publish it on every address of this machine
            ports: dict[str, Any] = {f"{what.port}/tcp": ("127.0.0.1", what.published)}
            made.ports = ports
            made.with_kwargs(labels=labels)
        made.start()
        what.id = made.get_container_id()
        self._journal()

    def _have(self, do: str, order: Callable[[Handle], object]) -> None:
        """Have the engine do something to it. That it is over is no failure: two may end a stack at the same time."""
        if handle := self._handle():
            with asked(f"to {do} {self.name}"), _no_conflict(unless=lambda: self.alive):
                order(handle)

    def _must_have(self) -> Handle:
        handle = self._handle()
        if handle is None:
            raise EnvironmentFailed(f"the container of {self.name} is gone: somebody has removed it")
        return handle

    def _handle(self) -> Handle | None:
        if self._what.id is None:
            return None
        with asked(f"for the container of {self.name}"):
            try:
                handle: Handle = engine.client().containers.get(self._what.id)
            except NotFound:
                return None
        return handle

    def _state(self) -> dict[str, Any]:
        handle = self._handle()
        return {} if handle is None else dict(handle.attrs["State"])

    def _ended(self, how: How) -> bool:
        _ = self.log  # while the engine can still tell this start from the next
        return super()._ended(how)


@contextmanager
def _no_conflict(*, unless: Callable[[], bool] = lambda: False) -> Iterator[None]:
    """Whatever cannot be done since somebody else is removing the container is not to be done any more."""
    try:
        yield
    except APIError as error:
        if error.status_code not in (HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT) or unless():
            raise


def _run(handle: Handle, command: Sequence[str], user: str, environment: dict[str, str]) -> Ran:
    exit_code, (said, complained) = handle.exec_run(list(command), user=user, environment=environment, demux=True)
    return Ran(int(exit_code), (said or b"").decode(errors="replace"), (complained or b"").decode(errors="replace"))


@cache
def _found(container_id: str, user: str, program: str, patterns: tuple[str, ...]) -> str | None:
    """A container keeps its programs, so that one look is enough."""
    look = f"command -v {program} || ls -d {' '.join(patterns)} 2>/dev/null"
    with asked(f"to look for {program} in {container_id[:12]}"):
        ran = _run(engine.client().containers.get(container_id), ("sh", "-c", look), user, {})
    return next(iter(ran.said.split()), None)
