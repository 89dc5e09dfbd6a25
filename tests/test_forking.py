"""A service that is forked is what a fresh interpreter would have become, to itself and in the eyes of others."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from harness.environment.failures import EnvironmentFailed
from harness.environment.forking import Forked, ForkServer
from harness.environment.processes import plain_environment
from harness.environment.waiting import eventually

TELLS = """
import json, os, sys, time
print(json.dumps({
    "argv": sys.argv[1:], "name": __name__, "environment": dict(os.environ), "cwd": os.getcwd(), "path": sys.path[0],
    "command": open("/proc/self/cmdline").read().rstrip("\\0").split("\\0"),
    "seen": sorted(filter(None, open("/proc/self/environ").read().split("\\0"))),
    "zone": time.timezone, "leads": os.getsid(0) == os.getpid(), "input": sys.stdin.read(),
}))
print("complains", file=sys.stderr)
"""
ENVIRONMENT = {"PATH": "/usr/bin", "LANG": "C.UTF-8", "HOME": "/", "TZ": "<-0930>+09:30", "SECRET": "s" * 5_000}


@pytest.fixture
def server() -> Iterator[ForkServer]:
    with closing(ForkServer(("xmlrpc.client", "no_such_library"), plain_environment(Path("/")))) as server:
        yield server


def ended(forked: Forked) -> int:
    eventually(lambda: forked.poll() is not None, within_s=10, describe="its end")
    code = forked.poll()
    assert code is not None
    return code


def run(server: ForkServer, folder: Path, module: str, *arguments: str) -> tuple[int, str, str]:
    out, err = folder / "out", folder / "err"
    command = [sys.executable, "-m", module, *arguments]
    with out.open("wb") as stdout, err.open("wb") as stderr:
        forked = server.start(command, ENVIRONMENT, cwd=folder, stdout=stdout, stderr=stderr)
    return ended(forked), out.read_text(), err.read_text()


def test_it_is_what_a_fresh_interpreter_would_have_become(server: ForkServer, tmp_path: Path) -> None:
    (tmp_path / "service").mkdir()
    (tmp_path / "service" / "__main__.py").write_text(TELLS)
    fresh = subprocess.run(
        [sys.executable, "-m", "service", "a", "b c"],
        env=ENVIRONMENT, cwd=tmp_path, stdin=subprocess.DEVNULL, capture_output=True, check=True,
        start_new_session=True,
    )  # fmt: skip
    code, said, complained = run(server, tmp_path, "service", "a", "b c")
    told: dict[str, Any] = json.loads(said)
    assert (code, complained) == (0, "complains\n")
    assert told == json.loads(fresh.stdout)
    assert told["zone"] == 9.5 * 3600


def test_it_has_the_libraries_already_and_its_own_code_is_read_anew(server: ForkServer, tmp_path: Path) -> None:
    for version in ("1", "22"):  # of another length, or Python takes what it compiled within the same second
        (tmp_path / f"part{version}.py").write_text(f"VERSION = {version}")
        (tmp_path / "service.py").write_text(
            f"import sys; print('xmlrpc.client' in sys.modules)\nimport part{version} as part; print(part.VERSION)"
        )
        assert run(server, tmp_path, "service") == (0, f"True\n{version}\n", "")


@pytest.mark.parametrize(
    ("ends", "code"),
    [
        ("raise SystemExit(3)", 3),
        ("1 / 0", 1),
        ("import os, signal; os.kill(os.getpid(), signal.SIGTERM)", -signal.SIGTERM),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", -signal.SIGKILL),
        ("import atexit; atexit.register(print, 'bye')", 0),
    ],
)
def test_how_it_ended_is_known(server: ForkServer, tmp_path: Path, ends: str, code: int) -> None:
    (tmp_path / "service.py").write_text(ends)
    got, said, complained = run(server, tmp_path, "service")
    assert (got, said) == (code, "bye\n" if "bye" in ends else "")
    assert ("ZeroDivisionError" in complained) == ("1 / 0" in ends)


def test_what_was_forked_outlives_the_server(tmp_path: Path) -> None:
    (tmp_path / "service.py").write_text("import signal; print('up', flush=True); signal.pause()")
    out = tmp_path / "out"
    server = ForkServer((), plain_environment(Path("/")))
    with out.open("wb") as stdout:
        forked = server.start(
            [sys.executable, "-m", "service"], ENVIRONMENT, cwd=tmp_path, stdout=stdout, stderr=stdout
        )
    try:
        eventually(lambda: out.read_text() == "up\n", within_s=10, describe="its first word")
        server.close()
        os.kill(forked.pid, 0)
    finally:
        os.kill(forked.pid, signal.SIGKILL)


def test_a_server_that_is_gone_is_told_of(server: ForkServer, tmp_path: Path) -> None:
    (tmp_path / "service.py").write_text("import os, signal; os.kill(os.getppid(), signal.SIGKILL)")
    with pytest.raises(
        EnvironmentFailed, match=r"the fork server \(pid \d+\), from which services are started, is gone"
    ):
        run(server, tmp_path, "service")
    with pytest.raises(EnvironmentFailed, match="is gone"):
        run(server, tmp_path, "service")
