"""Bugs planted into the checks and the trace: one that the project's own tests do not notice could blind a whole gate.

Each bug is planted into a copy of the project, and the tests that should notice it are run there. Killed is only what
makes a *test* fail: an edit that cannot be imported, or at which a test stumbles over an unknown name, shows nothing.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from chaos.seeded_bugs.catalogue import PROJECT, Bug, CatalogueError, copy, plant
from harness.target import PROJECT_ROOT

State = Literal["killed", "survived", "timeout", "stale", "broken"]
"""``stale``: it cannot be planted any more. ``broken``: what was planted is no program that a test could judge."""

WITHIN_S = 120.0
"""So long the tests of one bug may take on a busy machine; each file takes a few seconds."""
_NO_PROGRAM = ("NameError", "UnboundLocalError", "ImportError", "ModuleNotFoundError", "SyntaxError")
_QUICKLY = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONDONTWRITEBYTECODE": "1"}
"""Loading plugins that these tests do not use takes as long as the tests; a copy's compiled files are used once."""
_SAID = 500


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one bug. ``killed_by``: the test that failed first; ``says``: what it said, or what went wrong."""

    id: str
    bug: Bug
    state: State
    took_s: float
    killed_by: str | None = None
    says: str = ""


def try_checkers(
    bugs: Mapping[str, Bug],
    *,
    workers: int,
    source_root: Path = PROJECT_ROOT,
    parts: Sequence[str] = PROJECT,
    within_s: float = WITHIN_S,
) -> Iterator[Outcome]:
    """The outcome of each bug as soon as it is known, so many side by side.

    Whoever stops listening (or interrupts) ends all tests that still run: nothing that was started stays.
    """
    at_work = _AtWork()
    pool = ThreadPoolExecutor(workers, thread_name_prefix="checker")
    tried = [pool.submit(_try, name, bug, source_root, parts, within_s, at_work) for name, bug in bugs.items()]
    try:
        for future in as_completed(tried):
            yield future.result()
    finally:
        at_work.end()
        pool.shutdown(cancel_futures=True)


def red_without_a_bug(
    bugs: Iterable[Bug],
    *,
    source_root: Path = PROJECT_ROOT,
    parts: Sequence[str] = PROJECT,
    within_s: float = 5 * WITHIN_S,
) -> str | None:
    """Why no kill would prove anything: the same tests, in the same kind of copy, are red as they are. None if not."""
    files = sorted({file for bug in bugs for file in killers_of(bug)})
    with tempfile.TemporaryDirectory(prefix="gauntlet-checkers-") as folder, _AtWork() as at_work:
        root = Path(folder) / "copy"
        copy(source_root, root, parts)
        ran = _run_tests(root, files, within_s, at_work)
    return None if ran.state == "survived" else f"{ran.state}: {ran.killed_by or ''} {ran.says}".replace("  ", " ")


def killers_of(bug: Bug) -> tuple[str, ...]:
    """The files of tests that should notice it."""
    return tuple(bug.scenario.split())


def _try(
    name: str, bug: Bug, source_root: Path, parts: Sequence[str], within_s: float, at_work: _AtWork
) -> Outcome:  # fmt: skip
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="gauntlet-checkers-") as folder:
        try:
            root = plant(bug, source_root, Path(folder) / "copy", parts)
        except CatalogueError as error:
            return Outcome(name, bug, "stale", time.monotonic() - began, says=str(error))
        ran = _run_tests(root, killers_of(bug), within_s, at_work)
    return Outcome(name, bug, ran.state, time.monotonic() - began, ran.killed_by, ran.says)


# --- pytest -----------------------------------------------------------------------------------------------------


class _AtWork:
    """The processes that run now, and the end of them all."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: set[subprocess.Popen[bytes]] = set()
        self._over = False

    def __enter__(self) -> _AtWork:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def run(self, command: Sequence[str], *, cwd: Path, output: Path, within_s: float) -> int | None:
        """Its exit code; None if it took too long, or if all have been ended meanwhile."""
        environment = {**os.environ, "PYTHONPATH": str(cwd), **_QUICKLY}
        with output.open("wb") as file:
            with self._lock:
                if self._over:
                    return None
                # a session of its own: Ctrl-C reaches this process alone, which ends what it has started
                process = subprocess.Popen(
                    command, cwd=cwd, env=environment, stdout=file, stderr=file, start_new_session=True
                )
                self._running.add(process)
            try:
                return process.wait(within_s)
            except subprocess.TimeoutExpired:
                return None
            finally:
                self._end(process)

    def end(self) -> None:
        """End what runs, and let nothing more begin."""
        with self._lock:
            self._over = True
            running = list(self._running)
        for process in running:
            _kill(process)

    def _end(self, process: subprocess.Popen[bytes]) -> None:
        _kill(process)
        process.wait()
        with self._lock:
            self._running.discard(process)


def _kill(process: subprocess.Popen[bytes]) -> None:
    """The whole session of a process, while its id is certainly its own."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)


@dataclass(frozen=True, slots=True)
class _Ran:
    state: State
    killed_by: str | None = None
    says: str = ""


def _run_tests(root: Path, files: Sequence[str], within_s: float, at_work: _AtWork) -> _Ran:
    report, output = root.parent / "report.xml", root.parent / "output.txt"
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", f"--junitxml={report}", *files]
    code = at_work.run(command, cwd=root, output=output, within_s=within_s)
    if code is None:
        return _Ran("timeout", says=f"still running after {within_s:g} s")
    if code == 0:
        return _Ran("survived")
    failure = next(_failures(report), None)
    if failure is None:
        return _Ran("broken", says=_last_words(output))
    test, said = failure
    if said.startswith(_NO_PROGRAM):
        return _Ran("broken", says=f"{test}: {said}")
    return _Ran("killed", test, said)


def _failures(report: Path) -> Iterator[tuple[str, str]]:
    """Tests that failed, each with what it said. Errors beside tests, as while they are collected, are none."""
    if not report.exists():
        return
    for case in ElementTree.parse(report).iter("testcase"):
        failure = case.find("failure")
        if failure is not None:
            module = case.get("classname", "").rpartition(".")[2]
            yield f"{module}.py::{case.get('name')}", failure.get("message", "")[:_SAID]


def _last_words(output: Path) -> str:
    lines = [line for line in output.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    told = [line for line in lines if line.startswith("E ")] or lines
    return " | ".join(line.removeprefix("E").strip() for line in told[-3:])[:_SAID]
