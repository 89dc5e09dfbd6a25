"""Which dead letters a drawn schedule brings about by right; every other one stays a finding."""

from __future__ import annotations

import msgspec
import pytest

from harness.contract.log_lines import ActionCompleted, EventDeadLettered
from harness.evidence.records import RuleRow
from harness.target import load_target
from scenarios.deaths import Excuse, expected_deaths
from tests.builders import Story, died, exhausted_lead, happy_rows, moment, moved_lead, step, uid

TARGET = load_target()
ROWS = happy_rows()
ALWAYS = Excuse(moment(0), moment(3_000))
TOO_LATE = RuleRow("on", "lead.stage.changed", None, "move_stage", True, {"stage": "proposal"})


def deaths(story: Story, *excuses: Excuse, rows: object = ROWS) -> list[tuple[str, str]]:
    found = expected_deaths(TARGET, story.lines, rows, excuses)  # type: ignore[arg-type]
    return [(death.correlation_id, death.reason) for death in found]


def failures(story: Story) -> list[str]:
    failed = [line.ts for line in story.lines if isinstance(line, ActionCompleted)]
    assert len(failed) > 1
    return failed


def test_an_event_whose_attempts_all_failed_under_such_a_fault_dies_rightly() -> None:
    assert deaths(exhausted_lead(), ALWAYS) == [(uid("moved"), "exhausted")]


def test_without_such_a_fault_it_dies_wrongly() -> None:
    assert deaths(exhausted_lead()) == []


def test_one_attempt_that_failed_for_no_reason_is_one_too_many() -> None:
    story = exhausted_lead()
    failed = failures(story)
    before, after = Excuse(moment(0), failed[0]), Excuse(failed[1], moment(3_000))
    assert deaths(story, before, after) == [(uid("moved"), "exhausted")]
    assert deaths(story, Excuse(failed[-1], moment(3_000))) == []


def test_what_takes_a_peer_away_may_cost_one_attempt_and_not_the_next() -> None:
    story = exhausted_lead()
    failed = failures(story)
    outage = ALWAYS._replace(most=1)
    assert deaths(story, outage) == []
    assert deaths(story, ALWAYS._replace(most=len(failed) - 1)) == []
    assert deaths(story, outage, ALWAYS._replace(most=len(failed) - 1)) == [(uid("moved"), "exhausted")]
    assert deaths(story, outage, Excuse(failed[1], moment(3_000))) == [(uid("moved"), "exhausted")]


def test_an_excuse_that_lasts_is_kept_for_the_attempts_that_have_no_other() -> None:
    story = exhausted_lead()
    failed = failures(story)
    short, long = Excuse(moment(0), failed[0], most=1), Excuse(moment(0), moment(3_000), most=len(failed) - 1)
    for excuses in ((short, long), (long, short)):
        assert deaths(story, *excuses) == [(uid("moved"), "exhausted")]


def test_a_death_of_another_reason_is_none_of_theirs() -> None:
    story = exhausted_lead()
    for line in story.lines:
        if isinstance(line, EventDeadLettered):
            line.reason = "loop_guard"
    assert deaths(story, ALWAYS) == []


@pytest.mark.parametrize(("to_stage", "rightly"), [("lost", True), ("engaged", False)])
def test_a_rule_that_moves_what_has_come_to_its_end_comes_too_late(to_stage: str, rightly: bool) -> None:
    story = moved_lead(Story())
    died(story, attempts=1, reason="non_retryable")
    history = (*ROWS.history, step(2, "qualified", to_stage))
    rows = msgspec.structs.replace(ROWS, history=history, rules=(TOO_LATE,))
    assert deaths(story, rows=rows) == ([(uid("moved"), "non_retryable")] if rightly else [])


def test_no_rule_moves_it_so_nothing_comes_too_late() -> None:
    story = moved_lead(Story())
    died(story, attempts=1, reason="non_retryable")
    rows = msgspec.structs.replace(ROWS, history=(*ROWS.history, step(2, "qualified", "lost")), rules=())
    assert deaths(story, ALWAYS, rows=rows) == []
