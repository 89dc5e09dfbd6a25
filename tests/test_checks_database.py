"""The properties that the database decides: one deal a lead, the chain of stages, and commit if and only if event."""

from __future__ import annotations

import itertools
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.checks.commit_iff_event import PROPERTY as COMMIT_IFF_EVENT
from harness.checks.one_deal_per_lead import PROPERTY as ONE_DEAL
from harness.checks.stage_chain import PROPERTY as STAGE_CHAIN
from harness.checks.verdict import Result
from harness.evidence.records import Fault, HistoryRow, Rows, StageRow
from tests.builders import (
    RULES,
    Story,
    a_deal,
    a_lead,
    body_of,
    deal_asked,
    evidence,
    exhausted_lead,
    happy_evidence,
    happy_rows,
    lead_asked,
    move_asked,
    now_in,
    planted,
    resting,
    steady,
    step,
    stored,
    tapped,
    target,
    the_finding,
    uid,
)

# --- one_deal_per_lead ------------------------------------------------------------------------------------------


def one_deal(rows: Rows, **parts: Any) -> Result:
    return ONE_DEAL.check(evidence(rows=rows, **parts))


QUALIFIED = Rows(leads=(a_lead(),), history=(step(1, "new", "qualified"),), rules=RULES)


def qualified(**changes: Any) -> Rows:
    return msgspec.structs.replace(QUALIFIED, **changes)


def test_two_deals_for_one_lead_fail() -> None:
    finding = the_finding(one_deal(qualified(deals=(a_deal("one"), a_deal("two")))))
    assert finding.entity == f"lead {uid('lead')}"
    assert "2 deals for one lead" in finding.says
    assert (uid("one") in finding.says, uid("two") in finding.says) == (True, True)


def test_two_clients_told_201_for_one_deal_fail() -> None:
    asked = (deal_asked(deal="one"), deal_asked(deal="two"))
    finding = the_finding(one_deal(Rows(deals=(a_deal("one"),)), operations=asked))
    assert (finding.entity, finding.says[:9]) == (f"lead {uid('lead')}", "2 clients")


def test_a_qualified_lead_without_a_deal_fails_and_names_the_flow() -> None:
    finding = the_finding(one_deal(QUALIFIED))
    assert (finding.entity, finding.correlation_id) == (f"lead {uid('lead')}", uid("moved"))


def test_a_dead_letter_of_another_flow_does_not_excuse_a_missing_deal() -> None:
    assert the_finding(one_deal(QUALIFIED, resting=(resting("poison"),))).correlation_id == uid("moved")


def test_only_the_lead_without_a_deal_is_named() -> None:
    both = (step(1, "new", "qualified"), step(1, "new", "qualified", lead="second", by="second"))
    finding = the_finding(one_deal(qualified(history=both, deals=(a_deal(),))))
    assert (finding.entity, finding.correlation_id) == (f"lead {uid('second')}", uid("second"))


def test_one_deal_for_a_qualified_lead_passes() -> None:
    assert one_deal(qualified(deals=(a_deal(),))).status == "pass"


def test_a_loser_told_409_and_one_that_was_told_nothing_pass() -> None:
    asked = (deal_asked(), deal_asked(409), deal_asked(None))
    assert one_deal(Rows(deals=(a_deal(),)), operations=asked).status == "pass"


def test_a_lead_whose_event_is_dead_lettered_or_waits_needs_no_deal() -> None:
    assert one_deal(QUALIFIED, resting=(resting("moved"),)).status == "idle"
    assert one_deal(QUALIFIED, resting=(resting("moved", "automation.retry.1"),)).status == "idle"


def test_a_lead_whose_dead_letter_was_discarded_needs_no_deal() -> None:
    story = exhausted_lead()
    story.write("automation", "dead_letter.discarded", "discard", event="moved")
    assert one_deal(QUALIFIED, lines=story.lines).status == "idle"


def test_a_lead_qualified_twice_has_its_one_deal() -> None:
    history = (step(1, "new", "qualified"), step(2, "qualified", "demo"), step(3, "demo", "qualified", by="again"))
    assert one_deal(qualified(history=history, deals=(a_deal(),))).status == "pass"


@pytest.mark.parametrize(
    "change", [{"enabled": False}, {"to_stage": "won"}, {"action": "notify"}, {"event_type": "deal.stage.changed"}]
)
def test_a_rule_that_does_not_speak_of_the_change_demands_no_deal(change: dict[str, Any]) -> None:
    rules = (msgspec.structs.replace(RULES[0], **change),)
    assert one_deal(qualified(rules=rules)).status == "idle"


def test_a_change_of_a_deal_demands_no_deal() -> None:
    row = msgspec.structs.replace(step(1, "new", "qualified"), entity_type="deal")
    assert one_deal(qualified(history=(row,))).status == "idle"


def test_a_deal_that_was_promised_and_no_row_to_judge_is_unknown() -> None:
    result = one_deal(Rows(), operations=(deal_asked(),))
    assert (result.status, result.seen, result.floor) == ("unknown", 0, 1)


def test_nothing_about_deals_is_idle() -> None:
    assert one_deal(Rows(leads=(a_lead(),), rules=RULES)).status == "idle"


# --- stage_chain ------------------------------------------------------------------------------------------------


def chain(*history: HistoryRow, now: StageRow | None = None, asked: tuple[Any, ...] = ()) -> Result:
    stages = () if now is None else (now,)
    return STAGE_CHAIN.check(evidence(rows=Rows(history=history, stages=stages), operations=asked))


@pytest.mark.parametrize(
    ("history", "now", "says"),
    [
        ([step(2, "new", "demo")], ("demo", 2), "version 2 stands where version 1 should"),
        ([step(1, "new", "demo"), step(1, "new", "demo")], ("demo", 1), "version 1 stands where version 2 should"),
        ([step(1, "new", "demo"), step(3, "demo", "proposal")], ("proposal", 3), "version 3 stands where version 2"),
        ([step(1, "demo", "proposal")], ("proposal", 1), "begins at demo, but the entity was in new"),
        ([step(1, "new", "demo"), step(2, "new", "proposal")], ("proposal", 2), "but the entity was in demo"),
        ([step(1, "new", "new")], ("new", 1), "changes nothing"),
        ([step(1, "new", "won"), step(2, "won", "demo")], ("demo", 2), "leaves the terminal stage won"),
        ([step(1, "new", "lost"), step(2, "lost", "demo")], ("demo", 2), "leaves the terminal stage lost"),
        ([step(1, "new", "eaten")], ("eaten", 1), "a stage that does not exist: eaten"),
        ([step(1, "new", "demo")], ("proposal", 1), "it is in proposal at version 1"),
        ([step(1, "new", "demo")], ("demo", 2), "it is in demo at version 2"),
        ([step(1, "new", "demo")], ("new", 0), "its history ends with demo at version 1"),
        ([step(1, "new", "demo")], None, "there is history but no current stage"),
        ([], ("demo", 1), "its history ends with new at version 0"),
        ([], ("new", 1), "it is in new at version 1"),
    ],
)  # fmt: skip
def test_a_broken_chain_fails_and_names_its_entity(
    history: list[HistoryRow], now: tuple[str, int] | None, says: str
) -> None:
    finding = the_finding(chain(*history, now=now_in(*now) if now else None))
    assert says in finding.says
    assert finding.entity == f"lead {uid('lead')}"
    assert finding.correlation_id == (uid("moved") if history else None)


@pytest.mark.parametrize(
    ("source", "caused", "fails"),
    [
        ("automation", True, False),
        ("automation", False, True),
        ("manual", True, True),
        ("system", True, True),
        ("system", False, False),
    ],
)
def test_what_an_event_has_caused_is_by_automation_and_nothing_else_is(source: str, caused: bool, fails: bool) -> None:
    link = msgspec.structs.replace(
        step(1, "new", "demo"), source=source, causation_id=uid("created") if caused else None
    )
    findings = chain(link, now=now_in("demo", 1)).findings
    assert [finding.says for finding in findings] == [
        f"version 1 is by {source}, caused by {link.causation_id or 'no event'}"
    ] * fails


def test_the_change_that_breaks_a_chain_is_named_by_its_flow() -> None:
    history = (step(1, "new", "demo", by="first"), step(2, "new", "proposal", by="second"))
    assert the_finding(chain(*history, now=now_in("proposal", 2))).correlation_id == uid("second")


def test_a_chain_through_several_stages_passes_in_whatever_order_its_rows_come() -> None:
    history = (step(3, "proposal", "won"), step(1, "new", "demo"), step(2, "demo", "proposal"))
    assert chain(*history, now=now_in("won", 3)).status == "pass"


def test_a_long_chain_is_ordered_by_the_number_of_its_versions() -> None:
    history = [step(version, *(("new", "demo") if version % 2 else ("demo", "new"))) for version in range(1, 12)]
    assert chain(*history, now=now_in("demo", 11)).status == "pass"


def test_going_back_to_an_earlier_stage_passes() -> None:
    assert chain(step(1, "new", "demo"), step(2, "demo", "new"), now=now_in("new", 2)).status == "pass"


def test_a_lead_that_was_met_and_never_moved_has_no_history_and_is_idle() -> None:
    assert chain(now=now_in("new", 0)).status == "idle"


def test_a_patch_that_changes_nothing_needs_no_history() -> None:
    asked = (move_asked(stage="new", version=0, changed=False),)
    assert chain(now=now_in("new", 0), asked=asked).status == "idle"


def test_two_entities_do_not_share_a_chain() -> None:
    deal = msgspec.structs.replace(step(1, "new", "demo"), entity_type="deal")
    rows = Rows(
        history=(step(1, "new", "won"), deal), stages=(now_in("won", 1), StageRow("deal", uid("lead"), "demo", 1))
    )
    assert STAGE_CHAIN.check(evidence(rows=rows)).status == "pass"


def test_an_acknowledged_move_without_any_history_is_unknown() -> None:
    result = chain(asked=(move_asked(),))
    assert (result.status, result.floor) == ("unknown", 1)


def test_moves_that_were_refused_or_unanswered_demand_no_history() -> None:
    assert chain(asked=(move_asked(409), move_asked(None), lead_asked())).status == "idle"


_STAGES = st.sampled_from(["new", "demo", "won", "eaten"])


def _replays(rows: list[HistoryRow], now: tuple[str, int]) -> bool:
    """The slow twin: is there an order in which these changes, applied one by one, lead from new to now?"""
    allowed = {*target().stages.open, *target().stages.terminal}

    def leads_there(order: tuple[HistoryRow, ...]) -> bool:
        stage, version = "new", 0
        for row in order:
            legal = row.to_stage in allowed and row.to_stage != stage and stage not in ("won", "lost")
            if not legal or (row.version, row.from_stage) != (version + 1, stage):
                return False
            stage, version = row.to_stage, row.version
        return (stage, version) == now

    return any(leads_there(order) for order in itertools.permutations(rows))


@steady
@given(
    st.lists(st.builds(step, st.integers(1, 3), _STAGES, _STAGES), max_size=3),
    st.tuples(_STAGES, st.integers(0, 3)),
)
def test_a_chain_passes_exactly_if_its_changes_can_be_replayed(rows: list[HistoryRow], now: tuple[str, int]) -> None:
    assert (chain(*rows, now=now_in(*now)).status != "fail") == _replays(rows, now)


@steady
@given(st.data())
def test_a_chain_that_was_walked_step_by_step_passes(data: st.DataObject) -> None:
    walk = data.draw(st.lists(st.sampled_from(["demo", "proposal", "contacted"]), min_size=1, max_size=5))
    path = ["new", *(stage for stage, before in zip(walk, ["new", *walk], strict=False) if stage != before)]
    rows = [step(number, before, after) for number, (before, after) in enumerate(itertools.pairwise(path), start=1)]
    order = data.draw(st.permutations(rows))
    assert chain(*order, now=now_in(path[-1], len(rows))).status == "pass"
    assert _replays(rows, (path[-1], len(rows)))


# --- commit_iff_event -------------------------------------------------------------------------------------------


def commit(**changes: Any) -> Result:
    return COMMIT_IFF_EVENT.check(happy_evidence(**changes))


ALL_THREE = ("created", "moved", "deal")


def taps(*others: Any, but: str = "") -> tuple[Any, ...]:
    return (*(tapped(name) for name in ALL_THREE if name != but), *others)


def outbox(*others: Any, but: str = "") -> Rows:
    return happy_rows(outbox=(*(stored(name) for name in ALL_THREE if name != but), *others))


def test_changes_each_with_one_event_that_was_published_pass() -> None:
    result = commit()
    assert (result.status, result.seen, result.floor) == ("pass", 3, 1)


@pytest.mark.parametrize(
    ("event", "entity", "flow"),
    [
        ("created", f"lead {uid('lead')}", None),
        ("deal", f"deal {uid('deal')}", None),
        ("moved", f"lead {uid('lead')}", "moved"),
    ],
)  # fmt: skip
def test_a_change_without_an_event_fails_and_names_its_entity(event: str, entity: str, flow: str | None) -> None:
    finding = the_finding(commit(rows=outbox(but=event), tap=taps(but=event)))
    assert "with 0 outbox rows, expected 1" in finding.says
    assert (finding.entity, finding.correlation_id) == (entity, uid(flow) if flow else None)


def test_a_change_with_two_events_fails() -> None:
    second = stored("moved", event_id=uid("twin"), id=9)
    twin = tapped("moved", message_id=uid("twin"), body=body_of("moved", event_id=uid("twin")))
    finding = the_finding(commit(rows=outbox(second), tap=taps(twin)))
    assert "with 2 outbox rows" in finding.says
    assert finding.correlation_id == uid("moved")


def test_an_event_without_a_change_fails() -> None:
    rows = msgspec.structs.replace(outbox(), history=())
    finding = the_finding(commit(rows=rows))
    assert "which was never committed" in finding.says
    assert (finding.entity, finding.correlation_id) == (f"lead {uid('lead')}", uid("moved"))


def test_an_event_of_another_version_than_the_change_fails() -> None:
    body = body_of("moved", entity_version=2)
    result = commit(
        rows=outbox(stored("moved", entity_version=2), but="moved"), tap=taps(tapped("moved", body=body), but="moved")
    )
    assert [finding.says for finding in result.findings] == [
        "lead.stage.changed version 1 was committed with 0 outbox rows, expected 1",
        "an outbox row for lead.stage.changed version 2, which was never committed",
    ]  # fmt: skip


def test_an_event_with_the_correlation_of_another_flow_than_its_change_fails() -> None:
    changed = stored("moved", correlation_id=uid("other"))
    message = tapped("moved", correlation_id=uid("other"), body=body_of("moved", correlation_id=uid("other")))
    finding = the_finding(commit(rows=outbox(changed, but="moved"), tap=taps(message, but="moved")))
    assert finding.says == f"history says correlation {uid('moved')}, its outbox row {uid('other')}"


@pytest.mark.parametrize("sent", [True, False])
def test_an_event_that_was_never_published_fails_whatever_its_row_says(sent: bool) -> None:
    finding = the_finding(commit(rows=outbox(stored("moved", sent=sent), but="moved"), tap=taps(but="moved")))
    assert f"(sent: {sent}) but no message with its id was published" in finding.says
    assert (finding.correlation_id, finding.edge) == (uid("moved"), "pipeline→broker")


def test_a_delivery_is_no_publish() -> None:
    tap = taps(tapped("moved", what="delivered"), but="moved")
    assert "no message with its id was published" in the_finding(commit(tap=tap)).says


def test_a_copy_on_its_way_to_a_retry_queue_is_no_publish() -> None:
    tap = taps(tapped("moved", exchange="", routing_key="automation.retry.1"), but="moved")
    assert "no message with its id was published" in the_finding(commit(tap=tap)).says


def test_an_event_that_was_published_but_is_still_unsent_fails() -> None:
    finding = the_finding(commit(rows=outbox(stored("deal", sent=False), but="deal")))
    assert "was published but its outbox row is still unsent" in finding.says
    assert finding.entity == f"deal {uid('deal')}"


def test_an_event_that_reached_no_queue_but_is_marked_sent_fails() -> None:
    finding = the_finding(commit(tap=taps(tapped("deal", queues=()), but="deal")))
    assert "published to no queue, yet is marked as sent" in finding.says


def test_a_message_that_no_outbox_holds_fails() -> None:
    finding = the_finding(commit(tap=taps(tapped("poison"))))
    assert finding.says == f"a lead.stage.changed with id {uid('poison')} was published, but no outbox holds it"
    assert finding.correlation_id == uid("poison")


def test_one_event_id_twice_in_the_outbox_fails() -> None:
    rows = msgspec.structs.replace(
        outbox(stored("moved", id=9, entity_version=2)), history=(*happy_rows().history, step(2, "qualified", "demo"))
    )
    says = [finding.says for finding in commit(rows=rows).findings]
    assert f"event id {uid('moved')} stands in the outbox 2 times" in says


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("event_type", "deal.stage.changed"), ("entity_id", uid("other")), ("entity_version", 7),
        ("correlation_id", uid("other")), ("causation_id", uid("other")), ("event_id", uid("other")),
    ],
)  # fmt: skip
def test_a_body_that_differs_from_what_was_stored_fails(name: str, value: Any) -> None:
    finding = the_finding(commit(tap=taps(tapped("moved", body=body_of("moved", **{name: value})), but="moved")))
    assert f"was stored with {name} " in finding.says
    assert f"published with {value}" in finding.says


@pytest.mark.parametrize(("name", "told"), [("correlation_id", "AMQP correlation_id"), ("type", "AMQP type")])
def test_properties_that_differ_from_what_was_stored_fail(name: str, told: str) -> None:
    finding = the_finding(commit(tap=taps(tapped("moved", **{name: "other"}), but="moved")))
    assert f"was stored with {told} " in finding.says


def test_a_body_that_breaks_the_contract_fails() -> None:
    finding = the_finding(commit(tap=taps(tapped("moved", body="[]"), but="moved")))
    assert "a body that breaks the contract" in finding.says
    assert finding.correlation_id == uid("moved")


def test_a_second_copy_after_a_lost_confirm_passes() -> None:
    assert commit(tap=taps(tapped("moved"))).status == "pass"


def test_a_copy_that_was_returned_before_one_that_was_routed_passes() -> None:
    assert commit(tap=taps(tapped("moved", queues=()))).status == "pass"


def test_a_message_without_an_id_fails_unless_we_have_sent_it() -> None:
    nameless = tapped("poison", message_id=None, app_id="gauntlet")
    assert commit(tap=(*taps(), nameless)).status == "pass"
    finding = the_finding(commit(tap=(*taps(), msgspec.structs.replace(nameless, app_id="crm"))))
    assert finding.says == "a lead.stage.changed with id None was published, but no outbox holds it"


def test_a_planted_message_needs_no_outbox_row() -> None:
    assert commit(tap=taps(tapped("poison")), plan=[planted()]).status == "pass"


def _assigned(version: int) -> Result:
    """A lead at this version, with one event of its assignment, which made version 2."""
    row = stored("created", event_id=uid("assigned"), event_type="lead.assigned", entity_version=2)
    body = body_of("created", event_id=uid("assigned"), event_type="lead.assigned", entity_version=2)
    message = tapped("created", message_id=uid("assigned"), type="lead.assigned", body=body)
    rows = msgspec.structs.replace(outbox(row), leads=(msgspec.structs.replace(a_lead(), version=version),))
    return commit(rows=rows, tap=taps(message))


def test_each_later_version_of_a_lead_has_its_event() -> None:
    assert _assigned(2).status == "pass"


@pytest.mark.parametrize(("version", "says"), [(1, "never committed"), (3, "with 0 outbox rows")])
def test_a_lead_and_its_events_that_disagree_on_versions_fail(version: int, says: str) -> None:
    assert says in the_finding(_assigned(version)).says


def test_a_tap_that_missed_a_message_while_the_broker_was_killed_proves_nothing() -> None:
    killed = Fault(kind="kill", place="broker", injected_at="", healed_at="", hits=1, proof="")
    assert commit(tap=taps(but="moved"), faults=(killed,)).status == "pass"


def test_a_fault_elsewhere_does_not_excuse_a_message_that_the_tap_has_not_seen() -> None:
    cut = Fault(kind="cut", place="pipeline→broker", injected_at="", healed_at="", hits=1, proof="")
    assert commit(tap=taps(but="moved"), faults=(cut,)).status == "fail"


def test_acknowledged_creations_and_an_empty_outbox_are_unknown() -> None:
    result = COMMIT_IFF_EVENT.check(evidence(operations=(lead_asked(), deal_asked())))
    assert (result.status, result.floor) == ("unknown", 2)


def test_nothing_created_is_idle() -> None:
    asked = (lead_asked(409), deal_asked(None))
    assert COMMIT_IFF_EVENT.check(evidence(operations=asked)).status == "idle"


def test_the_story_builder_and_its_evidence_agree() -> None:
    assert Story().lines == []
    assert commit().findings == ()
