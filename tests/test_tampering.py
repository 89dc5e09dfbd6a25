"""A log that somebody has laid hands on: each single change to a file is found, named, and never taken for a green."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner, Result

from cli import gauntlet
from harness.checks.run_verdict import RunVerdict, rejudge
from harness.contract.log_lines import Line
from harness.evidence.run_directory import RunDirectory
from tests.builders import Story, created_lead, qualified_lead, uid
from tests.runs import the_run, write_logs, write_scenario

SERVICES = ("crm", "pipeline", "automation")
PLACES = ("start", "middle", "end")
Lines = list[bytes]


def whole_lives() -> list[Line]:
    """The happy story, told by processes that were started before it and stopped after it."""
    story = Story()
    for service in SERVICES:
        story.write(service, "service.started")
    qualified_lead(created_lead(story))
    for service in SERVICES:
        story.write(service, "service.stopped")
    return story.lines


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    run = the_run(tmp_path)
    write_logs(run, whole_lives(), how="stopped")
    write_scenario(run)
    return run


def test_untouched_it_is_green(run: RunDirectory) -> None:
    assert rejudge(run).verdict == "pass"


# --- what can be done to one line -------------------------------------------------------------------------------


def removed(lines: Lines, at: int) -> None:
    del lines[at]


def duplicated(lines: Lines, at: int) -> None:
    lines.insert(at, lines[at])


def swapped(lines: Lines, at: int) -> None:
    at = min(at, len(lines) - 2)
    lines[at], lines[at + 1] = lines[at + 1], lines[at]


def altered(lines: Lines, at: int) -> None:
    lines[at] = lines[at].replace(b'"level":"info"', b'"level":"loud"')


def laid_hands_on(run: RunDirectory, service: str, change: Callable[[Lines, int], None], place: str) -> tuple[int, int]:
    """The index of the line that was changed, and how many there were."""
    path = run.logs("main") / f"{service}-1.ndjson"
    lines = path.read_bytes().splitlines()
    count = len(lines)
    at = {"start": 0, "middle": count // 2, "end": count - 1}[place]
    change(lines, at)
    path.write_bytes(b"".join(line + b"\n" for line in lines))
    return at, count


def says(verdict: RunVerdict, name: str) -> list[str]:
    """The findings and doubts of one property over the whole run."""
    results = [result for scenario in verdict.scenarios for result in scenario.results if result.property == name]
    return [text for result in results for text in (*(f.says for f in result.findings), *result.doubts)]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("service", SERVICES)
def test_a_line_removed_is_missing_by_its_seq_and_makes_the_run_unknown(
    run: RunDirectory, service: str, place: str
) -> None:
    at, count = laid_hands_on(run, service, removed, place)
    verdict = rejudge(run)
    which = "everything from seq" if at == count - 1 else "line seq"
    assert any(
        f"{which} {at} of instance {service}-1 is missing from {service}-1.ndjson" in text
        for text in says(verdict, "log_contract")
    )
    assert (verdict.verdict, verdict.findings) == ("unknown", [])


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("service", SERVICES)
def test_a_line_duplicated_is_named_by_file_and_number(run: RunDirectory, service: str, place: str) -> None:
    at, _ = laid_hands_on(run, service, duplicated, place)
    verdict = rejudge(run)
    expected = f"{service}-1.ndjson:{at + 2}: seq {at} stands there a second time: the line was duplicated"
    assert expected in says(verdict, "log_contract")
    assert verdict.verdict == "fail"


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("service", SERVICES)
def test_two_lines_swapped_are_named_by_file_and_number(run: RunDirectory, service: str, place: str) -> None:
    at, count = laid_hands_on(run, service, swapped, place)
    at = min(at, count - 2)
    verdict = rejudge(run)
    expected = f"{service}-1.ndjson:{at + 2}: seq {at} stands after seq {at + 1}: lines were swapped"
    assert says(verdict, "log_contract") == [expected]
    assert (verdict.verdict, len(verdict.findings)) == ("fail", 1)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("service", SERVICES)
def test_a_line_altered_against_the_contract_is_named_with_the_field(
    run: RunDirectory, service: str, place: str
) -> None:
    at, _ = laid_hands_on(run, service, altered, place)
    verdict = rejudge(run)
    (first, *_) = says(verdict, "log_contract")
    assert first.startswith(f"{service}-1.ndjson:{at + 1}: ")
    assert "loud" in first
    assert "level" in first
    assert verdict.verdict == "fail"


# --- alterations that the contract allows -----------------------------------------------------------------------


def change_in(run: RunDirectory, service: str, kind: str, old: str, new: str) -> int:
    """Alter the first line of this kind; its number."""
    path = run.logs("main") / f"{service}-1.ndjson"
    lines = path.read_bytes().splitlines()
    at = next(index for index, line in enumerate(lines) if f'"event":"{kind}"'.encode() in line)
    assert old.encode() in lines[at]
    lines[at] = lines[at].replace(old.encode(), new.encode(), 1)
    path.write_bytes(b"".join(line + b"\n" for line in lines))
    return at + 1


@pytest.mark.parametrize(
    ("service", "kind", "name"),
    [
        ("pipeline", "event.stored", "moved"),
        ("pipeline", "event.published", "moved"),
        ("automation", "event.received", "created"),
        ("automation", "event.settled", "created"),
        ("automation", "rule.evaluated", "moved"),
        ("automation", "action.completed", "moved"),
    ],
)
@pytest.mark.parametrize("field", ["event_id", "correlation_id"])
def test_an_altered_id_breaks_an_edge_and_is_named(
    run: RunDirectory, service: str, kind: str, name: str, field: str
) -> None:
    flow = {"created": "created"}.get(name, "moved")
    old = uid(name if field == "event_id" else flow)
    change_in(run, service, kind, f'"{field}":"{old}"', f'"{field}":"{uid("forged")}"')
    verdict = rejudge(run)
    assert verdict.verdict == "fail"
    named = {finding.correlation_id for finding in verdict.findings}
    assert named & {uid(flow), uid("forged")}
    assert any(uid("forged") in f"{f.says} {f.correlation_id}" for f in verdict.findings)


@pytest.mark.parametrize(
    ("service", "kind", "field"),
    [
        ("crm", "http.request.received", "span_id"),
        ("crm", "http.request.received", "parent_span_id"),
        ("crm", "change.committed", "span_id"),
        ("automation", "call.sent", "span_id"),
        ("automation", "action.completed", "span_id"),
    ],
)
def test_an_altered_span_breaks_an_edge(run: RunDirectory, service: str, kind: str, field: str) -> None:
    path = run.logs("main") / f"{service}-1.ndjson"
    lines = path.read_text(encoding="utf-8").splitlines()
    at = max(index for index, text in enumerate(lines) if f'"event":"{kind}"' in text)
    value = lines[at].partition(f'"{field}":"')[2][:16]
    lines[at] = lines[at].replace(f'"{field}":"{value}"', f'"{field}":"{"0" * 16}"')
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    verdict = rejudge(run)
    assert verdict.verdict == "fail"
    assert says(verdict, "trace_complete")


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ('"seq":3,', '"seq":300,', "seq 300 stands where seq 3 should: the seq was altered"),
        ('"seq":3,', '"seq":1,', "seq 1 stands there a second time: another line has it, so one was altered"),
        ('"instance":"crm-1"', '"instance":"crm-7"', "instance 'crm-7' in the file of 'crm-1'"),
        ('"ts":"2026', '"ts":"2025', "ts 2025-01-01T"),
        ('"ts":"2026', '"ts":"2027', "is before 2027-01-01T"),
    ],
)
def test_an_altered_place_in_the_file_is_named(run: RunDirectory, old: str, new: str, problem: str) -> None:
    path = run.logs("main") / "crm-1.ndjson"
    lines = path.read_text(encoding="utf-8").splitlines()
    at = next(index for index, line in enumerate(lines) if '"seq":3,' in line)
    lines[at] = lines[at].replace(old, new)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    verdict = rejudge(run)
    assert verdict.verdict == "fail"
    assert any(text.startswith("crm-1.ndjson:") and problem in text for text in says(verdict, "log_contract"))


# --- through the door -------------------------------------------------------------------------------------------


def checked(run: RunDirectory, *words: str) -> Result:
    return CliRunner().invoke(gauntlet, ["check", str(run.root), *words])


@pytest.mark.parametrize(
    ("change", "code", "text"),
    [
        (removed, 2, "line seq {at} of instance pipeline-1 is missing from pipeline-1.ndjson"),
        (duplicated, 1, "pipeline-1.ndjson:{after}: seq {at} stands there a second time: the line was duplicated"),
        (swapped, 1, "pipeline-1.ndjson:{after}: seq {at} stands after seq {next}: lines were swapped"),
        (altered, 1, "pipeline-1.ndjson:{number}: Invalid enum value 'loud'"),
    ],
)
def test_check_names_it_and_exits_accordingly(
    run: RunDirectory, change: Callable[[Lines, int], None], code: int, text: str
) -> None:
    at, _ = laid_hands_on(run, "pipeline", change, "middle")
    done = checked(run)
    assert done.exit_code == code, done.output
    assert text.format(at=at, next=at + 1, number=at + 1, after=at + 2) in done.output


def test_check_of_one_property_asks_it_alone_and_writes_nothing(run: RunDirectory) -> None:
    rejudge(run)
    (directory,) = run.scenarios()
    before = directory.verdict_file.read_bytes()
    laid_hands_on(run, "crm", duplicated, "middle")
    assert checked(run, "--property", "one_winner").exit_code == 0
    assert checked(run, "--property", "log_contract").exit_code == 1
    assert directory.verdict_file.read_bytes() == before
    unknown = checked(run, "--property", "log_contrakt")
    assert "did you mean log_contract?" in unknown.output


def test_check_as_json_is_the_whole_verdict_with_its_causes(run: RunDirectory) -> None:
    laid_hands_on(run, "crm", swapped, "middle")
    told = msgspec.json.decode(checked(run, "--json").stdout, type=RunVerdict)
    assert told.verdict == "fail"
    assert [cause.properties for cause in told.causes] == [["log_contract"]]
