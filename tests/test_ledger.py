"""The ledger never lets a broken flow pass: whatever it does not doubt, the edges find complete."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.contract.log_lines import ContractViolation, InBand, Line, decode_line, kind_of
from harness.trace.findings import judge_flow
from harness.trace.flow import Surroundings, flows_of
from harness.trace.ledger import Ledger, doubtful
from tests.builders import (
    Story,
    answered,
    asked,
    by_instance,
    created_lead,
    duplicate,
    evaluated,
    exhausted_lead,
    qualified_lead,
    raw,
    received,
    retried_lead,
    steady,
    uid,
)

GOOD = qualified_lead(created_lead(Story())).lines


def states(lines: Sequence[Line]) -> dict[str, str]:
    return {name: judge_flow(flow, Surroundings(), []).state for name, flow in flows_of(lines).items()}


def wrongly_trusted(lines: Sequence[Line]) -> list[str]:
    """Flows that the ledger does not doubt although an edge is broken."""
    doubted = doubtful(lines)
    return [name for name, state in states(lines).items() if state != "complete" and name not in doubted]


def altered(line: Line, **fields: Any) -> Line:
    return decode_line(msgspec.json.encode(msgspec.json.decode(raw(line)) | fields))


# --- what it proves ---------------------------------------------------------------------------------------------


def test_plain_flows_leave_nothing_in_the_ledger() -> None:
    ledger = Ledger()
    assert ledger.post(GOOD) == {uid("created"), uid("moved")}
    balance = ledger.balance()
    assert (balance.open_flows(), balance.begun, [*filter(None, balance.unpaired)]) == (set(), 2, [])


def test_what_did_not_go_plainly_is_in_doubt_but_no_other_flow_is() -> None:
    for story in (retried_lead(), exhausted_lead()):
        assert doubtful([*created_lead(Story()).lines, *story.lines]) == {uid("moved")}
    story = qualified_lead(Story())
    duplicate(story, "moved", "again")
    assert doubtful(story.lines) == {uid("moved")}


def test_a_refusal_that_changed_nothing_is_plain() -> None:
    story = Story(flow="refused")
    asked(story, "pipeline", "patch")
    answered(story, "pipeline", "patch", 409)
    assert doubtful(story.lines) == set()


@given(order=st.permutations(range(len(GOOD))))
@steady
def test_the_order_of_blocks_and_lines_is_no_matter(order: list[int]) -> None:
    """Logs of several services are read block by block; the pairs within one process stay in their order there."""
    processes = {name: iter(lines) for name, lines in by_instance(GOOD).items()}
    ledger = Ledger()
    for index in order:
        ledger.post([next(processes[GOOD[index].instance])])
    assert ledger.balance().open_flows() == set()


@given(cuts=st.lists(st.integers(0, len(GOOD)), max_size=4))
@steady
def test_balances_of_parts_add_up(cuts: list[int]) -> None:
    """What stays in doubt is what was cut in two, and nothing is lost between two parts."""
    total = Ledger().balance()
    ends = [*sorted(cuts), len(GOOD)]
    for start, end in zip([0, *ends], ends, strict=False):
        part = Ledger()
        part.post(GOOD[start:end])
        total.add(part.balance())
    assert not any(total.unpaired)
    assert total.begun == 2
    assert total.open_flows() <= {uid("created"), uid("moved")}


# --- what it must not miss --------------------------------------------------------------------------------------

_VALUES: dict[str, list[Any]] = {
    "correlation_id": [uid("created"), uid("moved"), uid("else")],
    "event_id": [uid("created"), uid("moved"), uid("deal"), uid("else"), None],
    "causation_id": [uid("created"), uid("moved"), uid("deal"), uid("else"), None],
    "entity_id": [uid("lead"), uid("deal"), uid("else"), None],
    "span_id": sorted({line.span_id for line in GOOD if line.span_id}),
    "parent_span_id": [*sorted({line.span_id for line in GOOD if line.span_id}), None],
    "rule_id": ["another", None],
    "delivery_id": [uid("else")],
    "status": ["client_error", "server_error", "failed", "skipped", "not_matched", "error", "nacked", "retried"],
    "http_status": [200, 201, 204, 409, 500, None],
    "attempt": [1, 2],
    "peer": ["crm", "webhook"],
    "entity_type": ["lead", "user", None],
}


@pytest.mark.parametrize("index", range(len(GOOD)))
def test_a_line_that_is_missing_leaves_its_flow_in_doubt(index: int) -> None:
    left = [*GOOD[:index], *GOOD[index + 1 :]]
    assert doubtful(left) == {GOOD[index].correlation_id}, kind_of(GOOD[index])


@pytest.mark.parametrize("index", range(len(GOOD)))
def test_a_line_that_is_there_twice_leaves_its_flow_in_doubt_or_harms_nobody(index: int) -> None:
    assert wrongly_trusted([*GOOD, GOOD[index]]) == []


@given(data=st.data())
@steady
def test_whatever_is_altered_the_ledger_trusts_no_flow_that_an_edge_finds_broken(data: st.DataObject) -> None:
    lines = list(GOOD)
    for _ in range(data.draw(st.integers(1, 3))):
        index = data.draw(st.integers(0, len(lines) - 1))
        match data.draw(st.sampled_from(["alter", "alter", "drop", "repeat"])):
            case "drop" if len(lines) > 1:
                del lines[index]
            case "repeat":
                lines.insert(index, lines[index])
            case _:
                fields = msgspec.json.decode(raw(lines[index]))
                name = data.draw(st.sampled_from(sorted(_VALUES.keys() & fields)))
                try:
                    lines[index] = altered(lines[index], **{name: data.draw(st.sampled_from(_VALUES[name]))})
                except ContractViolation:
                    continue
    assert wrongly_trusted(lines) == []


@pytest.mark.parametrize(("name", "index"), [(n, i) for n in _VALUES for i in range(len(GOOD))])
def test_no_single_altered_field_makes_the_ledger_trust_a_broken_flow(name: str, index: int) -> None:
    if name not in msgspec.json.decode(raw(GOOD[index])):
        return
    for value in _VALUES[name]:
        try:
            line = altered(GOOD[index], **{name: value})
        except ContractViolation:
            continue
        assert wrongly_trusted([*GOOD[:index], line, *GOOD[index + 1 :]]) == [], (kind_of(line), name, value)


def test_a_circle_of_causes_is_in_doubt() -> None:
    stored = [line for line in GOOD if kind_of(line) == "event.stored" and line.correlation_id == uid("moved")]
    changed = [
        altered(line, causation_id=uid("deal")) if line in stored[:1] else line for line in GOOD
    ]  # fmt: skip
    assert uid("moved") in doubtful(changed)


def test_flows_of_two_requests_or_of_none_are_in_doubt() -> None:
    story = created_lead(Story())
    asked(story, "crm", "again")
    answered(story, "crm", "again", 200)
    assert doubtful(story.lines) == {uid("created")}
    rootless = Story(flow="moved")
    received(rootless, "moved", "d1")
    evaluated(rootless, "d1", status="not_matched")
    assert doubtful(rootless.lines) == {uid("moved")}
    assert all(isinstance(line, InBand) for line in rootless.lines)
