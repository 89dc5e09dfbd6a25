"""The contract refuses what it must, and says why; what it accepts survives a round trip."""

from __future__ import annotations

import re
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.contract.events import decode_event
from harness.contract.log_lines import KINDS, ContractViolation, as_fields, decode_line, kind_of
from tests.builders import (
    Story,
    body_of,
    created_lead,
    line_fields,
    qualified_lead,
    raw,
    refused,
    replayed_lead,
    span_id,
    steady,
    uid,
)

ENVELOPE = (
    "ts", "schema", "service", "instance", "seq", "level", "event", "correlation_id", "event_id", "causation_id",
    "rule_id", "entity_type", "entity_id", "status", "span_id", "parent_span_id",
)  # fmt: skip
IN_BAND: dict[str, Any] = {"correlation_id": uid("flow"), "span_id": span_id("a")}


def encoded(**fields: Any) -> bytes:
    return msgspec.json.encode(fields)


def request(**changes: Any) -> dict[str, Any]:
    return line_fields("crm", "http.request.received", **IN_BAND) | changes


def answer(http_status: int | None, status: str) -> dict[str, Any]:
    return line_fields("crm", "http.request.completed", **IN_BAND) | {"http_status": http_status, "status": status}


def call(http_status: int | None, status: str) -> dict[str, Any]:
    return line_fields("automation", "call.completed", **IN_BAND) | {"http_status": http_status, "status": status}


def test_every_line_of_every_story_survives_a_round_trip() -> None:
    for line in [*created_lead(Story()).lines, *qualified_lead().lines, *replayed_lead().lines]:
        assert as_fields(decode_line(raw(line))) == as_fields(line)
        assert as_fields(line)["event"] == kind_of(line)


def test_there_are_24_kinds_each_with_a_tag_of_its_own() -> None:
    assert len({str(kind.__struct_config__.tag) for kind in KINDS}) == len(KINDS) == 24


@pytest.mark.parametrize("name", ENVELOPE)
def test_a_line_without_a_field_of_the_envelope_is_refused_by_its_name(name: str) -> None:
    fields = request()
    del fields[name]
    assert f"`{name}`" in refused(encoded(**fields))


@pytest.mark.parametrize("name", ["event_id", "causation_id", "rule_id", "parent_span_id"])
def test_null_is_accepted_where_absence_is_refused(name: str) -> None:
    assert getattr(decode_line(encoded(**request(**{name: None}))), name) is None
    without = {key: value for key, value in request().items() if key != name}
    assert f"missing required field `{name}`" in refused(encoded(**without))


@pytest.mark.parametrize("name", ["correlation_id", "span_id", "status", "service", "seq", "ts", "instance"])
def test_null_is_refused_where_a_line_of_a_flow_needs_a_value(name: str) -> None:
    assert f"$.{name}" in refused(encoded(**request(**{name: None})))


def test_a_line_about_the_process_may_have_no_correlation() -> None:
    line = decode_line(encoded(**line_fields("crm", "service.started")))
    assert line.correlation_id is None


def test_an_unknown_field_is_refused_by_its_name() -> None:
    assert "unknown field `color`" in refused(encoded(**request(color="red")))


def test_an_unknown_kind_is_refused_by_its_name() -> None:
    assert "event.vanished" in refused(encoded(**request(event="event.vanished")))


def test_a_kind_without_its_own_field_is_refused() -> None:
    fields = request()
    del fields["route"]
    assert "route" in refused(encoded(**fields))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("status", "ok"),
        ("schema", "crm.log/2.0"),
        ("service", "billing"),
        ("level", "loud"),
        ("rule_id", "a-rule"),
        ("seq", -1),
        ("seq", "7"),
        ("correlation_id", "short"),
        ("span_id", "0" * 15),
        ("instance", ""),
        ("entity_type", "invoice"),
    ],
)
def test_a_value_outside_of_the_contract_is_refused_at_its_place(name: str, value: Any) -> None:
    assert f"$.{name}" in refused(encoded(**request(**{name: value})))


@pytest.mark.parametrize(
    "ts",
    [
        "2026-01-01T00:00:00.000000+",  # as long as it should be, but no Z
        "2026-01-01 00:00:00.000000Z",
        "2026-01-01T00:00:00,000000Z",
        "2026-01-01T00:00:00.000Z",
        "2026-01-01T00:00:00.0000000Z",
        "2026/01/01T00:00:00.000000Z",
        "2026-01-01T00.00.00.000000Z",
        "20260101T000000.0000000000Z",
    ],
)
def test_a_timestamp_in_another_form_is_refused(ts: str) -> None:
    assert "ts" in refused(encoded(**request(ts=ts)))


@pytest.mark.parametrize("half", [{"entity_type": "lead"}, {"entity_id": uid("lead")}])
def test_half_an_entity_is_refused(half: dict[str, Any]) -> None:
    assert "entity_type and entity_id" in refused(encoded(**request(**half)))


@pytest.mark.parametrize("make", [answer, call])
@pytest.mark.parametrize(
    ("http_status", "status"),
    [(200, "client_error"), (399, "server_error"), (400, "ok"), (499, "server_error"), (500, "client_error")],
)
def test_a_status_that_contradicts_its_http_status_is_refused(make: Any, http_status: int, status: str) -> None:
    assert f"http_status {http_status}" in refused(encoded(**make(http_status, status)))


@pytest.mark.parametrize("make", [answer, call])
@pytest.mark.parametrize(
    ("http_status", "status"),
    [(200, "ok"), (399, "ok"), (400, "client_error"), (499, "client_error"), (500, "server_error")],
)
def test_a_status_that_fits_its_http_status_is_accepted(make: Any, http_status: int, status: str) -> None:
    assert decode_line(encoded(**make(http_status, status))).status == status


@pytest.mark.parametrize("status", ["timeout", "connection_error"])
def test_a_call_without_answer_has_no_http_status(status: str) -> None:
    assert decode_line(encoded(**call(None, status))).status == status
    assert "http_status 200" in refused(encoded(**call(200, status)))


def test_a_call_with_a_status_of_an_answer_needs_its_http_status() -> None:
    assert "timeout or connection_error" in refused(encoded(**call(None, "ok")))


def test_an_alert_below_level_error_is_refused() -> None:
    fields = line_fields("automation", "event.dead_lettered", **IN_BAND, level="warning")
    assert "$.level" in refused(encoded(**fields))


def test_a_rule_line_needs_its_rule_and_its_event() -> None:
    whole = line_fields("automation", "rule.evaluated", **IN_BAND, event_type="lead.created")
    whole |= {"event_id": uid("e"), "causation_id": uid("e"), "entity_type": "lead", "entity_id": uid("lead")}
    decode_line(encoded(**whole))
    for name in ("rule_id", "event_id", "causation_id"):
        assert f"$.{name}" in refused(encoded(**(whole | {name: None})))


@pytest.mark.parametrize("kind", ["event.received", "event.settled", "rule.evaluated", "event.dead_lettered"])
def test_only_automation_writes_lines_of_consumption(kind: str) -> None:
    fields = line_fields("crm", kind, **IN_BAND)
    assert "$.service" in refused(encoded(**fields))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x00" * 64,
        b"hello",
        b"[]",
        b"null",
        b'{"event": 7}',
        b'{"event": "service.started"',
        b'{"event":"service.started","ts":"\xff\xfe"}',
        b'{"event":"metrics.snapshot","counters":' + b'{"a":' * 100_000,
    ],
    ids=["empty", "nul", "text", "list", "null", "tag", "half", "utf8", "deep counters"],
)
def test_what_is_no_line_at_all_is_refused_not_a_crash(content: bytes) -> None:
    assert refused(content)


def test_a_line_nested_too_deep_is_refused_not_a_crash() -> None:
    assert refused(b'{"x":' + b"[" * 100_000 + b"]" * 100_000 + b',"event":"service.started"}')


@steady
@given(st.binary(max_size=200))
def test_no_bytes_whatever_crash_the_decoder(content: bytes) -> None:
    assert refused(content)


# --- events on the wire -----------------------------------------------------------------------------------------


def test_an_event_survives_the_wire() -> None:
    event = decode_event(body_of("moved").encode())
    assert (event.event_id, event.entity_version, event.causation_id) == (uid("moved"), 1, None)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("schema_version", 99),
        ("event_type", "lead.eaten"),
        ("entity_version", -1),
        ("event_id", "1"),
        ("hop_count", -1),
    ],
)
def test_an_event_outside_of_the_contract_is_refused_at_its_place(name: str, value: Any) -> None:
    with pytest.raises(ContractViolation, match=re.escape(f"$.{name}")):
        decode_event(body_of("moved", **{name: value}).encode())


def test_an_event_with_an_unknown_field_is_refused() -> None:
    with pytest.raises(ContractViolation, match="color"):
        decode_event(body_of("moved", color="red").encode())


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"\xff",
        b'{"payload":' + b'{"a":' * 100_000 + b"1" + b"}" * 100_000 + b"}",
    ],
    ids=["empty", "list", "utf8", "deep"],
)
def test_a_broken_body_is_refused_not_a_crash(body: bytes) -> None:
    with pytest.raises(ContractViolation):
        decode_event(body)
