"""effect_exactly_once: what was triggered has one effect, what was not has none, and every dead letter one alert."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from harness.checks.effect_exactly_once import PROPERTY
from harness.checks.verdict import Result
from harness.contract.log_lines import Line, kind_of
from harness.evidence.records import Fault, HistoryRow, Received, RuleRow
from tests.builders import (
    Story,
    a_lead,
    created_lead,
    exhausted_lead,
    happy_evidence,
    happy_rows,
    moment,
    now_in,
    qualified_lead,
    replayed_lead,
    resting,
    step,
    stored,
    the_finding,
    uid,
)

NOTIFY, ASSIGN, ESCALATE = "notify-qualified", "assign-created", "escalate-qualified"
RULES = (
    RuleRow(NOTIFY, "lead.stage.changed", "qualified", "notify", True),
    RuleRow(ASSIGN, "lead.created", None, "assign_user", True),
)
ASSIGNED = stored("created", event_id=uid("assigned"), event_type="lead.assigned", causation_id=uid("created"))
OUTAGE = Fault(kind="cut", place="automation→webhook", injected_at="", healed_at="", hits=1, proof="")


def message(**changes: Any) -> Received:
    whole: dict[str, Any] = {
        "kind": "webhook", "place": "/hooks", "received_at": "", "key": uid("execution"), "signed": True, "status": 204,
        "digest": "d", "body": "", "correlation_id": uid("moved"), "rule_id": NOTIFY, "event_id": uid("moved"),
        "entity_id": uid("lead"),
    }  # fmt: skip
    return Received(**(whole | changes))


def alert(**changes: Any) -> Received:
    return message(**({"place": "/alerts", "key": uid("alert"), "rule_id": None} | changes))


def judged(
    *received: Received, rules: tuple[RuleRow, ...] = RULES, events: Any = (ASSIGNED,), lines: Any = None, **parts: Any
) -> Result:
    rows = happy_rows(rules=rules)
    lead = msgspec.structs.replace(a_lead(), owner_id=uid("agent") if events else None)
    rows = msgspec.structs.replace(rows, leads=(lead,), outbox=(*rows.outbox, *events))
    rows = msgspec.structs.replace(rows, **parts.pop("rows", {}))
    return PROPERTY.check(happy_evidence(lines, rows=rows, received=received, **parts))


def dead() -> list[Line]:
    return exhausted_lead(created_lead(Story())).lines


# --- good histories ---------------------------------------------------------------------------------------------


def test_one_message_and_one_assignment_pass() -> None:
    result = judged(message())
    assert (result.status, result.seen, result.floor) == ("pass", 2, 1)


def test_failed_attempts_under_one_key_are_one_effect() -> None:
    assert judged(message(status=500), message(status=500), message()).status == "pass"


def test_a_second_copy_under_one_key_after_a_fault_passes() -> None:
    assert judged(message(), message(), faults=(OUTAGE,)).status == "pass"


def test_an_owner_chosen_by_hand_needs_no_assignment() -> None:
    lead = msgspec.structs.replace(a_lead(), owner_id=uid("somebody"))
    assert judged(message(), events=(), rows={"leads": (lead,)}).status == "pass"


def test_what_was_given_up_needs_no_effect_but_an_alert() -> None:
    assert judged(message(status=500), alert(), lines=dead(), resting=(resting("moved"),)).status == "pass"


def test_a_replayed_event_has_its_effect_and_kept_its_alert() -> None:
    assert judged(message(), alert(), lines=replayed_lead(created_lead(Story())).lines).status == "pass"


def test_a_timer_that_never_fired_needs_no_escalation() -> None:
    rule = RuleRow(ESCALATE, "lead.stage.changed", "qualified", "escalate", True)
    assert judged(message(), rules=(*RULES, rule)).status == "pass"


def test_two_changes_that_trigger_one_rule_are_one_effect() -> None:
    rows = {
        "history": (step(1, "new", "qualified"), step(2, "qualified", "engaged"), step(3, "engaged", "qualified")),
        "stages": (now_in("qualified", 3),),
        "outbox": (*happy_rows().outbox, ASSIGNED, stored("moved", event_id=uid("again"), entity_version=3)),
    }
    assert judged(message(), rows=rows).status == "pass"


# --- bad histories ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("received", "says"),
    [
        ([], "0 messages that were accepted"),
        ([message(status=500)], "0 messages that were accepted"),
        ([message(), message(key=uid("other"))], "2 keys"),
        ([message(status=500, key=uid("other")), message()], "2 keys"),
        ([message(), message()], "was sent 2 times although it was accepted"),
        ([message(status=500, digest="other"), message()], "2 different messages under the key"),
        ([message(signed=False)], "a message of rule notify-qualified without a signature"),
        ([message(key=None)], "a message of rule notify-qualified without a key"),
        ([message(), message(key=uid("x"), rule_id="nobody")], "that nothing triggered"),
        ([message(), alert()], "which did not die"),
    ],
)
def test_a_message_too_few_too_many_or_in_disguise_fails(received: list[Received], says: str) -> None:
    assert says in the_finding(judged(*received)).says


def test_what_was_given_up_has_one_effect_at_most() -> None:
    twice = (message(status=500), message(key=uid("other")), alert())
    assert "2 keys" in the_finding(judged(*twice, lines=dead(), resting=(resting("moved"),))).says


def test_each_lead_that_triggers_a_rule_has_an_effect_of_its_own() -> None:
    rows = {
        "history": (step(1, "new", "qualified"), step(1, "new", "qualified", lead="second", by="second")),
        "outbox": (
            *happy_rows().outbox,
            ASSIGNED,
            stored("moved", event_id=uid("second"), entity_id=uid("second"), correlation_id=uid("second")),
        ),
    }
    finding = the_finding(judged(message(), rows=rows))
    assert (finding.entity, finding.correlation_id) == (f"lead {uid('second')}", uid("second"))
    second = message(key=uid("second"), entity_id=uid("second"), correlation_id=uid("second"))
    assert judged(message(), second, rows=rows).status == "pass"


def test_a_lead_that_nobody_got_fails() -> None:
    assert f"0 assignments of rule {ASSIGN}" in the_finding(judged(message(), events=())).says


def test_a_lead_that_was_given_twice_fails() -> None:
    again = msgspec.structs.replace(ASSIGNED, event_id=uid("assigned again"), entity_version=3)
    assert "2 assignments" in the_finding(judged(message(), events=(ASSIGNED, again))).says


def test_a_timer_that_fired_and_told_nobody_fails() -> None:
    rule = RuleRow(ESCALATE, "lead.stage.changed", "qualified", "escalate", True)
    story = qualified_lead(created_lead(Story()))
    story.write("automation", "timer.fired", "timer", event="moved", cause="moved", rule_id=ESCALATE)
    finding = the_finding(judged(message(), rules=(*RULES, rule), lines=story.lines))
    assert f"0 messages that were accepted of rule {ESCALATE}" in finding.says


@pytest.mark.parametrize("alerts", [[], [alert(status=500)], [alert(), alert(key=uid("second"))]])
def test_a_dead_letter_without_its_one_alert_fails(alerts: list[Received]) -> None:
    result = judged(message(status=500), *alerts, lines=dead(), resting=(resting("moved"),))
    assert "died 1 times and raised" in the_finding(result).says


@pytest.mark.parametrize(
    ("alerts", "says"),
    [
        ([alert(signed=False)], "an alert without a signature"),
        ([alert(key=None)], "an alert without a key"),
        ([alert(status=503, digest="other"), alert()], "2 different messages under the key"),
        ([alert(), alert()], "was sent 2 times although it was accepted"),
        ([alert(status=503, key=uid("first try")), alert()], "died 1 times and raised 2 alerts"),
    ],
)
def test_an_alert_whose_attempts_are_not_one_message_fails(alerts: list[Received], says: str) -> None:
    assert says in the_finding(judged(message(status=500), *alerts, lines=dead(), resting=(resting("moved"),))).says


def test_failed_attempts_of_an_alert_under_one_key_are_one_alert() -> None:
    alerts = (alert(status=503), alert(status=503), alert())
    assert judged(message(status=500), *alerts, lines=dead(), resting=(resting("moved"),)).status == "pass"


def test_an_event_that_was_delivered_twice_and_dies_twice_raises_one_alert() -> None:
    twice = [*dead(), *(line for line in dead() if kind_of(line) == "event.dead_lettered")]
    died = (resting("moved"), resting("moved"))
    assert judged(message(status=500), alert(), lines=twice, resting=died).status == "pass"


def test_an_event_that_dies_again_after_its_replay_raises_two_alerts() -> None:
    again = [line for line in dead() if kind_of(line) == "event.dead_lettered"]
    story = Story()
    story.write("automation", "dead_letter.replayed", "replay", event="moved")
    lines, rests = [*dead(), *again, *story.lines], (resting("moved"),)
    result = judged(message(status=500), alert(), lines=lines, resting=rests)
    assert "died 2 times and raised 1 alerts" in the_finding(result).says
    second = alert(key=uid("second"))
    assert judged(message(status=500), alert(), second, lines=lines, resting=rests).status == "pass"


def test_a_timer_that_fires_long_after_its_stage_was_left_fails() -> None:
    rule = RuleRow(ESCALATE, "lead.stage.changed", "qualified", "escalate", True)
    escalated = message(rule_id=ESCALATE, key=uid("escalation"))

    def fired(left_at: int) -> Result:
        story = qualified_lead(created_lead(Story()))
        story.write("automation", "timer.fired", "timer", event="moved", cause="moved", rule_id=ESCALATE)
        story.lines[-1].ts = moment(100)
        stages: dict[str, Any] = {"from_stage": "qualified", "to_stage": "engaged", "entity_version": 2}
        story.write("pipeline", "change.committed", "later", event="moved", **stages)
        story.lines[-1].ts = moment(left_at)
        return judged(message(), escalated, rules=(*RULES, rule), lines=story.lines)

    assert fired(99).status == "pass"
    assert fired(101).status == "pass"
    finding = the_finding(fired(98))
    assert finding.says == f"a timer of rule {ESCALATE} fired although its stage had been left"


def test_a_move_that_was_not_made_fails() -> None:
    rule = RuleRow("on", "lead.stage.changed", "qualified", "move_stage", True, {"stage": "proposal"})
    assert "0 moves to proposal" in the_finding(judged(message(), rules=(*RULES, rule))).says


def test_a_rule_that_moves_an_entity_again_because_of_a_later_event_fails() -> None:
    rules = tuple(
        RuleRow(f"from-{stage}", "lead.stage.changed", stage, "move_stage", True, {"stage": other})
        for stage, other in (("qualified", "engaged"), ("engaged", "qualified"))
    )
    names = ["moved", "there", "back", "there again"]

    def moved_by_rules(times: int) -> Result:
        chain = [stored("moved", event_id=uid(names[n]), entity_version=n + 1) for n in range(times + 1)]
        chain = [
            event if n == 0 else msgspec.structs.replace(event, causation_id=uid(names[n - 1]))
            for n, event in enumerate(chain)
        ]
        stages = ["new", "qualified", "engaged", "qualified", "engaged"]
        history = tuple(step(n + 1, stages[n], stages[n + 1]) for n in range(times + 1))
        outbox = (*(row for row in happy_rows().outbox if row.event_id != uid("moved")), ASSIGNED, *chain)
        rows = {"history": history, "stages": (now_in(stages[times + 1], times + 1),), "outbox": outbox}
        return judged(message(), rules=(*RULES, *rules), rows=rows)

    assert moved_by_rules(2).status == "pass"
    finding = the_finding(moved_by_rules(3))
    assert finding.says == "3 moves by rules, of which 2 fire for it, each once"
    assert (finding.entity, finding.edge) == (f"lead {uid('lead')}", "automation→pipeline")


def test_a_lead_that_a_rule_takes_from_its_owner_fails() -> None:
    def given(*versions: int) -> Result:
        by_rule, by_hand = (msgspec.structs.replace(ASSIGNED, entity_version=version) for version in versions)
        by_hand = msgspec.structs.replace(by_hand, event_id=uid("by hand"), causation_id=None)
        return judged(message(), rows={"outbox": (*happy_rows().outbox, by_rule, by_hand)})

    assert given(2, 3).status == "pass"
    finding = the_finding(given(3, 2))
    assert finding.says == f"rule {ASSIGN} took the lead from the owner that it had"
    assert (finding.entity, finding.edge) == (f"lead {uid('lead')}", "automation→crm")


# --- timers -----------------------------------------------------------------------------------------------------


def timed(*, due_at: str, fired_at: str = "", **parameters: int) -> Result:
    """A timer that was set for the lead; its event came at 100 s, its line was written at 101 s."""
    rule = RuleRow(ESCALATE, "lead.stage.changed", "qualified", "escalate", True, dict(parameters))
    story = qualified_lead(created_lead(Story()))
    about: dict[str, Any] = {"event": "moved", "cause": "moved", "rule_id": ESCALATE, "due_at": due_at}
    for line in story.lines:
        line.ts = moment(100) if kind_of(line) == "event.received" else line.ts
    story.write("automation", "timer.scheduled", "timer", **about)
    story.lines[-1].ts = moment(101)
    if fired_at:
        story.write("automation", "timer.fired", "timer", **about)
        story.lines[-1].ts = fired_at
    told = (message(rule_id=ESCALATE, key=uid("escalation")),) if fired_at else ()
    return judged(message(), *told, rules=(*RULES, rule), lines=story.lines)


@pytest.mark.parametrize("due_at", [110, 111])
def test_a_timer_is_due_when_its_rule_says(due_at: int) -> None:
    assert timed(due_at=moment(due_at), after_ms=10_000).status == "pass"


@pytest.mark.parametrize("due_at", [109, 112, 3000])
def test_a_timer_that_is_due_at_another_time_fails(due_at: int) -> None:
    finding = the_finding(timed(due_at=moment(due_at), after_ms=10_000))
    assert finding.says.startswith(f"a timer of rule {ESCALATE} is due at {moment(due_at)}, expected between")


def test_a_rule_that_does_not_say_how_long_leaves_it_to_the_system() -> None:
    assert timed(due_at=moment(3000)).status == "pass"


def test_a_timer_that_fires_before_it_is_due_fails() -> None:
    assert timed(due_at=moment(110), fired_at=moment(110)).status == "pass"
    assert "before it was due" in the_finding(timed(due_at=moment(110), fired_at=moment(109))).says


def test_a_timer_that_is_cancelled_although_its_stage_was_not_left_fails() -> None:
    def cancelled(*history: HistoryRow) -> Result:
        story = qualified_lead(created_lead(Story()))
        story.write("automation", "timer.cancelled", "timer", event="moved", cause="moved", rule_id=ESCALATE)
        return judged(
            message(), lines=story.lines, rows={"history": history, "outbox": (*happy_rows().outbox, ASSIGNED)}
        )

    entered = step(1, "new", "qualified")
    assert cancelled(entered, step(2, "qualified", "engaged")).status == "pass"
    finding = the_finding(cancelled(entered))
    assert finding.says == f"a timer of rule {ESCALATE} was cancelled although its stage was not left"
