"""The exported contract says what the decoder says, and the committed files are today's."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from functools import cache
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from harness.contract.events import decode_event
from harness.contract.export import DIFFERENCES, Difference, event_schema, log_schema
from harness.contract.log_lines import KINDS, ContractViolation, Envelope, as_fields, decode_line, kind_of
from harness.contract.markdown import artifacts
from harness.target import PROJECT_ROOT
from tests.builders import (
    Story,
    body_of,
    created_lead,
    duplicated_lead,
    exhausted_lead,
    line_fields,
    qualified_lead,
    replayed_lead,
    retried_lead,
    span_id,
    steady,
    uid,
)

Fields = dict[str, Any]
ENVELOPE = (*Envelope.__struct_fields__, "event")
TAGS = [str(kind.__struct_config__.tag) for kind in KINDS]
SNAPSHOT = {"status": "ok", "counters": {"sent": 3}, "histograms": {"ms": {"count": 2, "sum": 4.5}}}


@cache
def validator(kind: str | None = None) -> Draft202012Validator:
    """Of any line; or of one kind, which is many times as fast."""
    schema = log_schema()
    if kind is None:
        return Draft202012Validator(schema)
    return Draft202012Validator({"$ref": f"#/$defs/{kind}", "$defs": schema["$defs"]})


def by_schema(fields: Fields) -> bool:
    kind = fields.get("event")
    return bool(validator(kind if kind in TAGS else None).is_valid(fields))


def by_decoder(raw: bytes) -> bool:
    try:
        decode_line(raw)
    except ContractViolation:
        return False
    return True


def outside_of_flows() -> Iterator[Fields]:
    """A line of each kind that stories do not tell of."""
    about: Fields = {"event_id": uid("moved"), "entity_type": "lead", "entity_id": uid("lead")}
    flow: Fields = {"correlation_id": uid("flow"), "span_id": span_id("a")}
    for kind in ("timer.scheduled", "timer.fired", "timer.cancelled"):
        yield line_fields("automation", kind, **flow, **about, causation_id=uid("moved"))
    yield line_fields("automation", "dead_letter.discarded", **flow, **about)
    for kind in ("service.started", "service.stopped", "library.message"):
        yield line_fields("crm", kind)
    envelope = {name: value for name, value in line_fields("crm", "service.started").items() if name in ENVELOPE}
    yield envelope | {"event": "dependency.changed", "status": "down", "dependency": "broker", "error": None}
    yield envelope | {"event": "metrics.snapshot"} | SNAPSHOT


@cache
def lines() -> tuple[Fields, ...]:
    """Every line of every story, and one of each other kind."""
    stories = (
        created_lead(Story()), qualified_lead(), retried_lead(), exhausted_lead(), replayed_lead(), duplicated_lead(),
    )  # fmt: skip
    return (*(as_fields(line) for story in stories for line in story.lines), *outside_of_flows())


@cache
def one_of_each_kind() -> tuple[Fields, ...]:
    return tuple({line["event"]: line for line in lines()}.values())


def test_the_stories_tell_of_every_kind() -> None:
    assert sorted(line["event"] for line in one_of_each_kind()) == sorted(TAGS)


@pytest.mark.parametrize("schema", [log_schema(), event_schema()], ids=["lines", "events"])
def test_both_schemas_are_json_schema(schema: Fields) -> None:
    Draft202012Validator.check_schema(schema)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["$id"].startswith("urn:")


def test_the_version_is_the_one_that_every_line_names() -> None:
    schema = log_schema()
    named = {
        kind["properties"]["schema"]["const"] for kind in schema["$defs"].values() if "event" in kind["properties"]
    }
    assert named == {schema["title"]}


def test_every_line_of_every_story_fits_the_schema() -> None:
    for line in lines():
        assert by_decoder(msgspec.json.encode(line))
        assert by_schema(line), line


@pytest.mark.parametrize("line", one_of_each_kind(), ids=lambda line: str(line["event"]))
def test_a_line_fits_one_kind_only(line: Fields) -> None:
    assert validator().is_valid(line)
    assert not validator().is_valid(line | {"event": "event.vanished"})


# --- the schema and the decoder agree on lines that are nearly right --------------------------------------------

VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-2, 700),
    st.floats(-2, 2).filter(lambda number: not number.is_integer()),
    st.sampled_from(
        ["", "x", "ok", "error", "unknown", "timeout", "client_error", "server_error", "connection_error", "crm",
         "automation", "lead", "user", "info", "crm.log/2.0", "2026-01-01 00:00:00.000000Z",
         "2026-01-01T00:00:00.000000+", "0" * 16, "0" * 17, "0" * 36, "é" * 36, "😀" * 16]
    ),
    st.just([]),
    st.dictionaries(st.text(max_size=2), st.one_of(st.integers(-2, 2), st.just({"count": 1, "sum": 2})), max_size=2),
)  # fmt: skip


@st.composite
def mutants(draw: st.DrawFn) -> Fields:
    """A good line with one or two things changed: a field less, a field more, another value, another kind."""
    line = copy.deepcopy(draw(st.sampled_from(one_of_each_kind())))
    for _ in range(draw(st.integers(1, 2))):
        name = draw(st.sampled_from(sorted(line)))
        match draw(st.sampled_from(["drop", "add", "set", "set", "set", "tag", "borrow"])):
            case "drop":
                del line[name]
            case "add":
                line[draw(st.sampled_from(["color", "route", "http_status", "Ts"]))] = draw(VALUES)
            case "tag":
                line["event"] = draw(st.sampled_from([*TAGS, "event.vanished"]))
            case "borrow":
                other = draw(st.sampled_from(one_of_each_kind()))
                line[name] = other.get(name)
            case _:
                line[name] = draw(VALUES)
    return line


@settings(steady, max_examples=4_000)
@given(mutants())
def test_schema_and_decoder_agree_on_what_is_nearly_a_line(line: Fields) -> None:
    assert by_schema(line) == by_decoder(msgspec.json.encode(line)), line


def test_schema_and_decoder_agree_on_every_field_that_is_missing_or_null() -> None:
    for line in one_of_each_kind():
        for name in line:
            without = {other: value for other, value in line.items() if other != name}
            for changed in (without, line | {name: None}):
                assert by_schema(changed) == by_decoder(msgspec.json.encode(changed)), changed


@pytest.mark.parametrize("http_status", [None, -1, 0, 200, 399, 400, 499, 500, 700])
@pytest.mark.parametrize("status", ["ok", "client_error", "server_error", "timeout", "connection_error"])
@pytest.mark.parametrize("kind", ["http.request.completed", "call.completed"])
def test_schema_and_decoder_agree_on_which_status_goes_with_which(kind: str, status: str, http_status: Any) -> None:
    line = next(line for line in one_of_each_kind() if line["event"] == kind)
    changed = line | {"http_status": http_status, "status": status}
    assert by_schema(changed) == by_decoder(msgspec.json.encode(changed))


@pytest.mark.parametrize("difference", DIFFERENCES, ids=lambda difference: str(difference.field))
def test_where_they_differ_they_differ_as_the_page_says(difference: Difference) -> None:
    """A difference that is none any more has to leave the page."""
    line = next(line for line in one_of_each_kind() if line["event"] == "service.started")
    mark = "the value"
    raw = msgspec.json.encode(line | {difference.field: mark}).replace(f'"{mark}"'.encode(), difference.json.encode())
    accepted = {"schema": by_schema(json.loads(raw)), "decoder": by_decoder(raw)}
    assert [name for name, yes in accepted.items() if yes] == [difference.accepted_by]
    assert difference.says in artifacts()["crm.log-1.0.md"].decode()


# --- events on the wire -----------------------------------------------------------------------------------------


@settings(steady, max_examples=500)
@given(
    st.sampled_from(["event_id", "event_type", "schema_version", "hop_count", "payload", "causation_id", "x"]), VALUES
)
def test_schema_and_decoder_agree_on_what_is_nearly_an_event(name: str, value: Any) -> None:
    event = json.loads(body_of("moved")) | {name: value}
    try:
        decode_event(msgspec.json.encode(event))
        accepted = True
    except ContractViolation:
        accepted = False
    assert Draft202012Validator(event_schema()).is_valid(event) == accepted


# --- the files --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(artifacts()))
def test_the_committed_files_are_todays(name: str) -> None:
    file = PROJECT_ROOT / "docs" / "contract" / name
    assert file.read_bytes() == artifacts()[name], f"{name} is out of date: gauntlet contract export"


def test_the_page_has_a_section_for_each_kind_with_all_its_fields_and_statuses() -> None:
    page = artifacts()["crm.log-1.0.md"].decode()
    for line in one_of_each_kind():
        _, _, rest = page.partition(f"\n## `{line['event']}`\n")
        section = rest.partition("\n## ")[0]
        own = set(line) - set(ENVELOPE)
        assert all(f"| `{name}` | " in section for name in own | {"status"}), line["event"]
        assert f"`{line['status']}`" in section


def test_two_exports_are_the_same_bytes() -> None:
    assert artifacts() == artifacts()
    assert kind_of(decode_line(msgspec.json.encode(lines()[0]))) in artifacts()["crm.log-1.0.md"].decode()
