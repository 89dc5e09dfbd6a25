"""What a run has exercised is counted, and what it never showed is named."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from harness.checks.coverage import EDGE_NAMES, Coverage, FieldSeen, coverage, coverage_of
from harness.checks.run_verdict import RunRecord
from harness.contract.log_lines import KINDS, Line
from harness.evidence.recording import Recording
from harness.evidence.records import Fault, Rows
from harness.evidence.run_directory import RunDirectory, write_json
from harness.evidence.write import write_evidence
from harness.target import DEFAULT_TARGET, PROJECT_ROOT
from reports.coverage_text import coverage_line
from tests.builders import (
    Story,
    created_lead,
    duplicated_lead,
    evaluated,
    moment,
    moved_lead,
    qualified_lead,
    raw,
    received,
    replayed_lead,
    retried_lead,
    scenario,
    settled,
)
from tests.conftest import Gauntlet

EDGES = ("crm→broker", "pipeline→crm")


def fault(kind: str, place: str, hits: int = 1) -> Fault:
    return Fault(kind=kind, place=place, injected_at=moment(1), healed_at=moment(2), hits=hits, proof="seen")


def covered(*stories: Story, faults: Iterable[Fault] = ()) -> Coverage:
    return coverage([story.lines for story in stories], faults, EDGES)


def requeued_lead() -> Story:
    """A delivery is given back, and comes again."""
    story = moved_lead(Story())
    received(story, "moved", "d1")
    settled(story, "moved", "d1", "requeued")
    received(story, "moved", "d2")
    settled(story, "moved", "d2")
    return story


def escalated_lead() -> Story:
    """A timer is set and fires."""
    story = moved_lead(Story())
    received(story, "moved", "d1")
    evaluated(story, "d1")
    for kind in ("timer.scheduled", "timer.fired"):
        story.write("automation", kind, "d1", event="moved", cause="moved")
    settled(story, "moved", "d1")
    return story


def all_stories() -> list[Story]:
    return [
        created_lead(Story()), qualified_lead(), retried_lead(), replayed_lead(), duplicated_lead(), requeued_lead(),
        escalated_lead(),
    ]  # fmt: skip


def test_kinds_and_statuses_are_counted() -> None:
    seen = covered(retried_lead())
    assert seen.kinds["event.settled"].lines == 3
    assert seen.kinds["event.settled"].statuses == {"acked": 2, "dead_lettered": 0, "requeued": 0, "retried": 1}
    assert seen.kinds["timer.fired"].lines == 0


def test_a_run_that_wrote_nothing_has_shown_nothing() -> None:
    seen = covered(Story())
    assert len(seen.unseen_kinds) == len(KINDS)
    assert len(seen.unseen_statuses) == sum(len(kind.statuses) for kind in seen.kinds.values())
    assert tuple(seen.unseen_edges) == EDGE_NAMES


def test_a_status_never_seen_is_named_with_its_kind() -> None:
    seen = covered(*all_stories())
    assert "event.published nacked" in seen.unseen_statuses
    assert "event.published confirmed" not in seen.unseen_statuses
    assert "service.started ok" in seen.unseen_statuses  # its kind was never seen either
    assert "service.started" in seen.unseen_kinds
    assert "event.published" not in seen.unseen_kinds


def test_a_field_that_may_be_null_is_counted_on_both_sides() -> None:
    fields = covered(retried_lead()).kinds["call.completed"].fields
    assert fields["http_status"] == FieldSeen(null=1, value=1)
    assert fields["parent_span_id"] == FieldSeen(null=0, value=2)


def test_a_field_that_is_always_null_or_never_is_no_field_to_count() -> None:
    fields = covered(retried_lead()).kinds["change.committed"].fields
    assert "rule_id" not in fields  # of this kind, always null
    assert "span_id" not in fields  # never
    assert fields["from_stage"] == FieldSeen(null=1, value=1)


def test_every_edge_can_be_seen_closed() -> None:
    assert covered(*all_stories()).unseen_edges == []


@pytest.mark.parametrize(
    ("story", "edge"),
    [
        (requeued_lead(), "requeued → received again"),
        (escalated_lead(), "timer scheduled → fired or cancelled"),
        (retried_lead(), "retried → received again"),
        (replayed_lead(), "replayed → received"),
        (duplicated_lead(), "received → handled once"),
    ],
    ids=["requeued", "escalated", "retried", "replayed", "duplicated"],
)
def test_an_edge_that_only_one_kind_of_story_closes_is_unseen_without_it(story: Story, edge: str) -> None:
    plain = covered(created_lead(Story()), qualified_lead())
    assert edge in plain.unseen_edges
    assert edge not in covered(story).unseen_edges


def test_an_edge_that_stayed_open_was_not_seen_closed() -> None:
    """Something was stored and never published: that exercises the property, not the edge."""
    seen = coverage([moved_lead(Story()).without("event.published")], (), EDGES)
    assert seen.edges["change → event stored"] == 1
    assert "stored → published" in seen.unseen_edges


def test_the_same_flow_on_two_stacks_is_two_flows() -> None:
    assert covered(qualified_lead(), qualified_lead()).edges["root"] == 2


def test_every_edge_of_the_trace_is_known_to_coverage() -> None:
    """Whoever adds a causal edge appends its name to one of the tuples in harness/checks/coverage.py."""
    assert _edges_in_the_code() == set(EDGE_NAMES)


def _edges_in_the_code() -> set[str]:
    """The names that obligations are made with, constants looked up."""
    names: set[str] = set()
    for file in (PROJECT_ROOT / "harness" / "trace" / "edges").glob("*.py"):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        constants = {
            target.id: node.value.value
            for node in tree.body
            if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
            for target in node.targets
            if isinstance(target, ast.Name)
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Obligation":
                first = node.args[0]
                names.add(str(first.value if isinstance(first, ast.Constant) else constants[ast.unparse(first)]))
    return names


# --- faults -----------------------------------------------------------------------------------------------------


def test_faults_are_counted_by_edge_and_kind_however_slow_they_made_it() -> None:
    faults = [
        fault("cut", "crm→broker", 2),
        fault("slow 30 ms each way", "crm→broker"),
        fault("slow 9 ms", "crm→broker"),
    ]
    seen = covered(Story(), faults=faults)
    assert seen.cells == {"crm→broker": {"cut": 2, "slow": 2}, "pipeline→crm": {"cut": 0, "slow": 0}}
    assert seen.unseen_cells == ["cut on pipeline→crm", "slow on pipeline→crm"]


def test_a_fault_that_hit_nothing_exercised_nothing() -> None:
    assert "cut on crm→broker" in covered(Story(), faults=[fault("cut", "crm→broker", 0)]).unseen_cells


def test_another_kind_of_fault_on_an_edge_opens_a_column_of_its_own() -> None:
    cells = covered(Story(), faults=[fault("stall after COMMIT", "crm→broker")]).cells
    assert cells["crm→broker"] == {"cut": 0, "slow": 0, "stall": 1}
    assert cells["pipeline→crm"]["stall"] == 0


def test_a_fault_elsewhere_is_counted_by_its_place() -> None:
    seen = covered(Story(), faults=[fault("SIGKILL", "crm", 3), fault("SIGKILL", "crm"), fault("SIGSTOP", "postgres")])
    assert seen.places == {"SIGKILL on crm": 4, "SIGSTOP on postgres": 1}


# --- a run ------------------------------------------------------------------------------------------------------


def the_run(folder: Path, lines: Iterable[Line], *faults: Fault, tail: bytes = b"") -> RunDirectory:
    run = RunDirectory(folder)
    write_json(run.run_file, RunRecord(seed=1, target_file=str(DEFAULT_TARGET), source_root=".", began_at=moment(0)))
    run.logs("main").mkdir(parents=True)
    (run.logs("main") / "all-1.ndjson").write_bytes(b"".join(raw(line) + b"\n" for line in lines) + tail)
    write_evidence(
        run.scenario("one"), scenario=scenario(), recording=Recording(faults=list(faults)), tap=(), resting=(),
        received=(), rows=Rows(),
    )  # fmt: skip
    return run


def test_a_run_is_covered_from_its_files_alone(tmp_path: Path) -> None:
    seen = coverage_of(the_run(tmp_path, retried_lead().lines, fault("cut", "pipeline→crm")))
    assert seen.kinds == covered(retried_lead()).kinds
    assert seen.edges == covered(retried_lead()).edges
    assert seen.cells["pipeline→crm"]["cut"] == 1
    assert "client→crm" in seen.cells


def test_lines_that_break_the_contract_count_for_nothing(tmp_path: Path) -> None:
    run = the_run(tmp_path, moved_lead(Story()).lines, tail=b'\x00\xff\n{"event":"event.received"}\n\n{"torn')
    assert coverage_of(run) == coverage_of(the_run(tmp_path / "clean", moved_lead(Story()).lines))


def test_the_line_of_a_gate_counts_and_names_what_was_never_seen() -> None:
    line = coverage_line(covered(*all_stories(), faults=[fault("cut", "crm→broker")]))
    assert line.startswith(
        "contract coverage: 17/24 kinds, 22/42 statuses, 19/19 edges, 1/4 faults × edges; never seen: "
    )
    assert "\n" not in line


def test_the_line_names_a_kind_never_seen_once_and_not_its_statuses_as_well() -> None:
    line = coverage_line(covered(*all_stories()))
    assert "service.started" in line
    assert "service.started ok" not in line


def test_the_line_stays_one_line_when_nearly_nothing_was_seen() -> None:
    line = coverage_line(covered(Story()))
    assert line.endswith(f" and {24 + len(EDGE_NAMES) - 6} more")


def test_the_command_prints_tables_that_fit_in_80_columns(
    gauntlet: Gauntlet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    code, told = gauntlet("coverage", the_run(tmp_path / "run", retried_lead().lines, fault("SIGKILL", "crm")).root)
    assert code == 0
    assert max(map(len, told.splitlines())) <= 80
    for expected in ("retried=1", "requeued=never", "http.request.received", "crm→broker", "SIGKILL on crm"):
        assert expected in told


def test_the_command_gives_every_count_as_json(gauntlet: Gauntlet, tmp_path: Path) -> None:
    code, told = gauntlet("coverage", "--json", the_run(tmp_path / "run", retried_lead().lines).root)
    answer: dict[str, Any] = json.loads(told)
    assert code == 0
    assert answer["kinds"]["event.settled"]["statuses"]["retried"] == 1
    assert answer["edges"]["requeued → received again"] == 0


def test_a_folder_that_is_no_run_is_wrong_usage(gauntlet: Gauntlet, tmp_path: Path) -> None:
    code, told = gauntlet("coverage", tmp_path)
    assert code == 3
    assert "run.json" in told
