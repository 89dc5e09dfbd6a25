"""One flow of a run: found by the beginning of its id, shown with all its witnesses, whatever is missing of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner, Result

from cli import gauntlet
from harness.checks.one_flow import find_flow
from harness.contract.log_lines import Line, kind_of
from harness.evidence.evidence import Evidence
from harness.evidence.records import AlertRow, ExecutionRow, Fault, Received
from harness.evidence.run_directory import EvidenceError, RunDirectory
from harness.trace.witnesses import faults_during, operation_text, witnesses
from reports.one_flow import flow_text
from tests.builders import (
    EMAIL,
    RULE,
    Story,
    created_lead,
    delivered,
    exhausted_lead,
    happy_evidence,
    happy_rows,
    lead_asked,
    moment,
    move_asked,
    moved_lead,
    qualified_lead,
    resting,
    uid,
)
from tests.runs import the_run, write_logs, write_scenario

MOVED, CREATED = uid("moved"), uid("created")


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    return a_run(tmp_path, qualified_lead(created_lead(Story())).lines)


def a_run(folder: Path, lines: list[Line], **parts: Any) -> RunDirectory:
    run = the_run(folder)
    write_logs(run, lines)
    write_scenario(run, **parts)
    return run


def shown(run: RunDirectory, beginning: str) -> list[str]:
    return list(flow_text(find_flow(run, beginning)))


# --- finding it -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("beginning", [MOVED, MOVED[:8], MOVED[:2]])
def test_the_beginning_of_an_id_finds_its_flow(run: RunDirectory, beginning: str) -> None:
    assert find_flow(run, beginning).correlation_id == MOVED


def test_an_id_that_nobody_has_and_one_that_many_have_are_errors_that_say_so(run: RunDirectory) -> None:
    with pytest.raises(EvidenceError, match=r"no flow of .* begins with 'zz'"):
        find_flow(run, "zz")
    with pytest.raises(EvidenceError, match="2 flows of") as several:
        find_flow(run, "")
    assert MOVED in str(several.value)
    assert CREATED in str(several.value)


def test_a_pattern_is_taken_as_it_stands(run: RunDirectory) -> None:
    with pytest.raises(EvidenceError, match="no flow"):
        find_flow(run, f"{MOVED[:2]}.*")


def test_a_flow_that_only_a_client_knows_is_found_and_shown(tmp_path: Path) -> None:
    run = a_run(tmp_path, qualified_lead(Story()).lines)
    texts = shown(run, CREATED)
    assert texts[0] == f"flow {CREATED}: no line of the log tells of it"
    assert any("client      create_lead" in text for text in texts)


def test_a_flow_that_only_the_log_knows_is_found_in_the_scenario_of_its_time(tmp_path: Path) -> None:
    run = the_run(tmp_path)
    write_logs(run, qualified_lead(created_lead(Story())).lines)
    rows = happy_rows(outbox=(), history=(), processed=())
    write_scenario(run, "early", until=moment(6), operations=(), rows=rows)
    write_scenario(run, "late", since=moment(6), operations=(), rows=rows)
    for directory in run.scenarios():
        directory.tap_file.write_bytes(b"")
    assert find_flow(run, MOVED).evidence.scenario.name == "late"


# --- showing it -------------------------------------------------------------------------------------------------


def test_a_flow_is_shown_with_its_state_its_scenario_its_tree_and_its_witnesses(run: RunDirectory) -> None:
    texts = shown(run, MOVED)
    assert texts[0] == f"flow {MOVED}: complete"
    assert texts[1] == "  in happy on stack main"
    assert texts.index("log:") < texts.index("other witnesses:")
    assert "faults meanwhile:" not in texts
    assert sum("action.completed" in text for text in texts) == 1


def test_a_missing_step_is_marked_where_it_is_missing(tmp_path: Path) -> None:
    lines = qualified_lead(created_lead(Story())).without("event.received", "event.settled", event="deal")
    texts = shown(a_run(tmp_path, lines), MOVED)
    assert texts[0].endswith(": broken")
    at = next(number for number, text in enumerate(texts) if "✗ published → received: MISSING  event.received" in text)
    assert "event.published  confirmed  deal.created" in texts[at - 1]


def test_a_lost_line_that_makes_a_flow_unknown_is_named(tmp_path: Path) -> None:
    lines = qualified_lead(created_lead(Story())).lines
    kept = [line for line in lines if not (kind_of(line) == "event.settled" and line.event_id == uid("moved"))]
    texts = shown(a_run(tmp_path, kept), MOVED)
    assert texts[0].endswith(": unknown")
    assert texts[2].startswith("  ? line seq ")


# --- what the other witnesses say -------------------------------------------------------------------------------


def told(evidence: Evidence, flow: str = MOVED) -> list[str]:
    return [" ".join(text.split()) for text in witnesses(evidence, flow)]


def test_every_witness_of_a_flow_is_heard_and_of_no_other() -> None:
    rows = happy_rows(
        executions=(ExecutionRow(RULE, "lead", uid("lead"), MOVED, "succeeded", 1, MOVED),),
        alerts=(AlertRow(uid("alert"), uid("moved"), MOVED, "exhausted", False),),
    )
    sunk = Received(
        kind="webhook", place="/hooks", received_at=moment(9), key="k", signed=True, status=204, digest="", body="",
        correlation_id=MOVED, rule_id=RULE,
    )  # fmt: skip
    again = delivered("moved", redelivered=True, headers={"attempt": 2})
    dead = happy_evidence(rows=rows, received=(sunk,), resting=(resting("moved"),), tap=(again,))
    assert told(dead) == [
        f"client move_stage lead {uid('lead')} stage=qualified → 200 ok stage=qualified version=1 changed=True",
        f"history lead {uid('lead')} new → qualified version 1 by manual",
        f"outbox pipeline lead.stage.changed {uid('moved')} version 1 sent",
        f"outbox crm deal.created {uid('deal')} version 1 sent",
        f"processed lead.stage.changed {uid('moved')}",
        f"processed deal.created {uid('deal')}",
        f"execution {RULE} lead {uid('lead')} succeeded",
        f"alert exhausted {uid('moved')} UNDELIVERED",
        f"broker lead.stage.changed {uid('moved')} delivered from automation.events attempt 2 redelivered",
        f"queue automation.dlq holds lead.stage.changed {uid('moved')} exhausted",
        f"00:00:09.000000 webhook /hooks rule {RULE} answered 204 key k",
    ]


def test_what_is_wrong_stands_out() -> None:
    outbox = (msgspec.structs.replace(happy_rows().outbox[1], sent=False),)
    nowhere = delivered("moved", what="published", queues=())
    texts = told(happy_evidence(rows=happy_rows(outbox=outbox), tap=(nowhere,)))
    assert any(text.endswith("UNSENT") for text in texts)
    assert any("published to NO QUEUE" in text for text in texts)


def test_what_a_client_sent_about_a_person_is_not_shown() -> None:
    text = operation_text(lead_asked())
    assert EMAIL not in text.lower()
    assert "→ 201 ok" in text
    assert "→ no answer unknown" in operation_text(move_asked(None))


def test_faults_are_told_if_they_were_active_meanwhile() -> None:
    cut = Fault(kind="cut", place="a→b", injected_at=moment(5), healed_at=moment(7), hits=1, proof="2 open sessions")
    during = happy_evidence(faults=(cut,))
    assert [text.split() for text in faults_during(during, moment(6), moment(9))] == [
        ["00:00:05.000000", "fault", "cut", "on", "a→b", "until", "00:00:07.000000", "(2", "open", "sessions)"]
    ]
    assert list(faults_during(during, moment(8), moment(9))) == []
    assert list(faults_during(during, moment(1), moment(4))) == []


# --- through the door -------------------------------------------------------------------------------------------


def show(run: RunDirectory, beginning: str) -> Result:
    return CliRunner().invoke(gauntlet, ["show", str(run.root), beginning])


def test_show_prints_the_flow_and_an_unknown_one_is_an_error(run: RunDirectory) -> None:
    done = show(run, MOVED[:8])
    assert (done.exit_code, f"flow {MOVED}: complete" in done.output) == (0, True)
    assert isinstance(show(run, "zz").exception, EvidenceError)


def test_show_of_a_dead_letter_says_so(tmp_path: Path) -> None:
    assert f"flow {MOVED}: dead_lettered" in show(a_run(tmp_path, exhausted_lead().lines), MOVED).output


def test_show_of_a_flow_that_stopped_says_where(tmp_path: Path) -> None:
    assert "MISSING  event.received" in show(a_run(tmp_path, moved_lead(Story()).lines), MOVED).output
