"""Rules, their actions and the timers that they set."""

from __future__ import annotations

from collections.abc import Iterator

from harness.contract.log_lines import (
    ActionCompleted,
    ActionStarted,
    DeadLetterReplayed,
    EventDeadLettered,
    EventDeduplicated,
    EventPublished,
    EventSettled,
    EventStored,
    RuleEvaluated,
    TimerCancelled,
    TimerFired,
    TimerScheduled,
)
from harness.trace.flow import Flow, Surroundings
from harness.trace.kills import HANDLING_S, kills_in
from harness.trace.obligations import Obligation, State, exactly_one, tally

EVALUATED = "received → rule evaluated"
ACTED = "matched → action started → completed"


def received_evaluated(flow: Flow, around: Surroundings) -> Iterator[Obligation]:
    """Every enabled rule for the event's type is evaluated in the delivery that is acknowledged for good."""
    duplicates = {line.delivery_id for line in flow.of(EventDeduplicated)}
    evaluated = {(line.parent_span_id, line.rule_id) for line in flow.of(RuleEvaluated)}
    types = {line.event_id: line.event_type for line in flow.of(EventStored)}
    types.update({line.event_id: line.event_type for line in flow.of(EventPublished)})
    for line in flow.of(EventSettled):
        if line.status != "acked" or line.delivery_id in duplicates or line.event_id is None:
            continue
        for rule_id in sorted(around.rules_by_event_type.get(types.get(line.event_id, ""), ())):
            state: State = "closed" if (line.span_id, rule_id) in evaluated else "orphan"
            yield Obligation(EVALUATED, line, state, f"rule.evaluated of {rule_id}", line.service)


def matched_acted(flow: Flow, _around: Surroundings) -> Iterator[Obligation]:
    """A rule that matched ends with one success (or was done before: skipped), or its event is dead-lettered, or the
    timer that it set is cancelled."""
    ended = [line for line in flow.of(ActionCompleted) if line.status != "failed"]
    done = {(line.event_id, line.rule_id) for line in (*ended, *flow.of(TimerCancelled))}
    successes = tally((line.event_id, line.rule_id) for line in ended if line.status == "succeeded")
    deaths = tally(line.event_id for line in flow.of(EventDeadLettered))
    replays = tally(line.event_id for line in flow.of(DeadLetterReplayed))
    first_matches = {
        (line.event_id, line.rule_id): line for line in reversed(flow.of(RuleEvaluated)) if line.status == "matched"
    }
    for key, line in first_matches.items():
        if successes[key] > 1:
            yield Obligation(ACTED, line, "excess", "no second action.completed, succeeded", line.service)
        else:
            state: State = "closed" if key in done or deaths[line.event_id] > replays[line.event_id] else "open"
            yield Obligation(ACTED, line, state, "action.completed, succeeded or skipped", line.service)


def action_completed(flow: Flow, around: Surroundings) -> Iterator[Obligation]:
    completed, kills = tally(line.span_id for line in flow.of(ActionCompleted)), kills_in(flow, around)
    for line in flow.of(ActionStarted):
        count = completed[line.span_id]
        state = exactly_one(count, excused=not count and kills.explain(line, within_s=HANDLING_S))
        yield Obligation(ACTED, line, state, "action.completed", line.service)


def action_was_matched(flow: Flow, _around: Surroundings) -> Iterator[Obligation]:
    """Each delivery looks for itself; what a timer does was decided when it was set."""
    matched = {(line.parent_span_id, line.rule_id) for line in flow.of(RuleEvaluated) if line.status == "matched"}
    timed = {(line.event_id, line.rule_id) for line in flow.of(TimerFired)}
    started = {line.span_id for line in flow.of(ActionStarted)}
    for line in flow.of(ActionStarted):
        if (line.parent_span_id, line.rule_id) not in matched and (line.event_id, line.rule_id) not in timed:
            yield Obligation(ACTED, line, "orphan", "rule.evaluated, matched", line.service)
    for completed in flow.of(ActionCompleted):
        if completed.span_id not in started:
            yield Obligation(ACTED, completed, "orphan", "action.started", completed.service)


def timer_ends(flow: Flow, _around: Surroundings) -> Iterator[Obligation]:
    ends = tally((line.event_id, line.rule_id) for line in (*flow.of(TimerFired), *flow.of(TimerCancelled)))
    for line in flow.of(TimerScheduled):
        state = exactly_one(ends[line.event_id, line.rule_id])
        missing = "timer.fired or timer.cancelled"
        yield Obligation("timer scheduled → fired or cancelled", line, state, missing, line.service)


def timer_was_scheduled(flow: Flow, around: Surroundings) -> Iterator[Obligation]:
    """Killed between the commit and its line, automation leaves a timer that was set but never logged so."""
    scheduled, kills = {(line.event_id, line.rule_id) for line in flow.of(TimerScheduled)}, kills_in(flow, around)
    for line in (*flow.of(TimerFired), *flow.of(TimerCancelled)):
        key = (line.event_id, line.rule_id)
        if key not in scheduled:
            scheduled.add(key)
            set_by = [look for look in flow.of(RuleEvaluated) if (look.event_id, look.rule_id) == key]
            killed = any(kills.explain(look, within_s=HANDLING_S) for look in set_by if look.status == "matched")
            state: State = "excused" if killed else "orphan"
            yield Obligation("timer scheduled → fired or cancelled", line, state, "timer.scheduled", line.service)
