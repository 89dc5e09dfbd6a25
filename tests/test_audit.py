"""``gauntlet audit`` as its users meet it: any file, any packing, any engine, and findings that say where."""

from __future__ import annotations

import gzip
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import zstandard
from click.testing import CliRunner, Result

from cli import gauntlet
from harness.audit import sources
from harness.audit.audit import Audit, AuditFinding, AuditReport
from harness.audit.blocks import LONGEST
from harness.audit.engines import EngineName, engine
from harness.audit.sources import gather
from harness.contract.log_lines import KINDS, EventPublished, Line, ServiceStopped, kind_of_struct
from scenarios.bench.audit_corpus import Corpus, write_audit_corpus
from tests.builders import (
    Story,
    by_instance,
    created_lead,
    duplicate,
    exhausted_lead,
    line_fields,
    moment,
    qualified_lead,
    raw,
    retried_lead,
    uid,
)


def told() -> list[Line]:
    """Two flows, and every process said at its end that it stopped."""
    story = qualified_lead(created_lead(Story()))
    for service in ("crm", "pipeline", "automation"):
        story.write(service, "service.stopped")
    return story.lines


def text(lines: Iterable[Line]) -> bytes:
    return b"".join(raw(line) + b"\n" for line in lines)


def written(folder: Path, content: bytes, name: str = "log.ndjson") -> str:
    (folder / name).write_bytes(content)
    return str(folder / name)


def audited(*arguments: str, stdin: bytes | None = None) -> tuple[Result, list[AuditFinding]]:
    result = CliRunner().invoke(gauntlet, ["audit", *arguments], input=stdin)
    findings = [msgspec.json.decode(line, type=AuditFinding) for line in result.stdout_bytes.splitlines()]
    return result, findings


def found(folder: Path, content: bytes) -> tuple[int, list[AuditFinding]]:
    result, findings = audited(written(folder, content))
    return result.exit_code, findings


def renumbered(lines: Iterable[Line]) -> list[Line]:
    """The lines as a process writes them that has never written the others."""
    counts: Counter[str] = Counter()
    kept = []
    for line in lines:
        kept.append(msgspec.structs.replace(line, seq=counts[line.instance]))
        counts[line.instance] += 1
    return kept


def is_published(line: Line, event: str) -> bool:
    return isinstance(line, EventPublished) and line.event_id == uid(event)


def replaced(lines: list[Line], index: int, content: bytes) -> bytes:
    return text(lines[:index]) + content + text(lines[index + 1 :])


# --- what is well -----------------------------------------------------------------------------------------------


def test_a_log_in_which_nothing_went_wrong_passes_and_says_what_it_read(tmp_path: Path) -> None:
    result, findings = audited(written(tmp_path, text(told())))
    assert (result.exit_code, findings) == (0, [])
    assert f"{len(told())} lines" in result.stderr
    assert "2 flows: 2 complete" in result.stderr
    assert result.stderr.rstrip().endswith("PASS")


@pytest.mark.parametrize("ending", [b"\r\n", b"\n\n", b"\n  \n"], ids=["CRLF", "blank lines", "spaces"])
def test_other_ends_of_lines_are_tolerated(tmp_path: Path, ending: bytes) -> None:
    assert found(tmp_path, text(told()).replace(b"\n", ending)) == (0, [])


def test_a_whole_last_line_without_its_newline_is_tolerated(tmp_path: Path) -> None:
    assert found(tmp_path, text(told()).rstrip(b"\n")) == (0, [])


def test_an_empty_log_passes(tmp_path: Path) -> None:
    assert found(tmp_path, b"") == (0, [])


def test_files_of_several_services_are_one_log(tmp_path: Path) -> None:
    files = [written(tmp_path, text(lines), f"{name}.ndjson") for name, lines in by_instance(told()).items()]
    result, findings = audited(*files)
    assert (result.exit_code, findings) == (0, [])
    assert "2 flows: 2 complete" in result.stderr
    assert audited(*reversed(files))[0].exit_code == 0


def test_a_file_alone_lacks_what_the_others_tell(tmp_path: Path) -> None:
    crm = next(lines for lines in by_instance(told()).values() if lines[0].service == "crm")
    result, findings = audited(written(tmp_path, text(crm)))
    assert result.exit_code == 1
    assert {finding.kind for finding in findings} == {"broken_flow"}


def test_a_process_whose_log_was_rotated_goes_on_in_the_next_file(tmp_path: Path) -> None:
    lines = told()
    files = [written(tmp_path, text(lines[:20]), "log.2"), written(tmp_path, text(lines[20:]), "log.1")]
    assert audited(*files)[0].exit_code == 0
    assert audited(*reversed(files))[0].exit_code == 0


@pytest.mark.parametrize("story", [retried_lead, exhausted_lead], ids=["retried", "exhausted"])
def test_flows_that_the_ledger_cannot_prove_are_judged_by_the_edges(tmp_path: Path, story: Any) -> None:
    assert found(tmp_path, text(story().lines)) == (0, [])


def test_a_duplicate_long_after_its_flow_was_complete_is_no_alarm(tmp_path: Path) -> None:
    story = qualified_lead(Story())
    duplicate(story, "moved", "much later")
    result, findings = audited(written(tmp_path, text(story.lines)))
    assert (result.exit_code, findings) == (0, [])
    assert "1 complete with duplicates" in result.stderr


# --- packing ----------------------------------------------------------------------------------------------------


def broken_text() -> bytes:
    lines = told()
    del lines[8]
    return text(lines)


def test_gzip_zstd_and_standard_input_are_read_like_plain_files(tmp_path: Path) -> None:
    content = broken_text()
    plain = audited(written(tmp_path, content))[1]
    packed = [
        audited(written(tmp_path, gzip.compress(content), "log.gz"))[1],
        audited(written(tmp_path, zstandard.compress(content), "log.zst"))[1],
        audited("-", stdin=content)[1],
    ]
    assert plain
    for findings in packed:
        assert [msgspec.structs.replace(finding, file="") for finding in findings] == [
            msgspec.structs.replace(finding, file="", says=finding.says.replace(plain[0].file, findings[0].file))
            for finding in plain
        ]


def test_a_file_that_is_not_what_its_name_says_is_named(tmp_path: Path) -> None:
    result, _ = audited(written(tmp_path, b"plain", "log.gz"))
    assert result.exit_code != 0
    assert f"{tmp_path / 'log.gz'}: " in result.stderr


def test_a_file_that_is_not_there_is_named_and_exits_3(tmp_path: Path) -> None:
    done = subprocess.run([*GAUNTLET, "audit", str(tmp_path / "nowhere")], capture_output=True, text=True, check=False)
    assert (done.returncode, "nowhere" in done.stderr) == (3, True)


# --- lines that are none ----------------------------------------------------------------------------------------

_LINE = 12


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda line: line[:-30], "truncated"),
        (lambda line: line[:40] + b"\0\0\0" + line[43:], "3 NUL bytes"),
        (lambda line: b"\0" * 300, "300 NUL bytes"),
        (lambda line: line.replace(b'"level"', b'"x":"\xff\xfe","level"'), "x"),
        (lambda line: b"Traceback (most recent call last):", "malformed"),
        (lambda line: line.replace(b'"level":"info",', b""), "level"),
        (lambda line: line.replace(b'"event":"', b'"event":"un'), "un"),
        (lambda line: line.replace(b"T00:", b" 00:"), "ts"),
        (lambda line: b'{"a":' * 100_000, ""),
        (lambda line: b'"' + b"x" * (LONGEST + 500_000) + b'"', "expected at most"),
        (lambda line: b'"' + b"x" * (LONGEST // 2) + b'"', ""),
    ],
    ids=["cut", "NUL", "only NUL", "UTF-8", "traceback", "field", "kind", "ts", "nested", "too long", "half a MB"],
)
def test_a_spoilt_line_is_one_finding_with_file_and_line_and_its_flow_is_not_accused(
    tmp_path: Path, spoil: Any, says: str
) -> None:
    lines = told()
    code, findings = found(tmp_path, replaced(lines, _LINE, spoil(raw(lines[_LINE])) + b"\n"))
    faults = [finding for finding in findings if finding.kind in ("broken_line", "long_line")]
    assert (code, len(faults)) == (1, 1)
    assert (faults[0].line, faults[0].file) == (_LINE + 1, str(tmp_path / "log.ndjson"))
    assert says in faults[0].says
    assert {finding.severity for finding in findings if finding not in faults} <= {"doubt"}


@pytest.mark.parametrize("change", [{"entity_id": None}, {"entity_type": None}])
def test_half_an_entity_is_found_in_a_line_of_a_flow_and_in_one_of_none(tmp_path: Path, change: dict[str, Any]) -> None:
    whole = {"entity_type": "lead", "entity_id": uid("lead")} | change
    for kind, place in (("library.message", {}), ("call.sent", {"correlation_id": uid("moved")})):
        line = line_fields("automation", kind, **(whole | place))
        code, findings = found(tmp_path, msgspec.json.encode(line) + b"\n")
        assert code == 1
        assert any("entity_type and entity_id" in finding.says for finding in findings), findings


def test_an_answer_that_says_two_things_is_found(tmp_path: Path) -> None:
    content = text(told()).replace(b'"http_status":200', b'"http_status":500', 1)
    code, findings = found(tmp_path, content)
    assert code == 1
    assert any("http_status" in finding.says for finding in findings)


def test_a_torn_last_line_is_a_doubt_and_exits_2(tmp_path: Path) -> None:
    code, findings = found(tmp_path, text(told())[:-40])
    assert (code, [finding.kind for finding in findings]) == (2, ["torn_line"])
    assert findings[0].line == len(told())


def test_a_file_that_is_no_such_log_is_not_told_line_by_line(tmp_path: Path) -> None:
    code, findings = found(tmp_path, b'{"another": "log"}\n' * 12_000)
    assert (code, len(findings)) == (1, 10_001)
    assert {finding.kind for finding in findings} == {"broken_line"}
    assert [finding.says for finding in findings if not finding.line] == [
        "and 2,000 more of this kind, which are not told one by one"
    ]


# --- lines that are missing, repeated, moved --------------------------------------------------------------------


def one_process() -> list[Line]:
    story = Story()
    for _ in range(9):
        story.write("crm", "library.message")
    story.write("crm", "service.stopped")
    return story.lines


def test_a_lost_line_makes_the_log_unknown_and_its_seq_is_named(tmp_path: Path) -> None:
    lines = one_process()
    code, findings = found(tmp_path, text(lines[:4] + lines[6:]))
    assert (code, [finding.kind for finding in findings]) == (2, ["lost_lines"])
    assert "seq 4–5 of instance crm-1" in findings[0].says


def test_a_repeated_line_is_named(tmp_path: Path) -> None:
    lines = one_process()
    code, findings = found(tmp_path, text([*lines[:5], lines[4], *lines[5:]]))
    assert (code, [(finding.kind, finding.line, finding.seq) for finding in findings]) == (
        1,
        [("repeated_lines", 6, 4)],
    )


def test_lines_that_changed_places_are_named(tmp_path: Path) -> None:
    lines = one_process()
    code, findings = found(tmp_path, text([*lines[:4], lines[5], lines[4], *lines[6:]]))
    assert (code, [(finding.kind, finding.line, finding.seq) for finding in findings]) == (1, [("moved_lines", 6, 4)])


def test_a_ts_that_goes_back_is_named(tmp_path: Path) -> None:
    content = text(one_process()).replace(moment(5).encode(), moment(1).encode())
    code, findings = found(tmp_path, content)
    assert (code, [(finding.kind, finding.line) for finding in findings]) == (1, [("time_goes_back", 5)])


def test_a_repeated_line_of_a_flow_is_not_taken_for_something_that_happened_twice(tmp_path: Path) -> None:
    lines = told()
    code, findings = found(tmp_path, text([*lines[:9], lines[8], *lines[9:]]))
    assert (code, [finding.kind for finding in findings]) == (1, ["repeated_lines"])


def test_a_flow_that_misses_a_line_is_named_by_edge_with_its_trace(tmp_path: Path) -> None:
    code, findings = found(tmp_path, text(renumbered(line for line in told() if not is_published(line, "moved"))))
    assert code == 1
    flow = next(finding for finding in findings if finding.edge == "stored → published")
    assert (flow.kind, flow.correlation_id, flow.service) == ("broken_flow", uid("moved"), "pipeline")
    assert any("✗ MISSING" in step for step in flow.trace)
    assert len(flow.trace) <= 15


def test_a_flow_that_overlaps_a_hole_is_unknown_and_says_because_of_which_line(tmp_path: Path) -> None:
    lines = told()
    index = next(i for i, line in enumerate(lines) if line.event_id == uid("deal") and "Settled" in type(line).__name__)
    code, findings = found(tmp_path, text(lines[:index] + lines[index + 1 :]))
    assert (code, {finding.severity for finding in findings}) == (2, {"doubt"})
    unknown = next(finding for finding in findings if finding.kind == "unknown_flow")
    assert f"seq {lines[index].seq} of instance automation-1" in unknown.says


def test_an_open_flow_that_is_young_is_in_flight_unless_every_process_has_stopped(tmp_path: Path) -> None:
    story = qualified_lead(Story())
    begun = story.lines[:6]
    assert found(tmp_path, text(begun)) == (0, [])
    assert audited("--grace", "0", written(tmp_path, text(begun)))[0].exit_code == 1
    stopped = [line for line in told() if isinstance(line, ServiceStopped)]
    assert found(tmp_path, text(renumbered([*begun, *stopped])))[0] == 1


# --- a corpus with known faults ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return write_audit_corpus(tmp_path_factory.mktemp("corpus"), lines=16_000, faults=30, missing=20)


def report_of(corpus: Corpus, *, name: EngineName = "processes", processes: int = 1) -> AuditReport:
    with engine(name, processes) as workers:
        files = gather([str(file) for file in corpus.files], Path("unused"), lambda size: None)
        return Audit(files).run(workers)


def as_bytes(report: AuditReport) -> list[bytes]:
    return [msgspec.json.encode(finding) for finding in report.findings]


def test_the_corpus_has_every_kind_of_line(corpus: Corpus) -> None:
    text = b"".join(file.read_bytes() for file in corpus.files)
    assert {kind for kind in map(kind_of_struct, KINDS) if f'"event":"{kind}"'.encode() not in text} == set()
    assert corpus.bytes / corpus.lines >= 300


def test_all_that_was_planted_is_found_and_nothing_else(corpus: Corpus) -> None:
    findings = report_of(corpus).findings
    assert {(f.file, f.line) for f in findings if not f.edge} == set(corpus.planted.lines)
    assert {f.correlation_id for f in findings if f.edge} == corpus.planted.flows
    assert (len(corpus.planted.lines), len(corpus.planted.flows)) == (30, 20)


def test_however_the_log_is_cut_and_on_however_many_processes_the_findings_are_the_same(
    corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = report_of(corpus)
    monkeypatch.setattr(sources, "SPAN", 400_000)
    cut = report_of(corpus)
    side_by_side = report_of(corpus, processes=2)
    assert as_bytes(cut) == as_bytes(whole)
    assert as_bytes(side_by_side) == as_bytes(whole)
    assert (cut.lines, cut.states) == (whole.lines, whole.states) == (side_by_side.lines, side_by_side.states)


def test_ray_finds_the_same_byte_for_byte(corpus: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
    here = report_of(corpus)
    monkeypatch.setattr(sources, "SPAN", 2_000_000)
    there = report_of(corpus, name="ray", processes=2)
    assert sorted(as_bytes(there)) == sorted(as_bytes(here))
    assert there.states == here.states


# --- interrupted ------------------------------------------------------------------------------------------------

GAUNTLET = [sys.executable, "-m", "cli"]


def test_an_interrupted_audit_says_how_far_it_came_and_exits_2() -> None:
    with subprocess.Popen(
        [*GAUNTLET, "audit", "-"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as running:
        assert running.stdin is not None
        assert running.stderr is not None
        running.stdin.write(text(told()))
        running.stdin.flush()
        assert b"reading standard input" in running.stderr.readline()
        os.kill(running.pid, signal.SIGINT)
        _, errors = running.communicate(timeout=30)
    assert running.returncode == 2
    assert b"INTERRUPTED after" in errors
