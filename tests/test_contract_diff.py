"""Two versions of the contract: what adds, what breaks, and which step of the version each of them needs."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.contract.diff import ContractDiff, diff
from harness.contract.export import Node, event_schema, log_schema
from harness.contract.exported import NoContract, read_contract, todays
from tests.builders import steady
from tests.conftest import Gauntlet

Edit = Callable[[Node], Any]
KIND = "event.published"
TODAY = json.dumps(log_schema())


def versioned(version: str, *edits: Edit) -> Node:
    """Today's contract with another version, and changed by hand."""
    schema: Node = json.loads(TODAY)
    schema["title"] = f"crm.log/{version}"
    for name in list(schema["$defs"]):
        if "schema" in schema["$defs"][name]["properties"]:
            schema["$defs"][name]["properties"]["schema"] = {"const": schema["title"]}
    for edit in edits:
        edit(schema)
    return schema


def field(name: str, kind: str = KIND) -> Callable[[Node], Node]:
    def find(schema: Node) -> Node:
        node: Node = schema["$defs"][kind]["properties"][name]
        return node

    return find


def add_kind(schema: Node) -> None:
    schema["$defs"]["event.lost"] = copy.deepcopy(schema["$defs"][KIND])
    schema["oneOf"].append({"$ref": "#/$defs/event.lost"})


def remove_kind(schema: Node) -> None:
    schema["oneOf"].remove({"$ref": f"#/$defs/{KIND}"})
    del schema["$defs"][KIND]


def add_field(*, required: bool, kinds: tuple[str, ...] = (KIND,)) -> Edit:
    def edit(schema: Node) -> None:
        for kind in kinds or tuple(node["$ref"].removeprefix("#/$defs/") for node in schema["oneOf"]):
            schema["$defs"][kind]["properties"]["region"] = {"type": "string"}
            schema["$defs"][kind]["required"] += ["region"] if required else []

    return edit


def remove_field(schema: Node) -> None:
    del schema["$defs"][KIND]["properties"]["routing_key"]
    schema["$defs"][KIND]["required"].remove("routing_key")


def require(schema: Node, *, required: bool) -> None:
    names = schema["$defs"][KIND]["required"]
    names.append("routing_key") if required else names.remove("routing_key")


def set_field(name: str, value: Node, kind: str = KIND) -> Edit:
    return lambda schema: schema["$defs"][kind]["properties"].update({name: value})


def compared(*edits: Edit, old: str = "1.0", new: str = "1.0", old_edits: tuple[Edit, ...] = ()) -> ContractDiff:
    before, after = versioned(old, *old_edits), versioned(new, *edits)
    return diff(*(read_contract(json.dumps(schema).encode()) for schema in (before, after)))


ADDITIVE: dict[str, tuple[Edit, str, str]] = {
    "a kind": (add_kind, "", "the kind is new"),
    "a status": (lambda s: field("status")(s)["enum"].append("lost"), "status", 'may now also be "lost"'),
    "a field that may be absent": (add_field(required=False), "region", "the field is new and may be absent"),
    "a value of a list that may be null": (
        lambda s: field("entity_type", "library.message")(s)["anyOf"][0]["enum"].append("task"),
        "entity_type", 'may now also be "task"',
    ),
    "a second value where there was one": (
        set_field("status", {"enum": ["pending", "kept"]}, "event.stored"), "status", 'may now also be "kept"',
    ),
}  # fmt: skip

BREAKING: dict[str, tuple[Edit, str, str]] = {
    "a kind less": (remove_kind, "", "the kind is gone"),
    "a field less": (remove_field, "routing_key", "the field is gone"),
    "a field that has to be there": (add_field(required=True), "region", "the field is new and has to be there"),
    "a field that may be absent now": (lambda s: require(s, required=False), "routing_key", "may be absent now"),
    "a status less": (
        lambda s: field("status")(s)["enum"].remove("nacked"), "status", 'may no longer be "nacked"',
    ),
    "another type": (set_field("routing_key", {"type": "integer"}), "routing_key", "was string, is integer"),
    "null where there was none": (
        set_field("routing_key", {"anyOf": [{"type": "string", "minLength": 1}, {"type": "null"}]}),
        "routing_key", "may now also be null",
    ),
    "no null any more": (
        set_field("confirm_ms", {"type": "number", "minimum": 0}), "confirm_ms", "may no longer be null",
    ),
    "a list that is open now": (
        set_field("status", {"type": "string"}), "status", "was one of a closed list, is string",
    ),
    "a higher bound": (
        set_field("attempt", {"type": "integer", "minimum": 2}), "attempt", "minimum was 1, is 2",
    ),
    "a bound less": (set_field("attempt", {"type": "integer"}), "attempt", "minimum was 1, is none"),
    "a longer text": (
        set_field("span_id", {"type": "string", "minLength": 16, "maxLength": 32}), "span_id",
        "maxLength was 16, is 32",
    ),
    "another form": (
        lambda s: field("ts")(s).update({"pattern": "^.*$"}), "ts", "pattern was",
    ),
    "fields that nobody knows": (
        lambda s: s["$defs"][KIND].pop("additionalProperties"), "*", "which other fields there may be has changed",
    ),
    "values of an object": (
        set_field("counters", {"type": "object", "additionalProperties": {"type": "number"}}, "metrics.snapshot"),
        "counters.*", "was integer, is number",
    ),
    "a field of an object inside": (
        lambda s: s["$defs"]["Histogram"]["properties"]["sum"].update({"type": "string"}),
        "histograms.*.sum", "was number, is string",
    ),
    "which fields go together": (
        lambda s: s["$defs"]["call.completed"].pop("allOf"), "", "the rules of which fields go together have changed",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("edit", "place", "says"), ADDITIVE.values(), ids=ADDITIVE)
def test_what_only_adds_needs_a_minor_version(edit: Edit, place: str, says: str) -> None:
    (change,) = compared(edit).changes
    assert (change.effect, change.field, change.says) == ("additive", place, says)
    assert [compared(edit, new=new).compatible for new in ("1.0", "1.1", "2.0")] == [False, True, True]


@pytest.mark.parametrize(("edit", "place", "says"), BREAKING.values(), ids=BREAKING)
def test_what_breaks_needs_a_major_version(edit: Edit, place: str, says: str) -> None:
    (change,) = compared(edit).changes
    assert (change.effect, change.field) == ("breaking", place)
    assert change.says.startswith(says)
    assert [compared(edit, new=new).compatible for new in ("1.0", "1.1", "2.0")] == [False, False, True]


def test_a_field_that_has_to_be_there_although_it_was_optional_breaks() -> None:
    (change,) = compared(old_edits=(lambda s: require(s, required=False),)).changes
    assert (change.effect, change.says) == ("breaking", "has to be there now")


def test_the_same_contract_is_compatible_with_any_step_but_one_back() -> None:
    steps = {new: compared(old="1.4", new=new).compatible for new in ("1.4", "1.5", "2.0", "1.3", "0.9")}
    assert steps == {"1.4": True, "1.5": True, "2.0": True, "1.3": False, "0.9": False}


def test_versions_are_numbers_not_text() -> None:
    assert compared(old="1.9", new="1.10").step == "minor"
    assert compared(old="9.0", new="10.0").step == "major"


def test_words_that_describe_and_the_order_of_fields_are_no_change() -> None:
    def edit(schema: Node) -> None:
        kind = schema["$defs"][KIND]
        kind |= {"description": "other words", "title": "X", "required": kind["required"][::-1]}
        kind["properties"] = dict(reversed(kind["properties"].items()))
        kind["properties"]["status"]["enum"].reverse()

    assert compared(edit).changes == ()


def test_a_change_of_the_envelope_is_told_once() -> None:
    (change,) = compared(add_field(required=True, kinds=())).changes
    assert change.kinds == ()
    (change,) = compared(add_field(required=True, kinds=("event.stored", KIND))).changes
    assert change.kinds == (KIND, "event.stored")


def test_what_breaks_is_told_first() -> None:
    found = compared(add_kind, remove_field, lambda s: field("status")(s)["enum"].append("lost")).changes
    assert [change.effect for change in found] == ["breaking", "additive", "additive"]


def test_a_renamed_type_inside_is_no_change() -> None:
    def edit(schema: Node) -> None:
        schema["$defs"]["Distribution"] = schema["$defs"].pop("Histogram")
        field("histograms", "metrics.snapshot")(schema)["additionalProperties"] = {"$ref": "#/$defs/Distribution"}

    assert compared(edit).changes == ()


def test_two_contracts_are_not_compared() -> None:
    with pytest.raises(NoContract, match="two contracts"):
        diff(todays("crm.log"), todays("crm.event"))
    with pytest.raises(NoContract, match="nobody"):
        todays("of.nobody")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "truncated"),
        (b"hello", "malformed"),
        (b"[]", "Expected `object`"),
        (b"\xff", ""),
        (b"[" * 100_000, ""),
        (json.dumps(versioned("1.0") | {"title": "crm.log"}).encode(), "NAME/MAJOR.MINOR"),
        (json.dumps(versioned("1.0") | {"title": "crm.log/1.x"}).encode(), "NAME/MAJOR.MINOR"),
        (json.dumps(versioned("1.0") | {"oneOf": [{"$ref": "#/$defs/nobody"}]}).encode(), "nobody"),
        (json.dumps(versioned("1.0") | {"oneOf": [{"type": "object"}]}).encode(), "$ref for each kind"),
        (json.dumps(versioned("1.0") | {"$defs": {"a": {"$ref": "#/$defs/a"}}}).encode(), "circle"),
        (json.dumps(versioned("1.0", lambda s: field("ts")(s).update({"format": "date"}))).encode(), "format"),
    ],
    ids=[
        "empty", "text", "list", "utf8", "deep", "no version", "odd version", "nowhere", "no reference", "circle",
        "unknown keyword",
    ],
)  # fmt: skip
def test_what_is_no_exported_contract_is_refused_and_told_why(content: bytes, says: str) -> None:
    with pytest.raises(NoContract) as problem:
        read_contract(content)
    assert says in str(problem.value)


@settings(steady, max_examples=60)
@given(st.sampled_from(sorted([*ADDITIVE, *BREAKING])), st.sampled_from(sorted([*ADDITIVE, *BREAKING])))
def test_a_change_and_its_reverse_are_both_told_and_one_of_them_breaks(one: str, other: str) -> None:
    """Also of two changes at once: nothing that differs goes unnoticed in either direction."""
    edits = [(ADDITIVE | BREAKING)[name][0] for name in dict.fromkeys((one, other))]
    try:
        there, back = compared(*edits), compared(old_edits=tuple(edits))
    except (KeyError, ValueError):
        return  # the first change took away what the second would change
    assert there.changes
    assert back.changes
    assert there.breaking or back.breaking


# --- the command ------------------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def wide_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")


def written(path: Path, schema: Node) -> Path:
    path.write_text(json.dumps(schema), encoding="utf-8")
    return path


def test_an_exported_contract_compares_equal_to_today(gauntlet: Gauntlet, tmp_path: Path) -> None:
    assert gauntlet("contract", "export", "--out", tmp_path / "new" / "folder")[0] == 0
    exported = sorted((tmp_path / "new" / "folder").iterdir())
    assert [file.suffix for file in exported] == [".json", ".md", ".json"]
    for file in exported:
        if file.suffix == ".json":
            assert gauntlet("contract", "diff", file) == (
                0, "compatible: 0 breaking, 0 additive; the version is the same\n",
            )  # fmt: skip


@pytest.mark.parametrize(
    ("edit", "new", "code", "says"),
    [
        (remove_field, "1.1", 1, "NOT compatible: 1 breaking, 0 additive; the minor version rises"),
        (remove_field, "2.0", 0, "compatible: 1 breaking, 0 additive; the major version rises"),
        (add_kind, "1.0", 1, "this needs a new minor version"),
        (add_kind, "1.1", 0, "compatible: 0 breaking, 1 additive"),
        (lambda _schema: None, "0.9", 1, "the version goes back, and this needs no step back"),
    ],
)
def test_the_exit_code_says_whether_it_may_be_released(
    gauntlet: Gauntlet, tmp_path: Path, edit: Edit, new: str, code: int, says: str
) -> None:
    old_file, new_file = written(tmp_path / "old", log_schema()), written(tmp_path / "new", versioned(new, edit))
    ended, told = gauntlet("contract", "diff", old_file, new_file)
    assert ended == code
    assert says in told


def test_the_table_names_kind_field_and_change(gauntlet: Gauntlet, tmp_path: Path) -> None:
    old = written(tmp_path / "old", versioned("0.9", add_field(required=True)))
    code, told = gauntlet("contract", "diff", old)
    assert code == 0
    row = next(line for line in told.splitlines() if "region" in line)
    assert [cell.strip() for cell in row.strip("│").split("│")] == ["breaking", KIND, "region", "the field is gone"]


@pytest.mark.parametrize("content", [b"", b"{}", json.dumps(event_schema()).encode()], ids=["empty", "{}", "events"])
def test_what_cannot_be_compared_is_wrong_usage(gauntlet: Gauntlet, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "old").write_bytes(content)
    code, told = gauntlet("contract", "diff", tmp_path / "old", written(tmp_path / "new", log_schema()))
    assert code == 3
    assert str(tmp_path / "old") in told


def test_a_file_that_is_not_there_is_wrong_usage(gauntlet: Gauntlet, tmp_path: Path) -> None:
    assert gauntlet("contract", "diff", tmp_path / "nowhere")[0] == 3
