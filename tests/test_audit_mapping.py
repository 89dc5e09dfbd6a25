"""Logs of another system: with a mapping they are audited like ours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner

from cli import gauntlet
from harness.audit.audit import AuditFinding
from harness.audit.mapping import MappingError, load_mapping
from harness.contract.log_lines import ContractViolation, HttpRequestReceived, Line, as_fields, kind_of
from tests.builders import Story, created_lead, qualified_lead, uid

MAPPING = """
[fields]
ts = "time"
event = "msg.kind"
level = "severity"
correlation_id = "trace"
event_id = "msg.id"
causation_id = "msg.cause"
entity_type = "of"
entity_id = "of_id"
span_id = "span"
parent_span_id = "parent"
service = "app"
rule_id = "rule"
status = "outcome"
table = "table"
entity_version = "entity_version"
from_stage = "from_stage"
to_stage = "to_stage"
method = "method"
route = "route"
http_status = "http_status"
duration_ms = "duration_ms"
event_type = "event_type"
routing_key = "routing_key"
attempt = "attempt"
confirm_ms = "confirm_ms"
queue = "queue"
delivery_id = "delivery_id"
redelivered = "redelivered"
action = "action"
execution_id = "execution_id"
peer = "peer"
[values.event]
"request.start" = "http.request.received"
[values.level]
INFO = "info"
[values.service]
web = "crm"
[ignore]
"msg.kind" = ["debug", "gc"]
"""
_NAMES = {
    "ts": "time", "correlation_id": "trace", "entity_type": "of", "entity_id": "of_id", "span_id": "span",
    "parent_span_id": "parent", "service": "app", "rule_id": "rule", "status": "outcome",
}  # fmt: skip


def theirs(line: Line, **changes: Any) -> bytes:
    """The same, as another system would have written it."""
    ours = as_fields(line)
    kind = "request.start" if isinstance(line, HttpRequestReceived) else kind_of(line)
    log: dict[str, Any] = {
        "msg": {"kind": kind, "id": ours.pop("event_id"), "cause": ours.pop("causation_id")},
        "severity": ours.pop("level").upper(), "host": "web-1",
    }  # fmt: skip
    for name in ("event", "schema", "seq", "instance"):
        ours.pop(name)
    log |= {_NAMES.get(name, name): value for name, value in ours.items()}
    log["app"] = "web" if log["app"] == "crm" else log["app"]
    log["time"] = str(log["time"]).replace("Z", "+00:00")
    return msgspec.json.encode(log | changes) + b"\n"


def audited(folder: Path, content: bytes, mapping: str = MAPPING) -> tuple[int, list[AuditFinding], str]:
    (folder / "their.log").write_bytes(content)
    (folder / "mapping.toml").write_text(mapping, encoding="utf-8")
    arguments = ["audit", "--mapping", str(folder / "mapping.toml"), str(folder / "their.log")]
    result = CliRunner().invoke(gauntlet, arguments)
    findings = [msgspec.json.decode(line, type=AuditFinding) for line in result.stdout_bytes.splitlines()]
    return result.exit_code, findings, result.stderr


GOOD = qualified_lead(created_lead(Story())).lines


def test_a_good_log_of_another_system_passes(tmp_path: Path) -> None:
    code, findings, says = audited(tmp_path, b"".join(map(theirs, GOOD)))
    assert (code, findings) == (0, [])
    assert "2 flows: 2 complete" in says


def test_a_step_that_is_missing_there_is_named(tmp_path: Path) -> None:
    left = [line for line in GOOD if not (kind_of(line) == "event.published" and line.event_id == uid("deal"))]
    code, findings, _ = audited(tmp_path, b"".join(map(theirs, left)) + theirs(GOOD[0], time="2027-01-01T00:00:00Z"))
    assert code == 1
    assert ("stored → published", uid("moved")) in {(finding.edge, finding.correlation_id) for finding in findings}


def test_lines_to_be_passed_over_are(tmp_path: Path) -> None:
    chatter = b'{"msg": {"kind": "gc"}, "pause": 3}\n' * 5
    assert audited(tmp_path, chatter + b"".join(map(theirs, GOOD)))[:2] == (0, [])


def test_a_kind_that_nobody_mapped_is_a_finding_at_its_line(tmp_path: Path) -> None:
    code, findings, _ = audited(tmp_path, theirs(GOOD[0]) + b'{"time": 1767225600, "msg": {"kind": "login"}}\n')
    broken = [finding for finding in findings if finding.kind == "broken_line"]
    assert (code, [(finding.line, "login" in finding.says) for finding in broken]) == (1, [(2, True)])


@pytest.mark.parametrize(
    ("theirs_", "ours"),
    [
        ("2026-01-01T02:00:00+02:00", "2026-01-01T00:00:00.000000Z"),
        ("2026-01-01T00:00:00.5Z", "2026-01-01T00:00:00.500000Z"),
        (1767225600, "2026-01-01T00:00:00.000000Z"),
        (1767225600500, "2026-01-01T00:00:00.500000Z"),
        (1767225600.25, "2026-01-01T00:00:00.250000Z"),
    ],
)
def test_moments_are_read_however_they_are_written(tmp_path: Path, theirs_: object, ours: str) -> None:
    (tmp_path / "m.toml").write_text(MAPPING, encoding="utf-8")
    line = load_mapping(tmp_path / "m.toml").decode_line(theirs(GOOD[0], time=theirs_))
    assert line is not None
    assert line.ts == ours


def test_what_is_no_moment_is_named(tmp_path: Path) -> None:
    (tmp_path / "m.toml").write_text(MAPPING, encoding="utf-8")
    with pytest.raises(ContractViolation, match="yesterday"):
        load_mapping(tmp_path / "m.toml").decode_line(theirs(GOOD[0], time="yesterday"))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[fields", "mapping.toml"),
        ("[fields]\nts = 3", "fields"),
        ("[fields]\nts = 't'\nevent = 'e'\ncorrelation_id = 'c'\ncolour = 'x'", "colour"),
        ("[fields]\nts = 't'", "correlation_id"),
        ("[feilds]\nts = 't'", "feilds"),
    ],
    ids=["no TOML", "type", "unknown field", "missing", "misspelt"],
)
def test_a_mapping_that_makes_no_sense_is_refused_with_its_place(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "mapping.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(MappingError, match=says):
        load_mapping(path)
