"""What clients were told, held against what is there: nothing acknowledged is lost, and each contest has one winner."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.checks.acknowledged_never_lost import PROPERTY as NEVER_LOST
from harness.checks.one_winner import PROPERTY as ONE_WINNER
from harness.checks.verdict import Result
from harness.evidence.records import HistoryRow, Operation, Rows
from tests.builders import (
    EMAIL,
    a_deal,
    a_lead,
    deal_asked,
    evidence,
    happy_rows,
    lead_asked,
    move_asked,
    operation,
    steady,
    step,
    the_finding,
    uid,
)

# --- acknowledged_never_lost ------------------------------------------------------------------------------------


def kept(*asked: Operation, **rows: Any) -> Result:
    return NEVER_LOST.check(evidence(operations=asked, rows=happy_rows(**rows)))


def test_what_was_acknowledged_and_is_there_passes() -> None:
    result = kept(lead_asked(), deal_asked(), move_asked())
    assert (result.status, result.seen) == ("pass", 3)


def test_an_acknowledged_lead_that_is_not_there_fails() -> None:
    finding = the_finding(kept(lead_asked(), leads=()))
    assert finding.says == f"lead {uid('lead')} was acknowledged with 201 but is not there"
    assert (finding.entity, finding.correlation_id) == (f"lead {uid('lead')}", uid("created"))
    assert (finding.service, finding.edge) == ("crm", "client→crm")


def test_an_acknowledged_lead_that_holds_another_address_fails() -> None:
    finding = the_finding(kept(lead_asked(), leads=(a_lead(email="eve@example.test"),)))
    assert "but holds eve@example.test" in finding.says


def test_an_acknowledged_deal_that_is_not_there_fails() -> None:
    finding = the_finding(kept(deal_asked(), deals=(a_deal("another"),)))
    assert (finding.entity, finding.correlation_id) == (f"deal {uid('deal')}", uid("dealt"))


def test_an_acknowledged_deal_of_another_lead_fails() -> None:
    assert "is not there" in the_finding(kept(deal_asked(), deals=(a_deal(lead="another"),))).says


def test_an_acknowledged_move_without_its_version_in_history_fails() -> None:
    finding = the_finding(kept(move_asked(), history=()))
    assert finding.says == "the move to qualified was acknowledged as version 1; history lacks it"
    assert (finding.entity, finding.correlation_id) == (f"lead {uid('lead')}", uid("moved"))
    assert (finding.service, finding.edge) == ("pipeline", "client→pipeline")


@pytest.mark.parametrize(
    "row", [step(1, "new", "demo"), step(1, "new", "qualified", by="other"), step(2, "new", "qualified")]
)
def test_an_acknowledged_move_that_history_tells_otherwise_fails(row: HistoryRow) -> None:
    assert the_finding(kept(move_asked(), history=(row,))).correlation_id == uid("moved")


def test_a_move_of_another_lead_does_not_stand_for_it() -> None:
    assert the_finding(kept(move_asked(), history=(step(1, "new", "qualified", lead="other"),)))


@pytest.mark.parametrize("version", [None, "one"])
def test_a_move_acknowledged_with_a_version_that_is_no_number_fails(version: Any) -> None:
    assert "history lacks it" in the_finding(kept(move_asked(version=version))).says


def test_an_acknowledgement_that_names_nothing_fails() -> None:
    asked = operation("create_lead", 201, flow="created", arguments={"email": EMAIL})
    assert "lead None was acknowledged" in the_finding(kept(asked)).says


@pytest.mark.parametrize(("version", "status"), [(1, "pass"), (2, "fail"), ("two", "fail")])
def test_an_acknowledged_change_of_a_lead_is_in_its_version(version: Any, status: str) -> None:
    assert kept(operation("change_lead", 200, flow="moved", answer={"version": version})).status == status


def test_a_lead_that_was_changed_again_holds_what_was_acknowledged_before() -> None:
    lead = msgspec.structs.replace(a_lead(), version=3)
    assert kept(operation("change_lead", 200, flow="moved", answer={"version": 2}), leads=(lead,)).status == "pass"


@pytest.mark.parametrize("http_status", [None, 500, 503, 409, 422])
def test_what_was_refused_or_not_answered_need_not_be_there(http_status: int | None) -> None:
    asked = (lead_asked(http_status), deal_asked(http_status), move_asked(http_status))
    assert kept(*asked, leads=(), deals=(), history=()).status == "idle"


def test_a_patch_that_changed_nothing_needs_no_history() -> None:
    assert kept(move_asked(changed=False), history=()).status == "pass"


def test_an_address_is_kept_without_its_case() -> None:
    assert lead_asked().arguments["email"] != EMAIL
    assert kept(lead_asked()).status == "pass"


def test_an_acknowledged_move_that_was_followed_by_others_is_still_there() -> None:
    history = (step(1, "new", "qualified"), step(2, "qualified", "demo", by="other"))
    assert kept(move_asked(), history=history).status == "pass"


def test_a_read_and_a_replay_acknowledge_no_change() -> None:
    asked = (operation("read", 200, flow="read"), operation("replay", 200, flow="replay"))
    assert kept(*asked).status == "idle"


# --- one_winner -------------------------------------------------------------------------------------------------


def contest(*asked: Operation, history: tuple[HistoryRow, ...] = (step(1, "new", "qualified", by="a"),)) -> Result:
    return ONE_WINNER.check(evidence(operations=asked, rows=Rows(history=history)))


def patch(flow: str, http_status: int | None, **told: Any) -> Operation:
    return move_asked(http_status, flow=flow, **({"expected": 0} | told))


def test_one_winner_and_nine_told_409_pass() -> None:
    result = contest(patch("a", 200), *(patch(f"loser {number}", 409) for number in range(9)))
    assert (result.status, result.seen) == ("pass", 1)


def test_two_winners_fail_and_name_the_second_and_the_entity() -> None:
    finding = contest(patch("a", 200), patch("b", 200)).findings[0]
    assert (finding.entity, finding.correlation_id) == (f"lead {uid('lead')}", uid("b"))
    assert finding.says == "2 PATCHes expected version 0: 2 succeeded"


def test_nobody_wins_although_the_version_was_there_fails() -> None:
    finding = the_finding(contest(patch("a", 409), patch("b", 409), history=()))
    assert finding.says == "2 PATCHes expected version 0: none succeeded"
    assert finding.entity == f"lead {uid('lead')}"


def test_a_loser_that_made_the_next_version_all_the_same_fails() -> None:
    finding = the_finding(contest(patch("a", 409), patch("b", 409)))
    assert "none succeeded" in finding.says


def test_a_winner_whose_version_was_made_by_somebody_else_fails() -> None:
    finding = the_finding(contest(patch("b", 200), patch("c", 409)))
    assert finding.says.endswith(f"the next version was made by {uid('a')}")
    assert finding.correlation_id == uid("b")


@pytest.mark.parametrize("http_status", [400, 404, 412, 422])
def test_a_loser_that_is_told_something_else_fails(http_status: int) -> None:
    finding = the_finding(contest(patch("a", 200), patch("b", http_status)))
    assert finding.says == f"2 PATCHes expected version 0: a loser was told {http_status}, expected 409"
    assert finding.correlation_id == uid("b")


def test_a_winner_that_was_not_answered_is_no_failure() -> None:
    assert contest(patch("a", None), patch("b", 409), patch("c", 409)).status == "pass"
    assert contest(patch("a", 503), patch("b", 409), history=()).status == "pass"


def test_all_lose_to_somebody_outside_of_the_contest() -> None:
    assert contest(patch("b", 409), patch("c", 409), patch("a", 200, expected=None)).status == "pass"


def test_all_expect_a_version_that_never_came_and_all_lose() -> None:
    assert contest(patch("b", 409, expected=7), patch("c", 409, expected=7)).status == "pass"


def test_all_want_to_leave_a_terminal_stage_and_all_lose() -> None:
    history = (step(1, "new", "won", by="a"),)
    assert contest(patch("b", 409, expected=1), patch("c", 409, expected=1), history=history).status == "pass"


def test_all_ask_for_the_stage_that_it_has_and_nothing_changes() -> None:
    asked = (patch("b", 200, expected=1, changed=False), patch("c", 200, expected=1, changed=False))
    assert contest(*asked).status == "pass"


def test_an_answer_that_nothing_changed_is_no_excuse_where_something_had_to() -> None:
    asked = (patch("b", 200, changed=False), patch("c", 409))
    assert "none succeeded" in the_finding(contest(*asked, history=())).says


def test_one_that_asks_for_the_stage_that_it_has_and_a_loser_pass() -> None:
    asked = (patch("b", 200, expected=1, changed=False), patch("c", 200, expected=1, version=2, stage="demo"))
    history = (step(1, "new", "qualified", by="a"), step(2, "qualified", "demo", by="c"))
    assert contest(*asked, history=history).status == "pass"


def test_a_patch_alone_on_its_version_is_no_contest() -> None:
    assert contest(patch("a", 200), patch("b", 200, expected=1)).status == "idle"


def test_patches_without_an_expected_version_are_no_contest() -> None:
    assert contest(move_asked(flow="a"), move_asked(flow="b")).status == "idle"


def test_two_entities_on_one_version_are_no_contest() -> None:
    other = msgspec.structs.replace(patch("b", 200), entity_id=uid("another lead"))
    assert contest(patch("a", 200), other).status == "idle"


@steady
@given(st.lists(st.sampled_from(["won", "lost", "silent"]), min_size=2, max_size=6))
def test_a_contest_passes_exactly_if_what_was_told_can_have_happened(fates: list[str]) -> None:
    """The slow twin: version 1 was made by the first winner, or the first silent one, or by nobody."""
    told = {"won": 200, "lost": 409, "silent": None}
    asked = [patch(f"p{number}", told[fate]) for number, fate in enumerate(fates)]
    maker = next((n for n, fate in enumerate(fates) if fate == "won"), None)
    if maker is None:
        maker = next((n for n, fate in enumerate(fates) if fate == "silent"), None)
    history = () if maker is None else (step(1, "new", "qualified", by=f"p{maker}"),)
    possible = fates.count("won") == 1 or (fates.count("won") == 0 and "silent" in fates)
    assert (contest(*asked, history=history).status == "pass") == possible
