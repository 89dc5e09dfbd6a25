"""Findings of one cause are told once, however many flows and properties saw it, and never more than can be used."""

from __future__ import annotations

from typing import Any

import msgspec

from harness.checks.causes import KEPT, causes_of, kept, signature
from harness.checks.verdict import Finding
from tests.builders import uid


def found(name: str = "stage_chain", says: str = "no", flow: str | None = None, **parts: Any) -> Finding:
    return Finding(property=name, says=says, correlation_id=uid(flow) if flow else None, scenario="s", **parts)


def test_findings_that_differ_in_ids_and_numbers_alone_are_one_group() -> None:
    one = found(says=f"event {uid('a')} died after [1, 2, 3] tries of ada@example.test")
    other = found(says=f"event {uid('b')} died after [1, 2] tries of bob@example.test")
    assert signature(one) == signature(other)
    (cause,) = causes_of([one, other])
    assert (cause.count, len(cause.findings), cause.findings[0].more) == (2, 1, 1)


def test_another_property_edge_service_or_wording_is_another_group() -> None:
    one = found(edge="a→b", service="a")
    others = [
        found("one_winner", edge="a→b", service="a"), found(edge="a→c", service="a"),
        found(edge="a→b", service="b"), found(says="yes", edge="a→b", service="a"),
    ]  # fmt: skip
    assert len({signature(finding) for finding in (one, *others)}) == 5
    assert len(causes_of([one, *others])) == 5


def test_properties_that_see_the_same_flows_share_a_cause() -> None:
    findings = [found(name, says, flow) for name, says in (("p", "lost"), ("q", "gone")) for flow in ("a", "b")]
    (cause,) = causes_of(findings)
    assert (cause.properties, cause.count, cause.flows, cause.scenarios) == (["p", "q"], 4, 2, ("s",))


def test_properties_that_see_different_flows_do_not() -> None:
    assert len(causes_of([found("p", flow="a"), found("q", flow="b")])) == 2


def test_one_flow_in_common_of_many_is_no_common_cause() -> None:
    lost = [found("p", flow=str(number)) for number in range(9)]
    late = [found("q", flow=str(number)) for number in range(8, 17)]
    assert len(causes_of([*lost, *late])) == 2


def test_what_follows_from_a_break_in_some_of_its_flows_shares_its_cause() -> None:
    lost = [found("p", flow=str(number)) for number in range(9)]
    no_deal = [found("q", flow=str(number)) for number in range(2)]
    assert len(causes_of([*lost, *no_deal])) == 1


def test_findings_without_a_flow_meet_in_their_entity_and_else_nowhere() -> None:
    assert len(causes_of([found("p", entity="lead 7"), found("q", entity="lead 7")])) == 1
    assert len(causes_of([found("p"), found("q")])) == 2


def test_the_same_flow_in_another_scenario_is_another_flow() -> None:
    elsewhere = msgspec.structs.replace(found("q", flow="a"), scenario="t")
    assert len(causes_of([found("p", flow="a"), elsewhere])) == 2


def test_a_cause_seen_in_two_scenarios_names_both() -> None:
    (cause,) = causes_of([found(flow="a"), msgspec.structs.replace(found(flow="b"), scenario="t")])
    assert cause.scenarios == ("s", "t")


def test_the_gravest_is_first_then_the_most_frequent_and_it_gives_the_title() -> None:
    minor = [found("p", "papers", str(n), severity="minor") for n in range(5)]
    major = [found("q", "late", f"m{n}", severity="major") for n in range(2)]
    grave = [found("r", "lost", "g", severity="critical"), found("s", "odd", "g", severity="minor")]
    causes = causes_of([*minor, *grave[::-1], found("t", "other", severity="major"), *major])
    assert [(cause.severity, cause.title) for cause in causes] == [
        ("critical", "lost"), ("major", "late"), ("major", "other"), ("minor", "papers"),
    ]  # fmt: skip


def test_the_example_of_a_cause_is_one_with_a_proof() -> None:
    (cause,) = causes_of([found("p", "lost", "g"), found("q", "gone", "g", trace=("proof",))])
    assert cause.example.trace == ("proof",)


# --- many -------------------------------------------------------------------------------------------------------


def test_few_findings_are_all_kept_as_they_came() -> None:
    findings = tuple(found(flow=str(number)) for number in range(KEPT))
    assert kept(findings) == findings


def test_of_many_findings_of_a_kind_some_are_kept_and_all_are_counted() -> None:
    few = kept([found(flow=str(number)) for number in range(10_000)])
    assert len(few) == KEPT
    (cause,) = causes_of(few)
    assert cause.count == 10_000


def test_each_kind_is_cut_by_itself() -> None:
    few = kept([*(found(flow=str(number)) for number in range(100)), found(says="rare")])
    assert len(few) == KEPT + 1


def test_two_properties_of_which_most_findings_were_cut_still_meet_whatever_their_order() -> None:
    flows = [str(number) for number in range(1000)]
    lost = kept([found("p", flow=flow) for flow in flows])
    no_deal = kept([found("q", flow=flow) for flow in flows[::-1] if int(flow) % 5 == 0])
    (cause,) = causes_of([*lost, *no_deal])
    assert cause.count == 1200


def test_two_properties_of_which_most_findings_were_cut_do_not_meet_by_chance() -> None:
    lost = kept([found("p", flow=str(number)) for number in range(1000)])
    late = kept([found("q", flow=str(number)) for number in range(990, 2000)])
    assert len(causes_of([*lost, *late])) == 2
