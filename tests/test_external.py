"""A system that somebody else runs: whom we speak to, what becomes of its log, what is ours, what is not proven."""

from __future__ import annotations

import dataclasses
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from harness.checks import ALL
from harness.checks.judge import judge
from harness.checks.run_verdict import rejudge, summarise
from harness.contract.log_lines import Line
from harness.environment import external, ports
from harness.environment.external import attach, lacks
from harness.environment.failures import EnvironmentFailed
from harness.environment.native import NativeServers
from harness.environment.plan import plan
from harness.environment.servers import find_servers
from harness.environment.stack import Stack
from harness.environment.waiting import eventually
from harness.environment.written_target import write_target_file
from harness.evidence.evidence import read_logs
from harness.evidence.ours import ours
from harness.evidence.run_directory import RunDirectory, write_json
from harness.target import DEFAULT_TARGET, PROJECT_ROOT, Target, TargetError, load_target
from reports.terminal import run_text
from scenarios import test_actions, test_crashes, test_dead_letters, test_end_to_end, test_matrix
from scenarios.needs import needs_of
from tests.builders import (
    Story,
    a_lead,
    created_lead,
    evidence,
    happy_evidence,
    happy_rows,
    qualified_lead,
    raw,
    tapped,
    uid,
)
from tests.conftest import Gauntlet
from tests.runs import the_run, write_logs, write_scenario

ALICE, OPERATOR = "TEST_TOKEN_OF_ALICE", "TEST_TOKEN_OF_OPERATOR"
SERVICES = ("crm", "pipeline", "automation")


ASKED: list[str] = []


ON_A_KNOCK: list[Callable[[], object]] = []
"""What whoever is asked for ``/`` does: a service that is asked for something writes a line."""


class Ready(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        ASKED.append(self.path)
        if self.path == "/" and ON_A_KNOCK:
            ON_A_KNOCK.pop(0)()
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Nothing."""


@pytest.fixture
def running() -> Iterator[str]:
    """Somebody who answers 200 to all that is asked."""
    ASKED.clear()
    ON_A_KNOCK.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), Ready) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def target_file(folder: Path, url: str, *, more: str = "", hosts: str = '"127.0.0.1"', log: str = "") -> Path:
    """One that extends the reference target."""
    logs = "".join(
        f'[[external.logs]]\nservice = "{name}"\n' + (log or f'files = ["{folder}/{name}-*.log"]') + "\n"
        for name in SERVICES
    )
    file = folder / "external.toml"
    file.write_text(
        f'extends = "{DEFAULT_TARGET}"\nname = "theirs"\nenvironment = "external"\n'
        f"[external]\nhosts = [{hosts}]\n{more}\n"
        f"[external.urls]\n{''.join(f'{name} = {url!r}{chr(10)}' for name in SERVICES)}"
        f'[external.tokens]\nalice = "{ALICE}"\noperator = "{OPERATOR}"\n{logs}',
        encoding="utf-8",
    )
    return file


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ALICE, "token-of-alice")
    monkeypatch.setenv(OPERATOR, "token-of-operator")


# --- whom we speak to -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("hosts", ['"crm.example.test"', '"127.0.0.1:1"', ""])
def test_nothing_is_sent_to_a_host_that_is_not_on_the_list(
    gauntlet: Gauntlet, running: str, tmp_path: Path, hosts: str
) -> None:
    code, told = gauntlet(
        "gate", "--target", target_file(tmp_path, running, hosts=hosts), "--run-dir", tmp_path / "run"
    )
    assert code == 3
    assert f"{running.removeprefix('http://')} is not on the target's list of hosts" in told
    assert ASKED == []


def test_the_hosts_of_database_and_broker_have_to_be_on_the_list_too(
    gauntlet: Gauntlet, running: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEST_DATABASE", "postgresql://me:secret-of-mine@db.example.test/crm")
    file = target_file(tmp_path, running, more='database = "TEST_DATABASE"')
    code, told = gauntlet("gate", "--target", file, "--run-dir", tmp_path / "run")
    assert code == 3
    assert "db.example.test:5432 is not on the target's list" in told
    assert "secret-of-mine" not in told


def test_a_credential_that_is_not_set_is_named(
    gauntlet: Gauntlet, running: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(OPERATOR)
    code, told = gauntlet("gate", "--target", target_file(tmp_path, running), "--run-dir", tmp_path / "run")
    assert (code, OPERATOR in told, ALICE in told) == (3, True, False)


def test_a_stack_of_our_own_is_emptied_without_asking(gauntlet: Gauntlet, tmp_path: Path) -> None:
    code, told = gauntlet("gate", "--allow-destructive", "--run-dir", tmp_path / "run")
    assert (code, "about external systems" in told) == (3, True)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('environment = "external"\n', "", "go together"),
        (f'operator = "{OPERATOR}"\n', "", "act as ['operator']"),
        ('service = "crm"\n', 'service = "web"\n', "external.logs: expected"),
        ('-*.log"]', '-*.log"]\ncommand = ["cat"]', "either files or a command"),
    ],
)
def test_a_target_file_that_makes_no_sense_is_refused(tmp_path: Path, old: str, new: str, says: str) -> None:
    file = target_file(tmp_path, "http://127.0.0.1:1")
    file.write_text(file.read_text(encoding="utf-8").replace(old, new, 1), encoding="utf-8")
    with pytest.raises(TargetError, match=says.replace("[", r"\[")):
        load_target(file)


def test_what_a_target_file_does_not_say_is_as_in_the_one_that_it_extends(tmp_path: Path) -> None:
    file = target_file(tmp_path, "http://127.0.0.1:1")
    file.write_text(file.read_text(encoding="utf-8") + "[broker]\nprefetch = 3\n", encoding="utf-8")
    theirs, reference = load_target(file), load_target()
    assert theirs.broker == replace(reference.broker, prefetch=3)
    assert (theirs.name, theirs.rows) == ("theirs", reference.rows)


# --- its log ----------------------------------------------------------------------------------------------------


def attached(file: Path, folder: Path) -> Any:
    return attach(load_target(file), run_dir=folder / "run", name="main", destructive=False)


def collected(stack: Stack, service: str, count: int) -> list[Line]:
    """As judging reads it, when so many lines have come; nothing of it may be broken or lost."""

    def probe() -> list[Line]:
        logs = [log for log in read_logs(RunDirectory(stack.run_dir), stack.name) if log.service == service]
        assert [(log.broken, log.lost) for log in logs] == [((), ())] * len(logs)
        lines = [line for log in logs for line in log.lines]
        return lines if len(lines) >= count else []

    return eventually(probe, within_s=5, describe=f"{count} lines of {service}")


def of_service(service: str) -> list[Line]:
    return [line for line in qualified_lead().lines if line.service == service]


def at_a_knock(folder: Path, **lines: list[Line]) -> None:
    """Whoever is asked for something then writes these lines, or those of the story that are its own."""

    def write() -> None:
        for service in SERVICES:
            with (folder / f"{service}-1.log").open("ab") as log:
                log.writelines(raw(line) + b"\n" for line in lines.get(service, of_service(service)))

    ON_A_KNOCK.append(write)


def test_a_log_that_runs_already_is_collected_from_now_on_and_what_was_before_is_not_lost(
    running: str, tmp_path: Path
) -> None:
    before, *rest = of_service("automation")
    (tmp_path / "automation-1.log").write_bytes(raw(before) + b"\n")
    at_a_knock(tmp_path, automation=rest)
    with attached(target_file(tmp_path, running), tmp_path) as stack:
        assert [line.seq for line in collected(stack, "automation", len(rest))] == [line.seq for line in rest]


def test_a_line_that_is_lost_while_it_is_collected_is_missed(running: str, tmp_path: Path) -> None:
    first, lost, *rest = of_service("automation")
    at_a_knock(tmp_path, automation=[first, *rest])
    with attached(target_file(tmp_path, running), tmp_path) as stack:

        def holes() -> list[str]:
            return [str(hole) for log in read_logs(RunDirectory(stack.run_dir), "main") for hole in log.lost]

        (hole,) = eventually(holes, within_s=5, describe="the hole")
    assert f"line seq {lost.seq} of instance {lost.instance} is missing" in hole


def test_a_log_that_is_not_where_the_target_says_is_noticed_before_anything_is_run(
    running: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(external, "_READY_WITHIN_S", 0.1)
    at_a_knock(tmp_path, pipeline=[])
    with pytest.raises(EnvironmentFailed, match=r"a line of pipeline.*is its log where"):
        attached(target_file(tmp_path, running), tmp_path).__enter__()


def test_each_start_of_a_process_has_a_file_of_its_own_and_a_command_is_a_source_too(
    running: str, tmp_path: Path
) -> None:
    lines = of_service("crm")
    anew = of_service("crm")
    for number, line in enumerate(anew):
        line.instance, line.seq = "another", number
    for name in SERVICES:
        (tmp_path / f"{name}.txt").write_bytes(b"".join(raw(line) + b"\n" for line in (*lines, *anew)))
    command = f'command = ["{sys.executable}", "-c", "print(open(\'{tmp_path}/crm.txt\').read())"]'
    with attached(target_file(tmp_path, running, log=command), tmp_path) as stack:
        collected(stack, "crm", 2 * len(lines))
        assert len(stack.records["crm"].starts) == 2


def test_the_lines_of_a_system_with_other_names_are_brought_into_the_contract(running: str, tmp_path: Path) -> None:
    (tmp_path / "map.toml").write_text(
        '[fields]\nts = "time"\nevent = "kind"\ncorrelation_id = "trace"\nstatus = "how"\nservice = "app"\n'
        'logger = "by"\nmessage = "text"\nspan_id = "span"\n',
        encoding="utf-8",
    )
    more = f'files = ["{tmp_path}/theirs.log"]\nmapping = "{tmp_path}/map.toml"'
    flow = uid("moved")
    line = f'{{"time": 1700000000.5, "kind": "library.message", "trace": "{flow}", "how": "ok", "app": "crm",'
    text = 2 * f'{line} "by": "x", "text": "hello", "span": "0123456789abcdef"}}\n'
    ON_A_KNOCK.append(lambda: (tmp_path / "theirs.log").write_text(text, encoding="utf-8"))
    with attached(target_file(tmp_path, running, log=more), tmp_path) as stack:
        first, second = collected(stack, "crm", 2)
    assert (first.correlation_id, first.seq, second.seq) == (flow, 0, 1)


# --- what is ours, and what is not proven -----------------------------------------------------------------------


def test_rows_and_messages_are_ours_by_their_flow_and_entities_by_what_was_written_about_them() -> None:
    happy = happy_evidence()
    stranger = tapped("moved", correlation_id=uid("theirs"))
    own = ours(happy.operations, ())
    rows = own.rows(happy_rows(leads=(a_lead(), a_lead("stranger", "s@example.test"))))
    assert rows == happy_rows()
    assert own.of_ours([stranger, *happy.tap]) == list(happy.tap)


def test_a_flow_of_theirs_that_is_broken_is_no_finding_on_a_shared_system_and_is_one_on_our_own() -> None:
    theirs = qualified_lead().lines[:1]
    for line in theirs:
        line.correlation_id, line.seq, line.instance = uid("theirs"), 0, "theirs"
    whole = happy_evidence([*qualified_lead(created_lead(Story())).lines, *theirs])
    shared = dataclasses.replace(whole, scenario=replace(whole.scenario, shared=True))
    assert "trace_complete" in judge(whole).failed
    assert judge(shared).failed == []


def test_properties_whose_witnesses_are_missing_are_not_asked_and_the_verdict_says_so(tmp_path: Path) -> None:
    blind = replace(happy_evidence().scenario, lacks=("rows", "resting", "tap", "topology"))
    asked = {result.property for result in judge(evidence(scenario=blind)).results}
    assert {"log_contract", "no_leak", "errors_explained", "evidence_sufficient"} <= asked
    assert asked.isdisjoint({"message_conservation", "one_deal_per_lead", "commit_iff_event", "topology"})
    run = the_run(tmp_path)
    write_logs(run, qualified_lead().lines)
    write_scenario(run)
    rejudge(run)
    verdict = summarise(run, beyond=133)
    asked_of_all = len({result.property for result in verdict.scenarios[0].results if result.status != "idle"})
    assert asked_of_all > 10
    assert f"of the whole: 1 of 134 scenarios, {asked_of_all} of {len(ALL)} properties" in run_text(verdict, tmp_path)
    assert rejudge(run).covers == ""
    write_json(run.verdict_file, verdict)
    assert rejudge(run).covers == verdict.covers


def test_what_an_external_system_lacks_follows_from_its_target(running: str, tmp_path: Path) -> None:
    theirs = load_target(target_file(tmp_path, running))
    assert lacks(load_target(), destructive=False) == {}
    assert {"faults", "database", "broker", "tap", "sinks", "clean slate"} <= set(lacks(theirs, destructive=False))
    assert "clean slate" not in lacks(theirs, destructive=True)


@pytest.mark.parametrize(
    ("scenario", "needs"),
    [
        (test_end_to_end.test_a_rule_fires_once_in_a_leads_lifetime, {"database"}),
        (test_actions.test_a_deal_that_is_won_is_told_by_a_signed_webhook, {"database", "sinks"}),
        (test_actions.test_opposing_rules_come_to_an_end, {"database", "clean slate"}),
        (test_dead_letters.test_a_discarded_dead_letter_is_gone, {"broker", "tap", "clean slate"}),
        (
            test_dead_letters.test_an_event_about_nobody_is_dead_lettered_without_retries,
            {"broker", "tap", "clean slate"},
        ),
        (test_crashes.test_pipeline_is_killed_with_unsent_events, {"faults", "database"}),
        (test_matrix.test_each_kind_of_edge_is_poisoned_while_leads_go_their_way, {"faults"}),
    ],
)
def test_what_a_scenario_needs_is_read_from_what_it_does(scenario: Any, needs: set[str]) -> None:
    assert needs_of(scenario) == needs


def test_a_stack_that_is_up_is_told_in_a_target_file_without_its_secrets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(ports.PortLease()) as lease:
        stack = plan(
            load_target(), NativeServers(find_servers()), take_port=lease.take, name="up",
            state_dir=tmp_path, run_dir=tmp_path / "run", source_root=PROJECT_ROOT,
        )  # fmt: skip
    credentials = write_target_file(tmp_path / "up.toml", stack, DEFAULT_TARGET)
    text = (tmp_path / "up.toml").read_text(encoding="utf-8")
    assert not [secret for secret in (*stack.tokens.values(), *stack.passwords.values()) if secret in text]
    assert credentials.stat().st_mode & 0o077 == 0
    told: Target = load_target(tmp_path / "up.toml")
    assert told.external is not None
    assert told.external.urls == {service: stack.url(service) for service in SERVICES}
    assert lacks(told, destructive=True).keys() == {"faults", "topology"}
