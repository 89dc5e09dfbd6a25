"""The load commands as people use them: what they refuse, and that nothing of them stays."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from cli import main
from harness.environment import keeper
from harness.environment.boot import leftovers
from harness.environment.stack import Stack, stacks_of
from harness.environment.waiting import eventually
from scenarios.load.generator import LOCUSTFILE, NAME, Generator

GAUNTLET = str(Path(sys.executable).parent / "gauntlet")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("smoek",), "did you mean smoke?"),
        (("smoke", "--rate", "0"), "--rate"),
        (("smoke", "--for", "soon"), "'soon' is no duration"),
        (("smoke", "--gates", "gates.toml"), "column 14"),
        (("smoke", "--chaos", "gates.toml"), "gates.toml"),
        (("smoke", "--baseline", "gates.toml"), "expected a Baseline"),
        (("smoke", "--target", "nowhere.toml"), "no target file"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_anything_runs(
    words: tuple[str, ...],
    says: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "gates.toml").write_text('[[gate]]\ncheck = "http.p99 < 5 parsecs"\n')
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["gauntlet", "load", *words])
    with pytest.raises(SystemExit) as left:
        main()
    assert left.value.code == 3
    assert says in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


def test_plain_locust_says_what_it_misses(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "locust", "-f", str(LOCUSTFILE), "--headless"],
        cwd=tmp_path, env={name: value for name, value in os.environ.items() if not name.startswith("GAUNTLET_")},
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 3
    assert "gauntlet: the generator does not know --host (the CRM's URL), GAUNTLET_PIPELINE_URL" in done.stderr
    assert "GAUNTLET_LOAD_STACK" in done.stderr


def test_a_generator_ends_though_a_ctrl_c_has_left_its_wait_locked(tmp_path: Path) -> None:
    environment = os.environ | {keeper.STACK: str(tmp_path)}
    process = subprocess.Popen(["sleep", "60"], env=environment)
    process._waitpid_lock.acquire()  # type: ignore[attr-defined]
    stack = cast(Stack, SimpleNamespace(state_dir=tmp_path))
    Generator(stack, tmp_path, [process], "").end()
    process._waitpid_lock.release()  # type: ignore[attr-defined]
    assert process.wait(0) == -signal.SIGTERM


def test_ctrl_c_ends_stack_and_generator(tmp_path: Path) -> None:
    run = tmp_path / "run"
    with subprocess.Popen(
        [GAUNTLET, "load", "smoke", "--run-dir", str(run)],
        cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    ) as load:  # fmt: skip
        begun = run / "load" / "samples-0.ndjson"
        eventually(begun.exists, within_s=60, describe="the first requests of the load")
        (stack,) = stacks_of(run)
        (locust,) = keeper.members(stack.state_dir, NAME)
        assert locust in leftovers(run)
        os.killpg(load.pid, signal.SIGINT)
        assert load.wait(30) == 130
    assert leftovers(run) == {}
