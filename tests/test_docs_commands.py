"""Every command of the docs is run: those that only read, here, line by line; those that boot something, in their
shortest form, by ``make test-commands``; what the tutorial says, to the letter, by ``make tutorial``."""

from __future__ import annotations

import glob
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import zstandard

import cli
from harness.contract.markdown import artifacts
from harness.environment.waiting import eventually
from harness.evidence.run_directory import RunDirectory
from harness.target import PROJECT_ROOT
from tests.conftest import Gauntlet
from tests.runs import a_told_run
from tests.test_docs import PAGES, commands_in

READING = ("audit", "check", "contract", "coverage", "doctor", "export", "history", "report", "show")
"""Commands that boot nothing: a finished run will do, or log files."""

BOOTING = {
    "bugs": "bugs A16",
    "crash-sweep": "crash-sweep --list",
    "demo-reports": "demo-reports",
    "explore": "explore --seed 7 --for 1m --schedules 1",
    "fuzz": "fuzz --requests 50",
    "gate": "gate -n 1 -k an_edge_is_cut",
    "load": "load smoke",
    "matrix": "matrix --edge crm→broker --toxic latency",
    "replay": "replay scenarios/regressions/retry-copy-cut.toml",
    "servers": "servers",
}
"""Commands that boot stacks, each in its shortest form."""

TOGETHER = ("up", "down", "load-worker")
"""Those that are of use beside another alone."""

ELSEWHERE = {
    "bench": "make bench", "bench-audit": "make bench-audit", "bench-judge": "make bench-judge",
    "bench-load": "make bench-load", "bench-page": "make bench-page", "bench-proxy": "make bench-proxy",
    "clean": "tests/test_clean.py", "docs": "tests/test_properties_page.py",
}  # fmt: skip
"""Benchmarks, each a target of make; and what has tests of its own."""

_STANDS_FOR = {
    "RUN": "runs/first-red", "DIR": "runs", "FILE": "written.out", "NAME": "trace_complete",
    "FILE…": "crm.ndjson pipeline.ndjson automation.ndjson", "OLD": "old.json", "NEW": "old.json",
}  # fmt: skip
_SERVICES = ("crm", "pipeline", "automation")
_NAMED = ("audit",)  # a command that is spoken of: it needs words behind it
_RAY = "--engine ray"  # tests/test_audit.py: it takes longer to come up than all of these together


def reading_lines() -> Iterator[str]:
    """Each line of the docs that only reads, once. What the reference says of usage is no line to type."""
    pages = [page for page in PAGES if not page.name.startswith("reference-")]
    told = {line for page in pages for program, line in commands_in(page) if program == "gauntlet"}
    for line in sorted({re.split(r" #| \\\|", line)[0].strip() for line in told}):
        if line.split()[0] in (*READING, "--help") and _RAY not in line and line not in _NAMED:
            yield line


def as_typed(line: str, flow: str) -> list[str]:
    """Its words, with something real for each name, and everything that may be left out put in."""
    stands_for = _STANDS_FOR | {"CORRELATION_ID": flow, "ID": flow}
    plain = re.sub(r"[\[\]]", "", line)
    words = [word for told in shlex.split(plain) for word in stands_for.get(told, told).split()]
    return [found for word in words for found in (sorted(glob.glob(word)) if "*" in word else [word])]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunDirectory:
    """A finished red run where the docs have one, in the working directory; and the files that they speak of."""
    run = a_told_run(tmp_path)
    logs = {
        service: b"".join(path.read_bytes() for path in run.root.glob(f"logs/*/{service}-*")) for service in _SERVICES
    }
    (tmp_path / "runs").mkdir()
    (tmp_path / "archive").mkdir()
    for service, lines in logs.items():
        (tmp_path / f"{service}.ndjson").write_bytes(lines)
        (tmp_path / "archive" / f"{service}.zst").write_bytes(zstandard.compress(lines))
    (tmp_path / "old.json").write_bytes(next(made for name, made in artifacts().items() if name.endswith(".json")))
    monkeypatch.chdir(tmp_path)
    return RunDirectory(run.root.rename(tmp_path / "runs" / "first-red"))


@pytest.mark.parametrize("line", list(reading_lines()))
def test_a_line_that_only_reads_does_what_it_says(gauntlet: Gauntlet, run: RunDirectory, line: str) -> None:
    first = next(line for line in (Path("crm.ndjson").read_text()).splitlines() if "correlation_id" in line)
    flow = re.findall(r'"correlation_id":"([^"]+)"', first)[0]
    words = as_typed(line, flow)
    code, told = gauntlet(*words)
    assert code == (1 if words[0] == "check" else 0), told  # the run is red


def test_every_command_is_run_by_something() -> None:
    run_somewhere = {*READING, *BOOTING, *TOGETHER, *ELSEWHERE}
    assert run_somewhere == set(cli.gauntlet.commands)
    makefile = (PROJECT_ROOT / "Makefile").read_text(encoding="utf-8")
    for command, where in ELSEWHERE.items():
        if where.startswith("make "):
            assert f"gauntlet {command} " in makefile.replace("\n", " "), command
        else:
            assert f'"{command}"' in (PROJECT_ROOT / where).read_text(encoding="utf-8"), command


# --- with stacks -------------------------------------------------------------------------------------------------


def _begun(words: str, folder: Path, *, first: str = ":") -> subprocess.Popen[bytes]:
    """Typed into a shell, in a folder from which the project's files look as they do from its own."""
    for name in ("scenarios", "targets"):
        if not (folder / name).exists():
            (folder / name).symlink_to(PROJECT_ROOT / name)
    return subprocess.Popen(["sh", "-c", f"{first} && exec {sys.executable} -m cli {words}"], cwd=folder)


def _code(command: subprocess.Popen[bytes]) -> int:
    return command.wait(timeout=600)


@pytest.mark.commands
@pytest.mark.parametrize("line", BOOTING.values(), ids=BOOTING)
def test_a_command_that_boots_stacks_does_what_it_says(tmp_path: Path, line: str) -> None:
    assert _code(_begun(line, tmp_path)) == 0


@pytest.mark.commands
def test_a_stack_is_kept_up_used_from_outside_and_ended(tmp_path: Path) -> None:
    up = _begun("up --run-dir up --write-target running.toml", tmp_path)
    try:
        eventually((tmp_path / "running.toml").exists, within_s=60, describe="the target file of a stack that is up")
        gate = "gate --target running.toml -k a_qualified_lead_gets_one_deal_by_one_execution"
        assert _code(_begun(gate, tmp_path, first=". ./running.env")) == 0
    finally:
        assert _code(_begun("down up", tmp_path)) == 0
    assert _code(up) == 0


@pytest.mark.commands
def test_load_is_sent_by_a_worker_of_its_own(tmp_path: Path) -> None:
    load = _begun("load smoke --expect-workers 1", tmp_path)
    assert (_code(_begun("load-worker", tmp_path)), _code(load)) == (0, 0)
