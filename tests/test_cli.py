"""The door for people, as people use it: what it says, and with which exit code it ends."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from harness.environment.boot import leftovers
from harness.environment.waiting import eventually
from harness.target import PROJECT_ROOT

GAUNTLET = str(Path(sys.executable).parent / "gauntlet")


def _gauntlet(*words: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [GAUNTLET, *words],
        cwd=cwd,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=90,
    )


NO_SERVERS = {"GAUNTLET_RABBITMQ_BIN": "/nowhere", "GAUNTLET_POSTGRES_BIN": "/nowhere"}
NO_ENGINE = {"DOCKER_HOST": "unix:///nowhere/docker.sock"}


def test_a_missing_server_is_named_with_its_remedy_before_anything_runs(tmp_path: Path) -> None:
    done = _gauntlet("gate", "--environment", "auto", cwd=tmp_path, **NO_SERVERS, **NO_ENGINE)
    assert done.returncode == 4
    assert "the container engine at unix:///nowhere/docker.sock" in done.stderr
    assert "systemctl start docker" in done.stderr
    assert "RabbitMQ" in done.stderr
    assert "apt-get install rabbitmq-server" in done.stderr
    assert "apt-get install postgresql" in done.stderr
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("command", ["gate", "up", "matrix", "bugs"])
def test_without_an_engine_no_stack_comes_up_in_containers_and_it_is_said_what_to_do(
    command: str, tmp_path: Path
) -> None:
    done = _gauntlet(command, "--environment", "containers", cwd=tmp_path, **NO_ENGINE)
    assert done.returncode == 4, done.stdout + done.stderr
    assert "the container engine at unix:///nowhere/docker.sock" in done.stderr
    assert "systemctl start docker" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_environment_that_nobody_knows_is_refused(tmp_path: Path) -> None:
    done = _gauntlet("gate", cwd=tmp_path, GAUNTLET_ENVIRONMENT="kubernetes")
    assert done.returncode == 4
    assert "GAUNTLET_ENVIRONMENT=kubernetes: expected auto, native or containers" in done.stderr
    assert _gauntlet("gate", "--environment", "kubernetes", cwd=tmp_path).returncode == 3


def test_the_doctor_knows_neither_servers_nor_an_engine_and_names_the_remedies_of_both(tmp_path: Path) -> None:
    done = _gauntlet("doctor", "--environment", "auto", cwd=tmp_path, **NO_SERVERS, **NO_ENGINE)
    assert done.returncode == 4
    assert "environment          NONE" in done.stdout
    assert "PostgreSQL           MISSING" in done.stdout
    assert "apt-get install postgresql" in done.stdout
    assert "no gate could run here" in done.stdout


def test_the_doctor_tells_machines_the_same(tmp_path: Path) -> None:
    done = _gauntlet("doctor", "--json", "--environment", "native", cwd=tmp_path, GAUNTLET_PROXY="")
    assert done.returncode == 0
    told = json.loads(done.stdout)
    assert told["environment"] == "native"
    assert {"PostgreSQL", "RabbitMQ", "ports", "open files", "memory"} <= {sign["name"] for sign in told["signs"]}
    assert {sign["area"] for sign in told["signs"]} == {"servers", "containers", "machine", "python"}
    assert not any(sign["fatal"] for sign in told["signs"])


def test_the_doctor_says_what_a_stack_would_be_made_of_and_which_proxy_and_why(tmp_path: Path) -> None:
    done = _gauntlet("doctor", cwd=tmp_path, GAUNTLET_TOXIPROXY="/nowhere", GAUNTLET_PROXY="")
    assert done.returncode == 0
    assert "proxies              wire            this project's fault proxy: the default" in done.stdout
    assert "PostgreSQL           15" in done.stdout
    assert "toxiproxy-server     missing         only what tests compare the fault proxy with" in done.stdout


def test_the_doctor_misses_what_was_chosen_and_names_the_remedy(tmp_path: Path) -> None:
    words = ("doctor", "--environment", "native")
    done = _gauntlet(*words, cwd=tmp_path, GAUNTLET_TOXIPROXY="/nowhere", GAUNTLET_PROXY="toxiproxy")
    assert done.returncode == 4
    assert "proxies              toxiproxy       Toxiproxy's own server, since GAUNTLET_PROXY says so" in done.stdout
    assert "toxiproxy-server     MISSING" in done.stdout
    assert "go install github.com/Shopify/toxiproxy" in done.stdout


def test_a_proxy_that_nobody_knows_is_refused(tmp_path: Path) -> None:
    done = _gauntlet("doctor", cwd=tmp_path, GAUNTLET_PROXY="envoy")
    assert done.returncode == 4
    assert "GAUNTLET_PROXY=envoy: expected wire (the default) or toxiproxy" in done.stderr


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["gate", "--target", "nowhere.toml"], "nowhere.toml"),
        (["check", "no-such-run"], "no-such-run"),
        (["check"], "no run in"),
        (["frobnicate"], "frobnicate"),
        (["matrix", "--edge", "nowhere"], "there are: client→crm"),
        (["matrix", "--toxic", "lattency"], "there are: latency"),
        (["crash-sweep", "--service", "broker"], "there are: crm, pipeline, automation"),
        (["gate", "-k", "no_scenario_has_this_name", "-n", "1"], "deselected"),
    ],
)
def test_wrong_usage_says_what_was_wrong_and_exits_3(words: list[str], says: str, tmp_path: Path) -> None:
    done = _gauntlet(*words, cwd=tmp_path)
    assert done.returncode == 3, done.stdout + done.stderr
    assert says in done.stdout + done.stderr


@pytest.mark.parametrize("command", ["matrix", "crash-sweep"])
def test_what_needs_the_wire_aware_proxy_says_so_before_anything_runs(command: str, tmp_path: Path) -> None:
    done = _gauntlet(command, cwd=tmp_path, GAUNTLET_PROXY="toxiproxy")
    assert done.returncode == 3
    assert "GAUNTLET_PROXY=wire" in done.stderr
    assert not (tmp_path / "runs").exists()


@pytest.fixture(scope="module")
def green_gate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """A run of one real scenario, as a job of CI asks for it, and what the command said."""
    folder = tmp_path_factory.mktemp("green")
    run = folder / "run"
    done = _gauntlet(
        "gate", "-n", "1", "--json", "-k", "gets_one_deal_by", "--run-dir", str(run),
        cwd=folder, GITHUB_ACTIONS="true", GITHUB_STEP_SUMMARY=str(folder / "step.md"),
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return run, done


@pytest.fixture(scope="module")
def green_run(green_gate: tuple[Path, subprocess.CompletedProcess[str]]) -> Path:
    return green_gate[0]


def test_a_green_gate_tells_of_each_scenario_and_ends_on_less_than_a_screen(
    green_gate: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    told = green_gate[1].stderr.splitlines()
    name = "test_end_to_end.py::test_a_qualified_lead_gets_one_deal_by_one_execution"
    assert any(line.startswith(f"1/1  ✓ {name}  ") for line in told)
    assert any(line.startswith("contract coverage: ") for line in told)
    assert f"to look at: {green_gate[0] / 'report.html'}" in told
    assert "1 passed" in told[-1]
    assert len(told) <= 27, "\n".join(told)  # what comes before the summary, and 24 lines of it


def test_with_json_stdout_is_the_verdict_and_nothing_else(
    green_gate: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    run, done = green_gate
    told = json.loads(done.stdout)
    assert (told["verdict"], told["exit_code"], told["run"]) == ("pass", 0, str(run))
    assert [scenario["verdict"] for scenario in told["scenarios"]] == ["pass"]


def test_what_other_programs_read_lies_beside_the_evidence(green_run: Path) -> None:
    assert {"junit.xml", "summary.md", "allure-results", "outcomes.ndjson"} <= {one.name for one in green_run.iterdir()}
    assert not (green_run / "now").exists()
    assert (green_run.parent / "step.md").read_text(encoding="utf-8").startswith("## ✅ PASS")
    (outcome,) = (green_run / "outcomes.ndjson").read_text(encoding="utf-8").splitlines()
    assert json.loads(outcome)["how"] == "passed"


def test_a_finished_run_is_judged_again_without_any_system(green_run: Path) -> None:
    done = _gauntlet("check", str(green_run), cwd=green_run)
    assert done.returncode == 0
    assert "verdict: PASS" in done.stdout


def test_a_gate_ends_with_the_page_of_its_run_and_says_where_it_is(green_run: Path) -> None:
    page = (green_run / "report.html").read_text(encoding="utf-8")
    assert "✓ PASS" in page
    assert "A flow, from end to end" in page
    code = json.loads((green_run / "run.json").read_bytes())["code"]
    listed = json.loads(_gauntlet("history", str(green_run.parent), "--json", cwd=green_run).stdout)["runs"]
    assert [(run["verdict"], run["scenarios"], run["code"]) for run in listed] == [("pass", 1, code)]
    assert len(code) == 12


def test_a_run_directory_is_not_used_twice(green_run: Path) -> None:
    done = _gauntlet("gate", "--run-dir", str(green_run), cwd=green_run)
    assert done.returncode == 3
    assert "holds a run already" in done.stderr


def test_a_lost_line_makes_the_run_unknown_and_names_instance_and_gap(green_run: Path, tmp_path: Path) -> None:
    run, gone = _without_a_published_line(green_run, tmp_path / "run", close_the_gap=False)
    done = _gauntlet("check", str(run), cwd=tmp_path)
    assert done.returncode == 2
    assert f"seq {gone['seq']} of instance {gone['instance']}" in done.stdout


def test_a_lost_event_makes_the_run_fail_and_names_edge_and_correlation(green_run: Path, tmp_path: Path) -> None:
    run, gone = _without_a_published_line(green_run, tmp_path / "run", close_the_gap=True)
    done = _gauntlet("check", str(run), cwd=tmp_path)
    assert done.returncode == 1
    assert "stored → published: missing event.published" in done.stdout
    assert gone["correlation_id"] in done.stdout
    shown = _gauntlet("show", str(run), gone["correlation_id"], cwd=tmp_path)
    assert "MISSING  event.published" in shown.stdout


def test_ctrl_c_leaves_no_process_and_says_so_by_its_exit_code(tmp_path: Path) -> None:
    run = tmp_path / "run"
    with subprocess.Popen(
        [GAUNTLET, "gate", "-n", "2", "--run-dir", str(run)],
        cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    ) as gate:  # fmt: skip
        eventually(lambda: list(run.glob("scenarios/*/verdict.json")), within_s=60, describe="the first verdict")
        os.killpg(gate.pid, signal.SIGINT)
        assert gate.wait(30) == 130
    assert leftovers(run) == {}
    assert not (run / "now").exists()
    assert "<testcase " in (run / "junit.xml").read_text(encoding="utf-8")


def _without_a_published_line(source: Path, run: Path, *, close_the_gap: bool) -> tuple[Path, dict[str, str]]:
    """A copy of a run in which one event.published line of the pipeline is missing; its seq closed up, or not."""
    shutil.copytree(source, run)
    (log,) = run.glob("logs/*/pipeline-1.ndjson")
    lines = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    gone = next(line for line in lines if line["event"] == "event.published")
    kept = [line for line in lines if line is not gone]
    if close_the_gap:
        for line in kept:
            line["seq"] -= line["seq"] > gone["seq"]
    log.write_text("".join(json.dumps(line) + "\n" for line in kept), encoding="utf-8")
    return run, gone


def test_every_command_explains_itself() -> None:
    listing = _gauntlet("--help", cwd=PROJECT_ROOT).stdout
    commands = [line.split()[0] for line in listing.partition("Commands:")[2].splitlines() if line.strip()]
    assert {"gate", "check", "show", "up", "down", "servers"} <= set(commands)
    for command in commands:
        done = _gauntlet(command, "--help", cwd=PROJECT_ROOT)
        assert done.returncode == 0
        assert "Usage:" in done.stdout
