"""What clients saw of versions: one order that agrees with real time, and no client that sees an entity go back."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from random import Random
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.checks.order import contradiction
from harness.checks.real_time_order import PROPERTY as ORDER
from harness.checks.session_monotonic import PROPERTY as SESSION
from harness.checks.verdict import Result
from harness.checks.versions import How, Register, Sighting
from harness.clients.http import CrmClient
from harness.evidence.recording import Recording
from harness.evidence.records import DealRow, LeadRow, Operation, OutboxRow, Rows
from tests.builders import (
    EMAIL,
    evidence,
    lead_asked,
    move_asked,
    now_in,
    operation,
    steady,
    step,
    stored,
    the_finding,
    uid,
)

LEAD = f"lead {uid('lead')}"
WALK = ("new", "engaged", "demo", "proposal")
HISTORY = tuple(step(v, WALK[v - 1], WALK[v], by=f"move {v}") for v in (1, 2, 3))


def at(began: int, ended: int, asked: Operation, *, session: str = "") -> Operation:
    return msgspec.structs.replace(asked, invoked_ns=began, returned_ns=ended, session=session)


def looked(version: int, stage: str | None = None, *, flow: str = "look") -> Operation:
    told = {"stage": stage or WALK[version], "version": version}
    return msgspec.structs.replace(operation("read", 200, flow=flow, answer=told), entity_id=uid("lead"))


def moved(version: int, http_status: int | None = 200, *, flow: str = "", **told: Any) -> Operation:
    return move_asked(http_status, flow=flow or f"move {version}", stage=WALK[version], version=version, **told)


def without_version(asked: Operation) -> Operation:
    return msgspec.structs.replace(asked, answer={k: v for k, v in asked.answer.items() if k != "version"})


def stale(expected: int, current: int | None, *, flow: str = "loser") -> Operation:
    """A PATCH that was told 409; without ``current``, nobody said which version it was."""
    asked = {"stage": "demo", "expected_version": expected}
    told = {"type": "urn:problem:stale-version"} | ({} if current is None else {"current_version": current})
    return operation("move_stage", 409, flow=flow, arguments=asked, answer=told)


def lead_seen(version: int, action: str = "read", *, owner: str | None = None, **told: Any) -> Operation:
    """The lead as crm shows it, to a reader or to whoever changed it."""
    answer = {"id": uid("lead"), "version": version, "owner_id": owner, "name": "Ada", "changed": action != "read"}
    asked = operation(action, 200, flow=f"{action} {version}", answer=answer | told)
    return msgspec.structs.replace(asked, entity_id=uid("lead"))


def pipeline_rows(last: int = 3) -> Rows:
    return Rows(stages=(now_in(WALK[last], last),), history=HISTORY[:last])


def _moves(*made: tuple[int, str]) -> tuple[OutboxRow, ...]:
    """The outbox of these versions, each made in the flow that is named beside it."""
    return tuple(stored("moved", entity_version=version, correlation_id=uid(flow)) for version, flow in made)


def ordered(*asked: Operation, rows: Rows | None = None) -> Result:
    return ORDER.check(evidence(operations=asked, rows=rows or pipeline_rows()))


def crm_ordered(*asked: Operation, version: int = 2, owner: str | None = None) -> Result:
    lead = LeadRow(uid("lead"), EMAIL, None, version, owner)
    return ordered(*asked, rows=Rows(leads=(lead,)))


# --- real_time_order: bad ---------------------------------------------------------------------------------------


def test_a_read_that_begins_after_a_change_was_acknowledged_and_misses_it_fails() -> None:
    finding = the_finding(ordered(at(0, 1_000_000, moved(1)), at(3_000_000, 4_000_000, looked(0))))
    assert finding.says == (
        "read saw version 0, although 2.000 ms before it began another one move_stage made version 1"
    )
    assert (finding.service, finding.edge, finding.entity) == ("pipeline", "client→pipeline", LEAD)
    assert finding.correlation_id == uid("look")
    assert finding.trace == (
        f"+0.000 to +1.000 ms  move_stage made version 1  correlation {uid('move 1')}",
        f"+3.000 to +4.000 ms  read saw version 0  correlation {uid('look')}",
    )


def test_two_readers_that_see_the_versions_in_opposite_order_fail() -> None:
    """While the change itself goes on all the time."""
    assert the_finding(ordered(at(0, 9, moved(1)), at(1, 2, looked(1)), at(3, 4, looked(0))))


def test_a_version_that_was_seen_before_anybody_asked_for_it_fails() -> None:
    assert "move_stage made version 2" in the_finding(ordered(at(1, 2, looked(2)), at(3, 4, moved(2)))).says


def test_a_change_that_made_an_earlier_version_than_one_acknowledged_before_fails() -> None:
    assert the_finding(ordered(at(1, 2, moved(2)), at(3, 4, moved(1))))


def test_a_late_read_fails_however_many_versions_lie_between() -> None:
    assert the_finding(ordered(at(1, 2, looked(3)), at(3, 4, looked(0))))


def test_an_unanswered_change_cannot_have_happened_before_it_began() -> None:
    rows = msgspec.structs.replace(pipeline_rows(1), outbox=_moves((1, "move 1")))
    assert the_finding(ordered(at(1, 2, looked(1)), at(3, 4, moved(1, None)), rows=rows)).correlation_id == uid(
        "move 1"
    )


def test_what_automation_made_in_a_flow_cannot_have_been_seen_before_that_flow_began() -> None:
    rows = msgspec.structs.replace(pipeline_rows(), outbox=_moves((2, "move 2"), (3, "move 2")))
    assert the_finding(ordered(at(1, 2, looked(3)), at(3, 4, moved(2)), rows=rows)).correlation_id == uid("move 2")
    assert ordered(at(1, 2, looked(1)), at(3, 4, moved(2)), at(5, 6, looked(2)), rows=rows).status == "pass"


def test_what_automation_made_in_a_flow_was_not_asked_for_by_its_client() -> None:
    """Neither is it the version that he expected, nor has it the values that he asked for."""
    rows = msgspec.structs.replace(pipeline_rows(), outbox=_moves((1, "move 1"), (2, "move 1"), (3, "move 1")))
    assert ordered(moved(1, expected=0), rows=rows).status == "pass"
    told = msgspec.structs.replace(moved(1), answer={"version": 1, "changed": True, "stage": "demo"})
    assert len([f for f in ordered(told, rows=rows).findings if "asked for" in f.says]) == 1


def test_of_two_requests_of_one_flow_the_first_one_began_it() -> None:
    rows = msgspec.structs.replace(pipeline_rows(1), outbox=_moves((1, "move 1")))
    again = at(3, 4, moved(1, None))
    assert ordered(at(1, 2, moved(1, None)), at(2, 2, looked(1)), again, rows=rows).status == "pass"


def test_a_version_that_another_flow_made_than_the_one_that_was_told_so_fails() -> None:
    rows = msgspec.structs.replace(pipeline_rows(1), outbox=_moves((1, "other")))
    asked = (at(1, 9, moved(1)), at(1, 9, moved(1, None, flow="other")))
    assert the_finding(ordered(*asked, rows=rows)).says == "two changes made version 1"


def test_two_that_made_the_same_version_fail() -> None:
    finding = the_finding(ordered(at(1, 5, moved(1)), at(2, 4, moved(1, flow="other"))))
    assert finding.says == "two changes made version 1"


def test_a_refusal_that_shows_an_old_version_is_a_late_read() -> None:
    assert the_finding(ordered(at(1, 2, moved(2)), at(3, 4, stale(5, 1)))).correlation_id == uid("loser")


def test_a_refusal_for_the_version_that_it_names_as_the_latest_fails() -> None:
    says = the_finding(ordered(at(1, 2, stale(1, 1)))).says
    assert says == "refused for expecting version 1, which it says is the latest"


@pytest.mark.parametrize("last", [0, 1])
def test_a_refusal_for_the_version_that_was_the_latest_all_the_time_fails(last: int) -> None:
    asked = (at(1, 2, looked(last)), at(3, 4, stale(last, None)), at(5, 6, looked(last)))
    assert the_finding(ordered(*asked, rows=pipeline_rows(last))).correlation_id == uid("loser")


def test_a_success_on_another_version_than_the_expected_one_fails() -> None:
    finding = the_finding(ordered(moved(2, expected=0)))
    assert finding.says == "succeeded on version 1 although it expected version 0"
    assert the_finding(ordered(moved(2, expected=1, changed=False)))


def test_a_refusal_for_a_final_stage_that_it_never_had_fails() -> None:
    told = {"type": "urn:problem:terminal-stage", "current_stage": "won"}
    assert "a stage that it never had" in the_finding(ordered(operation("move_stage", 409, flow="x", answer=told))).says


def test_a_stage_that_it_had_twice_may_be_the_first_or_the_second_one() -> None:
    history = (*HISTORY[:2], step(3, "demo", "engaged"))
    told = {"type": "urn:problem:terminal-stage", "current_stage": "engaged"}
    refused = at(1, 2, operation("move_stage", 409, flow="x", answer=told))
    rows = Rows(stages=(now_in("engaged", 3),), history=history)
    assert ordered(refused, at(3, 4, moved(2)), rows=rows).status == "pass"


def test_a_change_after_somebody_was_refused_for_a_final_stage_fails() -> None:
    told = {"type": "urn:problem:terminal-stage", "current_stage": WALK[3]}
    refused = operation("move_stage", 409, flow="x", answer=told)
    assert the_finding(ordered(at(1, 2, refused), at(3, 4, moved(3))))


def test_a_read_of_a_version_that_was_never_made_fails() -> None:
    says = the_finding(ordered(looked(2), rows=pipeline_rows(1))).says
    assert says == "read saw version 2, which was never made; the last one is 1"


def test_a_version_that_its_row_has_was_made_although_history_lacks_it() -> None:
    """Which is wrong in itself, but no reader's fault."""
    rows = msgspec.structs.replace(pipeline_rows(2), history=HISTORY[:1])
    assert ordered(looked(2), rows=rows).status == "pass"


def test_a_version_with_the_stage_of_another_one_fails() -> None:
    says = the_finding(ordered(looked(1, "new"))).says
    assert says == "the stage that read tells of version 1 is not what it was"
    assert the_finding(ordered(looked(0, "demo")))
    told = {"stage": "demo", "from_stage": "new", "version": 2, "changed": True}
    assert "tells of version 1" in the_finding(ordered(operation("move_stage", 200, flow="x", answer=told))).says


def test_two_answers_that_tell_one_version_differently_fail() -> None:
    assert "the name that read tells" in the_finding(crm_ordered(lead_seen(2), lead_seen(2, name="Eve"))).says
    assert "Eve" not in the_finding(crm_ordered(lead_seen(2), lead_seen(2, name="Eve"))).says


def test_the_last_version_with_another_owner_than_its_row_fails() -> None:
    assert "the owner_id" in the_finding(crm_ordered(lead_seen(2, owner=uid("eve")), owner=uid("ada"))).says


def test_a_change_that_is_told_something_else_than_it_asked_for_fails() -> None:
    changed = msgspec.structs.replace(lead_seen(2, "change_lead"), arguments={"name": "Eve", "phone": None})
    assert "the name that change_lead was told" in the_finding(crm_ordered(changed)).says


def test_what_changes_with_a_version_that_was_not_to_change_it_fails() -> None:
    changed = msgspec.structs.replace(lead_seen(2, "change_lead"), arguments={"phone": "1", "expected_version": 1})
    says = the_finding(crm_ordered(at(1, 2, lead_seen(1, name="Eve")), at(3, 4, changed))).says
    assert says == "the name changed with version 2, which was not to change it"
    renamed = msgspec.structs.replace(changed, arguments={"name": "Ada"})
    assert crm_ordered(at(1, 2, lead_seen(1, name="Eve")), at(3, 4, renamed)).status == "pass"
    assert crm_ordered(at(1, 2, lead_seen(0, name="Eve")), at(3, 4, changed)).status == "pass"


def test_a_change_that_changed_nothing_is_not_to_blame_for_its_version() -> None:
    unchanged = msgspec.structs.replace(lead_seen(2, "change_lead", changed=False), arguments={"phone": "1"})
    assert crm_ordered(at(1, 2, lead_seen(1, name="Eve")), at(3, 4, unchanged)).status == "pass"


def test_a_version_that_a_change_to_what_was_there_already_made_fails() -> None:
    again = msgspec.structs.replace(lead_seen(2, "change_lead"), arguments={"name": " Ada ", "phone": None})
    says = the_finding(crm_ordered(at(1, 2, lead_seen(1)), at(3, 4, again))).says
    assert says == "change_lead made version 2, although version 1 had all that it asked for"
    rows = msgspec.structs.replace(pipeline_rows(1), history=(step(1, "new", "engaged"), step(2, "engaged", "engaged")))
    stayed = move_asked(stage="engaged", version=2)
    assert "move_stage made version 2, although" in the_finding(ordered(stayed, rows=rows)).says


def test_a_change_of_one_thing_among_others_makes_a_version() -> None:
    changed = msgspec.structs.replace(
        lead_seen(2, "change_lead", phone="1"), arguments={"name": "Ada", "phone": "1", "expected_version": 1}
    )
    assert crm_ordered(at(1, 2, lead_seen(1, phone=None)), at(3, 4, changed)).status == "pass"
    assert crm_ordered(changed).status == "pass"


def test_each_change_is_made_at_a_time_of_its_own() -> None:
    changed = lead_seen(2, "change_lead", updated_at="later")
    assert crm_ordered(at(1, 2, lead_seen(1, updated_at="before")), at(3, 4, changed)).status == "pass"


def test_a_lead_that_is_not_there_for_whoever_comes_after_its_creation_fails() -> None:
    created = at(1, 2, lead_asked())
    gone = operation("move_stage", 404, flow="gone", arguments={"stage": "demo", "expected_version": 0})
    assert the_finding(crm_ordered(created, at(3, 4, gone), version=1)).correlation_id == uid("gone")
    no_deal = operation("create_deal", 404, flow="gone", arguments={"lead_id": uid("lead")})
    assert the_finding(crm_ordered(created, at(3, 4, no_deal), version=1)).service == "crm"


def test_an_acknowledgement_without_its_version_proves_nothing() -> None:
    assert ordered(without_version(moved(1))).status == "unknown"
    rows = msgspec.structs.replace(pipeline_rows(1), outbox=_moves((1, "move 1")))
    assert ordered(without_version(moved(1)), stale(0, 1), rows=rows).status == "unknown"
    assert crm_ordered(operation("create_lead", 201, flow="x", answer={"id": uid("lead")})).status == "unknown"


# --- real_time_order: good --------------------------------------------------------------------------------------


def test_whoever_overlaps_a_change_sees_it_or_not() -> None:
    result = ordered(at(1, 9, moved(1)), at(2, 3, looked(0)), at(4, 5, looked(1)))
    assert (result.status, result.seen) == ("pass", 3)


def test_what_ends_when_another_begins_is_no_order() -> None:
    assert ordered(at(1, 3, moved(1)), at(3, 4, looked(0))).status == "pass"


def test_a_change_that_nobody_answered_may_happen_after_its_client_gave_up() -> None:
    rows = msgspec.structs.replace(pipeline_rows(1), outbox=_moves((1, "move 1")))
    late = (at(1, 2, moved(1, None)), at(3, 4, looked(0)), at(5, 6, looked(1)))
    assert ordered(*late, rows=rows).status == "pass"


def test_a_change_that_nobody_answered_and_that_never_happened_is_no_trouble() -> None:
    assert ordered(at(1, 2, moved(1, 503)), at(3, 4, looked(0)), rows=pipeline_rows(0)).status == "pass"


def test_a_version_that_automation_made_may_come_at_any_time() -> None:
    assert ordered(at(1, 2, moved(1)), at(3, 4, looked(2)), at(5, 6, moved(3))).status == "pass"


def test_a_refusal_shows_the_version_that_stood_in_its_way() -> None:
    asked = (at(1, 9, moved(1, expected=0)), at(2, 8, stale(0, 1)), at(3, 9, stale(0, None)))
    assert ordered(*asked).status == "pass"


def test_a_refusal_may_come_before_the_version_that_it_expects() -> None:
    assert ordered(at(1, 2, stale(1, None)), at(1, 9, moved(1)), rows=pipeline_rows(1)).status == "pass"


def test_a_patch_that_changed_nothing_is_a_read() -> None:
    asked = (at(1, 2, moved(1)), at(3, 4, moved(1, changed=False, expected=1)))
    assert ordered(*asked, rows=pipeline_rows(1)).status == "pass"
    assert ordered(*asked, at(5, 6, looked(0)), rows=pipeline_rows(1)).status == "fail"


def test_nobody_expects_a_lead_that_does_not_exist() -> None:
    gone = operation("move_stage", 404, flow="gone", arguments={"stage": "demo", "expected_version": 0})
    assert ordered(gone, rows=Rows()).status == "idle"


def test_a_lead_that_is_not_there_before_it_is_made_is_in_order() -> None:
    missed = msgspec.structs.replace(operation("read", 404, flow="gone"), entity_id=uid("lead"))
    assert crm_ordered(at(1, 5, missed), at(2, 4, lead_asked()), version=1).status == "pass"


def test_the_versions_of_a_lead_and_of_its_stage_are_counted_apart() -> None:
    rows = msgspec.structs.replace(pipeline_rows(1), leads=(LeadRow(uid("lead"), EMAIL, None, 2),))
    assert ordered(at(1, 2, lead_seen(2)), at(3, 4, looked(1)), at(5, 6, lead_seen(2)), rows=rows).status == "pass"


def test_two_entities_are_ordered_apart() -> None:
    other = msgspec.structs.replace(looked(0), entity_id=uid("another lead"))
    assert ordered(at(1, 2, looked(3)), at(3, 4, other)).status == "pass"


def test_a_refusal_for_another_reason_is_no_look() -> None:
    told = {"type": "urn:problem:user-unknown"}
    refused = operation("change_lead", 409, flow="x", answer=told, arguments={"expected_version": 2})
    assert crm_ordered(at(1, 2, lead_seen(2)), at(3, 4, refused)).seen == 1


def test_spaces_that_the_system_leaves_out_were_not_asked_for() -> None:
    changed = msgspec.structs.replace(
        lead_seen(2, "change_lead", phone="1"), arguments={"name": " Ada ", "phone": None}
    )
    assert crm_ordered(changed).status == "pass"


def test_who_changes_a_version_who_reads_it_and_who_is_refused_for_it_are_told_the_same() -> None:
    told = {"type": "urn:problem:stale-version", "current_version": 2, "detail": "in words"}
    refused = operation("change_lead", 409, flow="x", answer=told, arguments={"expected_version": 1})
    again = msgspec.structs.replace(refused, answer=told | {"detail": "in other words"})
    asked = (lead_seen(2, "change_lead"), lead_seen(2), refused, again)
    assert crm_ordered(*(at(n, n, one) for n, one in enumerate(asked))).status == "pass"


def test_a_list_tells_no_version_and_nothing_is_idle() -> None:
    listed = operation("read", 200, flow="list", answer={"items": []})
    assert ordered(listed, msgspec.structs.replace(listed, entity_id=uid("lead"))).status == "idle"
    deal = operation("create_deal", 201, flow="x", answer={"id": uid("deal"), "version": 1})
    assert ordered(deal, rows=Rows(deals=(DealRow(uid("deal"), uid("lead"), 1),))).seen == 1


# --- real_time_order: the slow twin -----------------------------------------------------------------------------

ONE = Register("pipeline", "lead", "one")
History = tuple[Sighting, ...]


def sighting(how: How, version: int, began: int, ended: int) -> Sighting:
    return Sighting(ONE, how, version, at(began, ended, operation("read", 200, flow="x")))


def can_be_replayed(history: History, last: int) -> bool:
    """Obviously right: try every order that agrees with real time on a register that counts its versions.

    Versions that nobody in the history made are made by somebody else, between any two operations.
    """
    own = {one.version for one in history if one.how in ("made", "begun")}

    def reachable(states: Iterable[int]) -> set[int]:
        found = set(states)
        for version in range(1, last + 1):
            if version - 1 in found and version not in own:
                found.add(version)
        return found

    def after(one: Sighting, states: set[int]) -> set[int]:
        match one.how:
            case "made" | "begun":
                return {one.version} if one.version - 1 in states else set()
            case "saw":
                return states & {one.version}
            case "reached":
                return {state for state in states if state >= one.version}
            case "not":
                return states - {one.version}

    def ends(one: Sighting) -> float:
        return float("inf") if one.how == "begun" else one.operation.returned_ns

    def search(left: History, states: set[int]) -> bool:
        states = reachable(states)
        if not states or not left:
            return last in states
        return any(
            search(left[:index] + left[index + 1 :], after(one, states))
            for index, one in enumerate(left)
            if not any(ends(other) < one.operation.invoked_ns for other in left)
        )

    return search(history, {0})


def a_history(random: Random) -> tuple[History, int]:
    """Up to six operations on a register with up to three versions: a true story, of which some parts are bent."""
    last = random.randint(0, 3)
    moments = sorted(random.sample(range(2, 20), last))
    told: list[tuple[How, int, int, int]] = []
    for version, moment in enumerate(moments, start=1):
        if random.random() < 0.7:
            how: How = "made" if random.random() < 0.7 else "begun"
            told.append((how, version, *_around(random, moment)))
    for _ in range(random.randint(2, 6 - len(told))):
        began, ended = _around(random, random.randint(1, 20))
        version = sum(moment <= random.randint(began, ended) for moment in moments)
        others = [other for other in range(5) if other != version]
        looks: list[tuple[How, int]] = [
            ("saw", version),
            ("reached", random.randint(0, version)),
            ("not", random.choice(others)),
        ]
        told.append((*random.choice(looks), began, ended))
    for _ in range(random.randint(0, 3)):
        index = random.randrange(len(told))
        how, version, _, _ = told[index]
        if random.random() < 0.5:
            version = random.randint(how in ("made", "begun"), last)
        told[index] = (how, version, *_around(random, random.randint(1, 20)))
    random.shuffle(told)
    return tuple(sighting(*one) for one in told), last


def _around(random: Random, moment: int) -> tuple[int, int]:
    return moment - random.randint(0, 2), moment + random.randint(0, 2)


def test_twenty_thousand_small_histories_are_judged_as_by_trying_every_order() -> None:
    random, bad = Random(4), 0
    for _ in range(20_000):
        history, last = a_history(random)
        possible = can_be_replayed(history, last)
        bad += not possible
        assert (contradiction(history, last) is None) == possible, (history, last)
    assert 4_000 < bad < 16_000


@steady
@given(st.randoms(use_true_random=False), st.permutations(range(6)))
def test_the_order_in_which_operations_were_written_down_does_not_matter(random: Random, order: list[int]) -> None:
    history, last = a_history(random)
    shuffled = tuple(history[index] for index in order if index < len(history))
    assert (contradiction(shuffled, last) is None) == (contradiction(history, last) is None)


# --- session_monotonic ------------------------------------------------------------------------------------------


def session(*asked: Operation, name: str = "s1") -> Result:
    operations = tuple(msgspec.structs.replace(op, session=op.session or name) for op in asked)
    return SESSION.check(evidence(operations=operations, rows=pipeline_rows()))


def test_a_client_that_sees_an_older_version_than_before_fails() -> None:
    finding = the_finding(session(at(1, 2, looked(2)), at(3, 4, looked(1, flow="again"))))
    assert finding.says == "session s1 was told of version 1 (read) after it was told of version 2 (read)"
    assert (finding.entity, finding.correlation_id, finding.edge) == (LEAD, uid("again"), "client→pipeline")


def test_a_client_that_does_not_read_what_it_has_written_fails() -> None:
    assert "after it made version 1" in the_finding(session(at(1, 2, moved(1)), at(3, 4, looked(0)))).says


def test_a_client_that_makes_a_version_that_it_has_seen_already_fails() -> None:
    assert the_finding(session(at(1, 2, looked(1)), at(3, 4, moved(1)))).correlation_id == uid("move 1")


def test_a_refusal_that_shows_an_older_version_fails() -> None:
    assert the_finding(session(at(1, 2, looked(2)), at(3, 4, stale(7, 1)))).correlation_id == uid("loser")


def test_a_lead_that_is_gone_for_the_client_that_made_it_fails() -> None:
    gone = msgspec.structs.replace(operation("read", 404, flow="gone"), entity_id=uid("lead"))
    assert the_finding(session(at(1, 2, lead_asked()), at(3, 4, gone))).service == "crm"


def test_a_step_back_behind_a_version_long_ago_fails_once() -> None:
    assert the_finding(session(*(at(2 * n, 2 * n + 1, looked(v)) for n, v in enumerate((0, 2, 2, 1, 1, 1)))))


def test_versions_that_rise_or_stay_pass_and_comparisons_are_counted() -> None:
    result = session(at(1, 2, moved(1)), at(3, 4, looked(1)), at(5, 6, looked(3)))
    assert (result.status, result.seen, result.floor) == ("pass", 2, 2)


def test_two_sessions_know_nothing_of_each_other() -> None:
    asked = (at(1, 2, looked(2)), at(3, 4, looked(3)), at(5, 6, looked(0), session="s2"), at(7, 8, looked(0)))
    assert session(*asked[:3]).status == "pass"
    assert session(*asked).status == "fail"


@pytest.mark.parametrize("began", [4, 5])
def test_of_two_operations_that_overlap_neither_was_first(began: int) -> None:
    assert session(at(1, 5, looked(2)), at(began, 6, looked(1))).status == "pass"


def test_the_newest_version_counts_whenever_it_was_seen() -> None:
    overlapping = (at(1, 5, looked(2)), at(1, 6, looked(1)))
    assert session(*overlapping, at(7, 8, looked(1))).status == "fail"
    assert session(*overlapping, at(7, 8, looked(2))).status == "pass"


def test_a_refusal_for_a_final_stage_shows_the_least_that_the_version_can_be() -> None:
    told = {"type": "urn:problem:terminal-stage", "current_stage": WALK[1]}
    refused = operation("move_stage", 409, flow="x", answer=told)
    assert session(at(1, 2, looked(2)), at(3, 4, refused), at(5, 6, looked(2))).status == "pass"
    assert session(at(1, 2, refused), at(3, 4, looked(0))).status == "fail"


def test_what_nobody_answered_was_told_to_nobody() -> None:
    rows = msgspec.structs.replace(pipeline_rows(), outbox=_moves((3, "move 3")))
    asked = (at(1, 2, moved(3, None), session="s1"), at(3, 4, looked(0), session="s1"))
    assert SESSION.check(evidence(operations=asked, rows=rows)).status == "idle"


def test_a_refusal_without_a_version_shows_none() -> None:
    assert session(at(1, 2, looked(2)), at(3, 4, stale(1, None)), at(5, 6, looked(2))).status == "pass"


def test_another_lead_is_another_matter() -> None:
    other = msgspec.structs.replace(looked(0), entity_id=uid("another lead"))
    assert session(at(1, 2, looked(2)), at(3, 4, other)).status == "idle"


def test_old_evidence_without_sessions_is_idle() -> None:
    assert SESSION.check(evidence(operations=(at(1, 2, looked(2)), at(3, 4, looked(1))))).status == "idle"
    old = msgspec.to_builtins(looked(1))
    del old["session"]
    assert msgspec.convert(old, Operation).session == ""


def test_answers_that_hold_no_version_prove_nothing() -> None:
    assert session(at(1, 2, looked(1)), at(3, 4, without_version(moved(2)))).status == "unknown"


# --- whose session it is ----------------------------------------------------------------------------------------


class _Answers(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, format: str, *args: object) -> None:
        pass


def test_each_client_has_a_session_in_each_of_its_threads() -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Answers)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    recording = Recording()
    url = f"http://127.0.0.1:{server.server_port}"
    clients = [CrmClient(url, "token", recording) for _ in range(2)]
    for client in clients:
        with ThreadPoolExecutor(1) as other_thread:
            asked = [client.lead("1"), client.lead("2"), *(other_thread.submit(client.lead, n).result() for n in "34")]
        assert asked[0].session == asked[1].session
        assert asked[2].session == asked[3].session
        client.close()
    server.shutdown()
    server.server_close()
    assert len({op.session for op in recording.operations}) == 4
    assert all(op.session for op in recording.operations)
