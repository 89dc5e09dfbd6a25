"""When all is whole again, so is the service: within a bound, for those who ask and for what waited."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from harness.checks.recovery_bound import PROPERTY
from harness.checks.verdict import Result
from harness.contract.log_lines import Line
from harness.evidence.log_files import LostLines
from harness.evidence.records import Fault, Operation
from tests.builders import (
    Story,
    asked,
    evidence,
    lead_asked,
    moment,
    move_asked,
    moved_lead,
    received,
    scenario,
    settled,
    target,
    the_finding,
    uid,
)

bounds = target().bounds
assert bounds is not None
FIRST_S, BACKLOG_S, STANDSTILL_S = int(bounds.first_success_s), int(bounds.backlog_s), int(bounds.standstill_s)
HEALED, END = 100, 200
SECOND_NS = 1_000_000_000


def fault(until: int = HEALED) -> Fault:
    return Fault(
        kind="cut", place="automation→broker", injected_at=moment(50), healed_at=moment(until), hits=1, proof=""
    )


def at(began: int, ended: int, operation: Operation) -> Operation:
    """Seconds of the scenario, on a monotonic clock that is 1000 s ahead of it."""
    return replace(operation, invoked_ns=(1000 + began) * SECOND_NS, returned_ns=(1000 + ended) * SECOND_NS)


def judged(
    *operations: Operation,
    lines: list[Line] | None = None,
    faults: tuple[Fault, ...] = (),
    until: int = END,
    **parts: Any,
) -> Result:
    whole = scenario(since=moment(0), until=moment(until), clock=(moment(until), (1000 + until) * SECOND_NS))
    parts |= {"faults": faults or (fault(),), "operations": operations, "scenario": whole}
    return PROPERTY.check(evidence(lines or [], **parts))


def stir(second: int) -> Line:
    """Something of another flow that shows the system at work."""
    story = Story(flow="created")
    asked(story, "crm", "post")
    story.lines[0].ts = moment(second)
    return story.lines[0]


def handled(second: int | None, status: str = "acked") -> list[Line]:
    """An event that is stored in the outage and settled at this second, if ever."""
    story = moved_lead(Story())
    for number, line in enumerate(story.lines):
        line.ts = moment(60 + number)
    if second is not None:
        received(story, "moved", "d1")
        settled(story, "moved", "d1", status)
        for line in story.lines[-2:]:
            line.ts = moment(second)
    return story.lines


# --- the backlog ------------------------------------------------------------------------------------------------


def test_an_event_that_is_handled_too_late_fails_and_names_its_flow() -> None:
    finding = the_finding(judged(lines=handled(HEALED + 30)))
    assert finding.says == (
        f"1 event(s) waited when the last fault healed at {moment(HEALED)}, and were done with 30.0 s later, "
        f"expected within {BACKLOG_S} s"
    )
    assert (finding.service, finding.correlation_id) == ("automation", uid("moved"))


def test_a_consumer_that_never_comes_back_fails() -> None:
    assert "and still did 100.0 s later" in the_finding(judged(lines=handled(None))).says


def test_a_standstill_with_a_backlog_fails_before_its_time_is_over() -> None:
    lines = [*handled(None), stir(HEALED + 1)]
    finding = the_finding(judged(lines=lines, until=HEALED + 1 + STANDSTILL_S))
    assert finding.says.endswith(f"and still did 7.0 s later; nothing had stirred for {STANDSTILL_S}.0 s")


def test_a_retry_is_not_the_end_of_it() -> None:
    assert judged(lines=handled(HEALED + 1, "retried")).status == "fail"


@pytest.mark.parametrize("second", [HEALED - 1, HEALED + 1, HEALED + BACKLOG_S])
def test_what_is_handled_in_time_passes(second: int) -> None:
    assert judged(lines=handled(second)).status in ("pass", "idle")


def test_a_dead_letter_is_done_with() -> None:
    story = moved_lead(Story())
    story.write("automation", "event.dead_lettered", "burial", event="moved", reason="delivery_limit")
    assert judged(lines=story.lines).status == "idle"


def test_a_second_delivery_long_afterwards_is_no_backlog() -> None:
    assert judged(lines=[*handled(HEALED + 1), *handled(HEALED + 90)[-2:]]).status == "pass"


def test_an_event_of_later_on_is_no_backlog() -> None:
    lines = handled(HEALED + 60)
    for line in lines:
        line.ts = max(line.ts, moment(HEALED + 20))
    assert judged(lines=lines).status == "idle"


def test_it_counts_from_the_last_fault() -> None:
    assert judged(lines=handled(150), faults=(fault(), fault(148))).status == "pass"


def test_a_scenario_that_ends_while_it_is_still_at_work_proves_nothing() -> None:
    lines = [*handled(None), stir(HEALED + BACKLOG_S - 2)]
    assert judged(lines=lines, until=HEALED + BACKLOG_S - 1).status == "pass"


def test_where_lines_were_lost_one_that_is_missing_is_unknown() -> None:
    lost = LostLines("automation", "pipeline-1", "pipeline-1.ndjson", 9, 9, "", moment(150))
    assert judged(lines=handled(None), lost=[lost]).status == "unknown"


# --- clients ----------------------------------------------------------------------------------------------------


def test_clients_who_are_served_too_late_fail() -> None:
    turned_away = [at(HEALED + n, HEALED + n + 1, lead_asked(503)) for n in range(FIRST_S)]
    finding = the_finding(judged(*turned_away, at(HEALED + 19, HEALED + 20, lead_asked())))
    assert finding.says == (
        "create_lead was served only 20.0 s after the first who asked since the last fault healed at "
        f"{moment(HEALED)}, expected within {FIRST_S} s"
    )


def test_clients_who_are_never_served_fail() -> None:
    turned_away = [at(HEALED + n, HEALED + n + 1, lead_asked(None)) for n in range(FIRST_S + 2)]
    assert "was not served for" in the_finding(judged(*turned_away)).says


def test_another_action_that_is_served_does_not_help() -> None:
    turned_away = [at(HEALED + n, HEALED + n + 1, lead_asked(503)) for n in range(FIRST_S + 2)]
    assert judged(*turned_away, at(HEALED, HEALED + 1, move_asked())).status == "fail"


@pytest.mark.parametrize("status", [201, 409])
def test_an_answer_in_time_serves_a_refusal_too(status: int) -> None:
    turned_away = at(HEALED + 1, HEALED + 1, lead_asked(503))
    answered = [at(HEALED + n, HEALED + n + 1, lead_asked(status)) for n in range(2, FIRST_S + 9)]
    assert judged(turned_away, *answered).status == "pass"


def test_who_asks_late_is_not_served_late() -> None:
    assert judged(at(HEALED + 50, HEALED + 51, lead_asked())).status == "pass"


def test_one_who_gives_up_early_proves_nothing() -> None:
    assert judged(at(HEALED + 1, HEALED + 2, lead_asked(None))).status == "pass"


def test_what_was_asked_in_the_outage_may_take_as_long_as_it_does() -> None:
    assert judged(at(50, HEALED + 30, lead_asked(None))).status == "idle"


def test_without_a_fault_it_is_idle() -> None:
    assert PROPERTY.check(evidence(handled(150))).status == "idle"
