"""A run for other people's viewers: OTLP as the official protobuf reads it, and a trace that Perfetto can draw."""

from __future__ import annotations

import base64
import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import msgspec
import pytest
from google.protobuf import json_format
from opentelemetry.proto.trace.v1.trace_pb2 import Span, TracesData

from harness.evidence.records import Operation
from harness.evidence.run_directory import RunDirectory
from harness.trace import spans
from reports.export.otlp import hex_id, otlp_traces
from reports.export.perfetto import perfetto_trace
from reports.export.source import exported
from tests.builders import (
    Story,
    created_lead,
    duplicated_lead,
    happy_rows,
    lead_asked,
    moment,
    move_asked,
    qualified_lead,
    uid,
)
from tests.conftest import Gauntlet
from tests.runs import CUT, the_run, write_logs, write_scenario, write_verdict

SECOND_NS = 1_000_000_000
CLOCK = (moment(0), 0)
"""Operations count from the first moment of the log."""


def at(operation: Operation, began_s: float, ended_s: float) -> Operation:
    return msgspec.structs.replace(
        operation, invoked_ns=round(began_s * SECOND_NS), returned_ns=round(ended_s * SECOND_NS)
    )


def a_run(folder: Path, story: Story | None = None, **parts: Any) -> RunDirectory:
    run = the_run(folder)
    write_logs(run, (story or qualified_lead(created_lead(Story()))).lines)
    asked = [at(lead_asked(), 0.5, 5.0), at(move_asked(), 7.5, 12.0)]
    write_verdict(write_scenario(run, **({"clock": CLOCK, "operations": asked, "faults": [CUT]} | parts)))
    return run


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    return a_run(tmp_path)


def read_by_protobuf(document: Any) -> list[Span]:
    """OTLP/JSON has hex where protobuf's own JSON has base64; all else is read as the official messages demand it."""
    traces = json_format.ParseDict(_with_base64(document), TracesData())
    return [span for one in traces.resource_spans for scope in one.scope_spans for span in scope.spans]


def _with_base64(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _of_key(key, member) for key, member in value.items()}
    return [_with_base64(member) for member in value] if isinstance(value, list) else value


def _of_key(key: str, value: Any) -> Any:
    if key in ("traceId", "spanId", "parentSpanId"):
        return base64.b64encode(bytes.fromhex(value)).decode()
    return _with_base64(value)


def spans_of(run: RunDirectory, flow: str | None = None) -> list[Span]:
    found = exported(run, flow)
    return read_by_protobuf(otlp_traces(found.spans, found.findings, namespace=found.target))


def named(spans: list[Span], name: str) -> Span:
    (span,) = [span for span in spans if span.name == name]
    return span


# --- OTLP -------------------------------------------------------------------------------------------------------


def test_each_correlation_id_is_one_trace_with_one_root_and_no_parent_is_missing(run: RunDirectory) -> None:
    traces: dict[bytes, list[Span]] = defaultdict(list)
    for span in spans_of(run):
        traces[span.trace_id].append(span)
    assert {trace.hex() for trace in traces} == {uid(flow).replace("-", "") for flow in ("created", "moved")}
    for members in traces.values():
        assert len([span for span in members if not span.parent_span_id]) == 1
        known = {span.span_id for span in members}
        assert len(known) == len(members)
        assert all(span.parent_span_id in known for span in members if span.parent_span_id)


def test_the_tree_goes_from_the_client_over_the_broker_to_the_last_effect(run: RunDirectory) -> None:
    spans = spans_of(run, uid("moved"))
    by_id = {span.span_id: span for span in spans}
    way, span = [], named(spans, "publish deal.created")
    while span.parent_span_id:
        way.append((span.name, span.kind))
        span = by_id[span.parent_span_id]
    kinds = Span.SpanKind
    assert [*way, (span.name, span.kind)] == [
        ("publish deal.created", kinds.SPAN_KIND_PRODUCER),
        ("POST /things", kinds.SPAN_KIND_SERVER),
        ("POST /deals", kinds.SPAN_KIND_CLIENT),
        ("action create_deal", kinds.SPAN_KIND_INTERNAL),
        ("process automation.events", kinds.SPAN_KIND_CONSUMER),
        ("publish lead.stage.changed", kinds.SPAN_KIND_PRODUCER),
        ("POST /things", kinds.SPAN_KIND_SERVER),
        ("move_stage", kinds.SPAN_KIND_CLIENT),
    ]


def test_times_are_those_of_the_lines_and_a_publish_began_before_its_confirm(run: RunDirectory) -> None:
    spans = spans_of(run, uid("moved"))
    begin_ns = 1_767_225_600 * SECOND_NS  # 2026-01-01
    publish, asked = named(spans, "publish lead.stage.changed"), named(spans, "move_stage")
    assert publish.end_time_unix_nano == begin_ns + 12 * SECOND_NS
    assert publish.end_time_unix_nano - publish.start_time_unix_nano == 2_000_000
    assert asked.start_time_unix_nano == begin_ns + 7_500_000_000
    assert all(span.start_time_unix_nano <= span.end_time_unix_nano for span in spans)


def test_every_line_is_an_event_of_its_span_with_what_it_says(run: RunDirectory) -> None:
    spans = spans_of(run)
    lines = qualified_lead(created_lead(Story())).lines
    assert sum(len(span.events) for span in spans) == len(lines)
    (event,) = named(spans, "publish deal.created").events
    told = {one.key: one.value for one in event.attributes}
    assert event.name == "event.published"
    assert told["status"].string_value == "confirmed"
    assert told["attempt"].int_value == 1
    assert told["confirm_ms"].double_value == 2.0


def test_a_finding_turns_the_root_of_its_flow_red_and_is_an_event_of_it(tmp_path: Path) -> None:
    spans = spans_of(a_run(tmp_path, rows=happy_rows(deals=())), uid("moved"))
    root = named(spans, "move_stage")
    assert root.status.code == root.status.STATUS_CODE_ERROR
    assert root.status.message.startswith("no deal, although")
    assert "finding" in [event.name for event in root.events]
    assert named(spans, "action create_deal").status.code == root.status.STATUS_CODE_OK


def test_what_failed_is_an_error_and_what_nobody_answered_too(tmp_path: Path) -> None:
    story = qualified_lead(created_lead(Story()))
    story.write("automation", "call.sent", "lost call", parent="act d1")
    story.write("automation", "call.completed", "lost call", parent="act d1", status="timeout", http_status=None)
    asked = [at(lead_asked(), 0.5, 5.0), at(move_asked(None), 7.5, 12.0)]
    errors = [
        span.status.message
        for span in spans_of(a_run(tmp_path, story, operations=asked))
        if span.status.code == span.status.STATUS_CODE_ERROR
    ]
    assert "outcome unknown: no answer" in " ".join(errors)
    assert "call.completed timeout" in errors


def test_a_cause_that_is_no_ancestor_is_a_link(tmp_path: Path) -> None:
    story = duplicated_lead()
    story.write("automation", "rule.evaluated", "later", event="moved", cause="deal", status="not_matched")
    spans = spans_of(a_run(tmp_path, story), uid("moved"))
    (linked,) = [span for span in spans if span.links]
    assert [link.span_id for link in linked.links] == [named(spans, "publish deal.created").span_id]


def test_a_circle_of_parents_comes_to_an_end(tmp_path: Path) -> None:
    story = created_lead(Story())
    for one, other in (("a", "b"), ("b", "a")):
        story.write("automation", "rule.evaluated", one, parent=other, event="moved", cause="moved")
    assert len(spans_of(a_run(tmp_path, story))) > 2


def test_services_are_resources(run: RunDirectory) -> None:
    found = exported(run, None)
    document = otlp_traces(found.spans, found.findings, namespace=found.target)
    resources = [
        {one["key"]: one["value"]["stringValue"] for one in member["resource"]["attributes"]}
        for member in document["resourceSpans"]
    ]
    assert {one["service.name"] for one in resources} == {"client", "crm", "pipeline", "automation"}
    assert {"service.name": "crm", "service.instance.id": "crm-1", "service.namespace": "reference"} in resources


@pytest.mark.parametrize("text", ["", "0" * 32, "not-an-id", "Z" * 36])
def test_what_is_no_id_gets_one_that_is_valid_and_always_the_same(text: str) -> None:
    made = hex_id(text, 32)
    assert len(bytes.fromhex(made)) == 16
    assert made.strip("0")
    assert hex_id(text, 32) == made


# --- Perfetto ---------------------------------------------------------------------------------------------------


def events_of(run: RunDirectory) -> list[dict[str, Any]]:
    found = exported(run, None)
    events: list[dict[str, Any]] = perfetto_trace(found.spans, found.faults)["traceEvents"]
    return events


def test_every_event_has_what_its_phase_demands(run: RunDirectory) -> None:
    demanded = {"X": {"name", "cat", "ts", "dur"}, "M": {"name", "args"}, "s": {"id", "ts"}, "f": {"id", "ts", "bp"}}
    for event in events_of(run):
        assert demanded[event["ph"]] | {"pid", "tid"} <= set(event)
        assert event.get("ts", 0) >= 0
        assert event.get("dur", 1) > 0


def a_span(
    span_id: str, began_us: int, ended_us: int, *, service: str = "crm", parent: str | None = None
) -> spans.Span:
    return spans.Span(
        span_id=span_id, parent_id=parent, correlation_id=uid("moved"), service=service, instance=f"{service}-1",
        name=span_id, role="internal", began_ns=began_us * 1000, ended_ns=ended_us * 1000,
    )  # fmt: skip


def test_what_overlaps_has_a_lane_of_its_own_and_what_lies_within_has_not() -> None:
    members = [a_span("long", 0, 100), a_span("within", 10, 50), a_span("across", 40, 120), a_span("after", 100, 130)]
    events = perfetto_trace(members, [])["traceEvents"]
    assert {event["name"]: event["tid"] for event in events if event["ph"] == "X"} == {
        "long": 1,
        "within": 1,
        "across": 2,
        "after": 1,
    }


def test_no_arrow_leads_back_in_time_as_clocks_that_differ_would_have_it() -> None:
    effect = a_span("effect", 10, 20, service="pipeline", parent="cause")
    for cause_us, arrows in ((0, 2), (11, 0)):
        events = perfetto_trace([a_span("cause", cause_us, 30), effect], [])["traceEvents"]
        assert sum(event["ph"] in "sf" for event in events) == arrows


def test_slices_of_a_lane_lie_beside_or_within_each_other(run: RunDirectory) -> None:
    lanes: dict[tuple[int, int], list[tuple[float, float]]] = defaultdict(list)
    for event in events_of(run):
        if event["ph"] == "X":
            lanes[event["pid"], event["tid"]].append((event["ts"], event["ts"] + event["dur"]))
    for slices in lanes.values():
        for one in slices:
            for other in slices:
                assert not one[0] < other[0] < one[1] < other[1], (one, other)


def test_arrows_lead_from_slice_to_slice_of_another_process(run: RunDirectory) -> None:
    events = events_of(run)
    slices = [event for event in events if event["ph"] == "X"]

    def slices_at(end: dict[str, Any]) -> list[str]:
        lane = [one for one in slices if (one["pid"], one["tid"]) == (end["pid"], end["tid"])]
        return [one["name"] for one in lane if one["ts"] <= end["ts"] < one["ts"] + one["dur"]]

    starts = {event["id"]: event for event in events if event["ph"] == "s"}
    ends = {event["id"]: event for event in events if event["ph"] == "f"}
    assert all(
        starts[number]["pid"] != end["pid"] and starts[number]["ts"] <= end["ts"] for number, end in ends.items()
    )
    assert sorted((slices_at(starts[number])[-1], slices_at(end)[-1]) for number, end in ends.items()) == [
        ("POST /deals", "POST /things"),
        ("create_lead", "POST /things"),
        ("move_stage", "POST /things"),
        ("publish deal.created", "process automation.events"),
        ("publish lead.created", "process automation.events"),
        ("publish lead.stage.changed", "process automation.events"),
    ]
    assert starts.keys() == ends.keys()


def test_faults_stand_above_with_their_time_and_their_proof(run: RunDirectory) -> None:
    events = events_of(run)
    (fault,) = [event for event in events if event.get("cat") == "fault"]
    assert fault["name"] == "cut on automation→crm"
    assert fault["dur"] == 3_000_000
    assert fault["args"] == {"hits": 3, "proof": "3 were refused"}
    first = next(event for event in events if event["name"] == "process_name")
    assert (first["pid"], first["args"]["name"]) == (fault["pid"], "what was broken")


# --- the command ------------------------------------------------------------------------------------------------


def test_both_files_are_written_of_the_whole_run_or_of_one_flow(
    run: RunDirectory, tmp_path: Path, gauntlet: Gauntlet
) -> None:
    otlp, perfetto = tmp_path / "o.json", tmp_path / "p.json"
    assert gauntlet("export", run.root, "--otlp", otlp, "--perfetto", perfetto) == (0, "")
    whole = len(read_by_protobuf(json.loads(otlp.read_bytes())))
    assert json.loads(perfetto.read_bytes())["traceEvents"]
    assert gauntlet("export", run.root, "--otlp", otlp, "--flow", uid("moved")[:8]) == (0, "")
    one = read_by_protobuf(json.loads(otlp.read_bytes()))
    assert 0 < len(one) < whole
    assert {span.trace_id.hex() for span in one} == {uid("moved").replace("-", "")}


def test_wrong_usage_says_what_to_do(run: RunDirectory, tmp_path: Path, gauntlet: Gauntlet) -> None:
    code, told = gauntlet("export", run.root)
    assert (code, "--otlp FILE" in told) == (3, True)
    code, told = gauntlet("export", run.root, "--otlp", tmp_path / "o", "--flow", "zz")
    assert (code, "begins with 'zz'" in told) == (3, True)
    code, told = gauntlet("export", the_run(tmp_path / "empty").root, "--otlp", tmp_path / "o")
    assert (code, "expected scenarios" in told) == (3, True)
