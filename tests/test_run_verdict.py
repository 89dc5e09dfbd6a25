"""A run directory, written and judged again: the verdict needs nothing but its files, and says which one it lacks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from harness.checks import one_deal_per_lead, one_winner
from harness.checks.run_verdict import RunVerdict, rejudge, summarise
from harness.evidence.evidence import killed_instances, load_evidence, process_starts
from harness.evidence.recording import Recording, outcome_of
from harness.evidence.records import Operation
from harness.evidence.run_directory import (
    EvidenceError,
    RunDirectory,
    new_run_path,
    read_json,
    read_records,
    write_json,
)
from tests.builders import (
    IDLE_WHEN_HAPPY,
    Story,
    created_lead,
    decoded,
    happy_evidence,
    happy_rows,
    line_fields,
    moment,
    qualified_lead,
    raw,
    target,
    uid,
)
from tests.runs import the_run, write_logs, write_scenario

HAPPY = qualified_lead(created_lead(Story())).lines


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    run = the_run(tmp_path)
    write_logs(run, HAPPY)
    return run


def test_a_happy_run_is_judged_again_from_its_files_and_passes(run: RunDirectory) -> None:
    directory = write_scenario(run)
    verdict = rejudge(run)
    assert (verdict.verdict, [one.scenario for one in verdict.scenarios]) == ("pass", ["happy"])
    assert (verdict.findings, verdict.idle, directory.verdict_file.exists()) == ([], (), True)


def test_evidence_survives_the_disk(run: RunDirectory) -> None:
    told, read = happy_evidence(), load_evidence(write_scenario(run), target())
    assert (read.operations, read.tap, read.rows, read.resting) == (told.operations, told.tap, told.rows, told.resting)
    assert [raw(line) for line in read.lines] == [raw(line) for line in told.lines]
    assert read.target == target()


def test_judging_again_overwrites_a_verdict_that_was_wrong(run: RunDirectory) -> None:
    directory = write_scenario(run, rows=happy_rows(deals=()))
    assert rejudge(run).verdict == "fail"
    write_scenario(run)
    assert summarise(run).verdict == "fail"
    assert rejudge(run).verdict == "pass"
    assert directory.root.is_dir()


def test_the_worst_scenario_decides(run: RunDirectory) -> None:
    write_scenario(run, "a good one")
    write_scenario(run, "a bad one", rows=happy_rows(deals=()))
    verdict = rejudge(run)
    assert verdict.verdict == "fail"
    assert {one.scenario: one.verdict for one in verdict.scenarios} == {"a good one": "pass", "a bad one": "fail"}
    assert any(finding.property == "one_deal_per_lead" for finding in verdict.findings)


def test_a_run_without_any_scenario_is_unknown(run: RunDirectory) -> None:
    assert rejudge(run).verdict == "unknown"


def test_a_failure_without_evidence_of_its_own_fails_the_run(run: RunDirectory) -> None:
    write_scenario(run)
    rejudge(run)
    verdict = summarise(run, ["canary A03 survived"])
    assert (verdict.verdict, verdict.failures) == ("fail", ("canary A03 survived",))


def test_a_whole_run_that_leaves_a_property_idle_is_unknown_and_names_it(tmp_path: Path) -> None:
    run = the_run(tmp_path, whole=True)
    write_logs(run, HAPPY)
    write_scenario(run)
    verdict = rejudge(run)
    assert (verdict.verdict, verdict.idle) == ("unknown", IDLE_WHEN_HAPPY)


def test_a_scenario_sees_only_the_lines_of_its_window(run: RunDirectory) -> None:
    directory = write_scenario(run, since=moment(3), until=moment(5))
    assert [line.ts for line in load_evidence(directory, target()).lines] == [moment(4), moment(5)]


def test_what_cannot_be_judged_again_stays_a_failure(run: RunDirectory) -> None:
    write_scenario(run)
    rejudge(run)
    write_json(run.verdict_file, summarise(run, ["canary A03 survived"]))
    verdict = rejudge(run)
    assert (verdict.verdict, verdict.failures) == ("fail", ("canary A03 survived",))
    assert read_json(run.verdict_file, RunVerdict).failures == verdict.failures


def test_one_property_alone_is_asked_of_every_scenario_and_nothing_is_written(run: RunDirectory) -> None:
    directory = write_scenario(run, rows=happy_rows(deals=()))
    verdict = rejudge(run, only=one_deal_per_lead.PROPERTY)
    assert [result.property for one in verdict.scenarios for result in one.results] == ["one_deal_per_lead"]
    assert verdict.verdict == "fail"
    assert not directory.verdict_file.exists()
    assert not run.verdict_file.exists()
    assert rejudge(run, only=one_winner.PROPERTY).verdict == "pass"


def test_one_property_that_a_whole_run_left_idle_is_not_proven(tmp_path: Path) -> None:
    run = the_run(tmp_path, whole=True)
    write_logs(run, HAPPY)
    write_scenario(run)
    verdict = rejudge(run, only=one_winner.PROPERTY)
    assert (verdict.verdict, verdict.idle) == ("unknown", ("one_winner",))


def test_judging_again_tells_how_far_it_has_come(run: RunDirectory) -> None:
    for name in ("first", "second"):
        write_scenario(run, name)
    told: list[tuple[int, int]] = []
    rejudge(run, on_scenario=lambda done, of: told.append((done, of)))
    assert told == [(1, 2), (2, 2)]


def test_causes_are_those_of_all_scenarios_together(run: RunDirectory) -> None:
    for name in ("first", "second"):
        write_scenario(run, name, rows=happy_rows(deals=()))
    cause = rejudge(run).causes[0]
    assert cause.scenarios == ("first", "second")
    assert "one_deal_per_lead" in cause.properties


# --- the log outside of all scenarios ---------------------------------------------------------------------------


def test_a_broken_line_after_the_last_scenario_fails_the_run_and_is_named(tmp_path: Path) -> None:
    run = the_run(tmp_path)
    write_logs(run, HAPPY, tail=b"boom\n")
    write_scenario(run, until=moment(len(HAPPY) - 3))
    later = rejudge(run).scenarios[-1]
    assert (later.scenario, later.verdict) == ("after the last scenario on stack main", "fail")
    assert later.findings[0].says.startswith("crm-1.ndjson:")


def test_a_log_that_just_ends_makes_the_run_unknown(tmp_path: Path) -> None:
    run = the_run(tmp_path)
    write_logs(run, HAPPY, how="stopped")
    write_scenario(run)
    verdict = rejudge(run)
    assert verdict.verdict == "unknown"
    assert "after the last scenario" in verdict.scenarios[-1].scenario


def test_a_process_that_crashed_fails_the_run(tmp_path: Path) -> None:
    run = the_run(tmp_path)
    write_logs(run, HAPPY, how="crashed")
    write_scenario(run)
    verdict = rejudge(run)
    assert verdict.verdict == "fail"
    assert "it ended by itself" in verdict.findings[-1].says


def test_lines_after_the_last_scenario_that_keep_the_contract_are_no_scenario(tmp_path: Path) -> None:
    run = the_run(tmp_path)
    last = decoded(line_fields("crm", "library.message", seq=10, at=999))
    crm = sum(line.service == "crm" for line in HAPPY)
    last.seq = crm
    write_logs(run, [*HAPPY, last])
    write_scenario(run)
    assert len(rejudge(run).scenarios) == 1


def test_only_what_follows_the_last_of_several_scenarios_is_outside(tmp_path: Path) -> None:
    run = the_run(tmp_path)
    broken = b'{"ts":"' + moment(3).encode() + b'","seq":2,"level":"loud"}\n'
    crm = [line for line in HAPPY if line.service == "crm"]
    write_logs(run, HAPPY)
    path = run.logs("main") / "crm-1.ndjson"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:2], broken, *lines[3:]]))
    write_scenario(run, "first", until=moment(4))
    write_scenario(run, "second", since=moment(4))
    verdict = rejudge(run)
    assert [one.scenario for one in verdict.scenarios] == ["first", "second"]
    assert len(crm) > 3


# --- what a run directory may lack ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["operations_file", "faults_file", "tap_file", "resting_file", "rows_file"])
def test_a_missing_file_is_an_error_that_names_it(run: RunDirectory, name: str) -> None:
    path: Path = getattr(write_scenario(run), name)
    path.unlink()
    with pytest.raises(EvidenceError, match=path.name):
        rejudge(run)


def test_a_broken_record_is_an_error_that_names_file_and_line(run: RunDirectory) -> None:
    directory = write_scenario(run)
    whole = directory.operations_file.read_bytes()
    directory.operations_file.write_bytes(whole + b'{"operation_id": "x"}\n')
    with pytest.raises(EvidenceError, match=r"operations\.ndjson:3: expected a Operation"):
        read_records(directory.operations_file, Operation)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff"])
def test_a_broken_run_file_is_an_error_that_names_it(run: RunDirectory, content: bytes) -> None:
    run.run_file.write_bytes(content)
    with pytest.raises(EvidenceError, match=r"run\.json"):
        rejudge(run)


def test_a_scenario_that_was_never_judged_is_an_error(run: RunDirectory) -> None:
    write_scenario(run)
    with pytest.raises(EvidenceError, match=r"verdict\.json"):
        summarise(run)


def test_a_folder_without_its_scenario_file_is_not_complete_and_is_left_out(run: RunDirectory) -> None:
    write_scenario(run).scenario_file.unlink()
    assert run.scenarios() == []


# --- writing ----------------------------------------------------------------------------------------------------


def test_a_process_start_is_found_where_the_run_directory_lies_now(run: RunDirectory) -> None:
    assert [start.file for start in process_starts(run, "main")] == [
        "crm-1.ndjson",
        "pipeline-1.ndjson",
        "automation-1.ndjson",
    ]


@pytest.mark.parametrize(
    ("how", "names"), [("killed", {"crm-1", "pipeline-1", "automation-1"}), ("crashed", set()), ("running", set())]
)
def test_only_a_kill_of_ours_makes_a_killed_instance(tmp_path: Path, how: str, names: set[str]) -> None:
    run = the_run(tmp_path)
    write_logs(run, HAPPY, how=how)
    assert set(killed_instances(run, "main")) == names
    assert set(load_evidence(write_scenario(run), target()).killed_instances) == names


def test_a_json_file_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "rows.json"
    write_json(path, happy_rows())
    with pytest.raises(TypeError):
        write_json(path, object())
    assert read_json(path, type(happy_rows())) == happy_rows()
    assert [file.name for file in path.parent.iterdir()] == ["rows.json"]


def test_a_scenarios_folder_has_a_name_that_every_file_system_takes(run: RunDirectory) -> None:
    folder = run.scenario("test_a.py::test_b[pipeline→broker]").root
    assert folder.name == "test_a.py-test_b-pipeline-broker"
    assert run.scenario("x").run == run


def test_a_new_run_has_its_moment_and_its_seed_in_its_name() -> None:
    name = new_run_path(42).name
    assert name.endswith("Z-42")
    assert len(name) == len("20260101T000000Z-42")


@pytest.mark.parametrize(
    ("http_status", "outcome"),
    [(200, "ok"), (201, "ok"), (399, "ok"), (400, "refused"), (499, "refused"), (500, "unknown"), (None, "unknown")],
)
def test_what_an_answer_proves(http_status: int | None, outcome: str) -> None:
    assert outcome_of(http_status) == outcome


def test_a_recording_numbers_its_operations_and_keeps_what_it_expects() -> None:
    recording = Recording()
    told: dict[str, Any] = {
        "action": "read",
        "entity_type": "lead",
        "entity_id": uid("lead"),
        "arguments": {},
        "answer": {},
    }
    for http_status in (200, None):
        recording.add_operation(correlation_id=uid("x"), invoked_ns=1, http_status=http_status, **told)
    recording.expect_dead_letter(recording.operations[0], reason="exhausted")
    assert [(op.operation_id, op.outcome) for op in recording.operations] == [(0, "ok"), (1, "unknown")]
    assert recording.operations[0].returned_ns > 1
    assert msgspec.to_builtins(recording.expected_dead_letters) == [{"correlation_id": uid("x"), "reason": "exhausted"}]
