"""What a service says of itself is held against what was taken from it, and when it was given back."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from harness.checks.health_tells_the_truth import LATE_S, PROPERTY, STOPPING_S
from harness.checks.verdict import Result
from harness.contract.log_lines import Line
from harness.evidence.clock import later
from harness.evidence.records import Fault, HealthProbe
from tests.builders import Story, evidence, moment, scenario, target, the_finding

bounds = target().bounds
assert bounds is not None
assert bounds.readiness_s + LATE_S < 3, "in these stories, 3 seconds are late and 2 are not"
GONE, BACK, END = 100, 110, 200


def fault(
    kind: str = "cut", place: str = "crm→database", *, since: int = GONE, until: int = BACK, **told: Any
) -> Fault:
    times = {"effective_at": moment(since), "healing_at": moment(until)} | told
    return Fault(kind=kind, place=place, injected_at=moment(since), healed_at=moment(until), hits=1, proof="", **times)


def asked(second: int, ready: bool, service: str = "crm", process: str = "") -> HealthProbe:
    when = moment(second)
    return HealthProbe(service=service, process=process or service, asked_at=when, answered_at=when, ready=ready)


def log(*told: tuple[int, str, dict[str, Any]], service: str = "crm") -> list[Line]:
    """A log of one process: from the beginning to the end of the scenario, with these lines at these seconds."""
    story = Story()
    for second, kind, fields in ((1, "metrics.snapshot", {}), *told, (END, "metrics.snapshot", {})):
        story.write(service, kind, **fields).ts = moment(second)
    return story.lines


def changed(second: int, status: str, dependency: str = "database") -> tuple[int, str, dict[str, Any]]:
    return second, "dependency.changed", {"status": status, "dependency": dependency}


TRUTHFUL = log(changed(GONE + 1, "down"), changed(BACK + 1, "up"))


def judged(
    *probes: HealthProbe, faults: tuple[Fault, ...] = (), lines: list[Line] | None = None, **parts: Any
) -> Result:
    lines = TRUTHFUL if lines is None else lines
    whole = scenario(since=moment(0), until=moment(END))
    return PROPERTY.check(evidence(lines, health=probes, faults=faults or (fault(),), scenario=whole, **parts))


# --- what it answered -------------------------------------------------------------------------------------------


def test_ready_without_its_database_fails_and_names_probe_outage_and_edge() -> None:
    finding = the_finding(judged(asked(GONE + 5, True)))
    assert finding.says == (
        f"crm said that it is ready at {moment(GONE + 5)}, 2.5 s and more into the outage of database "
        f"(cut on crm→database, {moment(GONE)} to {moment(BACK)})"
    )
    assert (finding.service, finding.edge) == ("crm", "crm→database")


@pytest.mark.parametrize(("kind", "place"), [("SIGKILL", "postgres"), ("SIGSTOP", "rabbitmq"), ("cut", "crm→broker")])
def test_ready_without_a_server_fails(kind: str, place: str) -> None:
    dependency = "database" if place == "postgres" else "broker"
    lines = log(changed(GONE + 1, "down", dependency), changed(BACK + 1, "up", dependency))
    assert the_finding(judged(asked(GONE + 5, True), faults=(fault(kind, place),), lines=lines))


def test_ready_with_a_database_that_can_only_be_read_fails() -> None:
    assert the_finding(judged(asked(GONE + 5, True), faults=(fault("read-only", "postgres"),)))


@pytest.mark.parametrize(
    ("kind", "place"),
    [("terminated", "crm→database"), ("exhausted", "crm→database"), ("restart", "postgres"), ("closed", "crm→broker")],
)
def test_ready_while_connections_come_back_is_no_lie(kind: str, place: str) -> None:
    assert judged(asked(GONE + 5, True), faults=(fault(kind, place),)).status != "fail"


@pytest.mark.parametrize(
    ("kind", "place"),
    [("terminated", "crm→database"), ("exhausted", "crm→database"), ("restart", "postgres"), ("closed", "crm→broker")],
)
def test_not_ready_long_after_connections_were_taken_fails(kind: str, place: str) -> None:
    assert the_finding(judged(asked(BACK + 3, False), faults=(fault(kind, place),)))


def test_not_ready_long_after_the_outage_fails() -> None:
    finding = the_finding(judged(asked(BACK + 3, False)))
    assert f"crm said that it is not ready at {moment(BACK + 3)}, 2.5 s and more after the outage" in finding.says


def test_one_lie_is_enough_and_told_once() -> None:
    probes = [asked(GONE + n, n in (4, 6)) for n in range(3, 9)]
    assert moment(GONE + 4) in the_finding(judged(*probes)).says


@pytest.mark.parametrize("second", [GONE - 1, GONE + 2, BACK, BACK + 1])
def test_ready_before_it_can_know_and_when_healing_has_begun_is_no_lie(second: int) -> None:
    assert judged(asked(second, True)).status == "pass"


@pytest.mark.parametrize("second", [GONE + 1, GONE + 5, BACK + 2])
def test_not_ready_in_the_outage_and_shortly_after_it_is_no_lie(second: int) -> None:
    assert judged(asked(second, False)).status == "pass"


@pytest.mark.parametrize(("second", "status"), [(GONE + 7, "pass"), (GONE + 9, "fail")])
def test_who_was_frozen_meanwhile_has_its_whole_time_after_that(second: int, status: str) -> None:
    faults = (fault(), fault("SIGSTOP", "crm", until=GONE + 6))
    assert judged(asked(second, True), faults=faults).status == status


def test_an_answer_that_came_after_the_healing_had_begun_is_no_lie() -> None:
    slow = replace(asked(BACK - 1, True), answered_at=moment(BACK + 1))
    assert judged(slow).status == "pass"


def test_to_be_ready_at_last_does_not_excuse_that_it_was_not_long_after_the_outage() -> None:
    probes = [asked(BACK + second, second > 8) for second in range(3, 12)]
    assert f"it is not ready at {moment(BACK + 3)}" in the_finding(judged(*probes)).says


def test_another_service_may_be_ready_all_the_time() -> None:
    assert judged(asked(GONE + 5, True, "pipeline"), asked(GONE + 6, True, "automation")).status == "pass"


def test_a_slow_edge_is_no_outage() -> None:
    assert judged(asked(GONE + 5, True), faults=(fault("slow 50 ms each way"),), lines=log()).status == "idle"


def test_an_alarm_that_only_publishers_hear_of_may_be_missed() -> None:
    alarm = fault("memory alarm", "the broker's memory")
    assert judged(asked(GONE + 5, True), faults=(alarm,), lines=log()).status != "fail"


@pytest.mark.parametrize(
    "other", [fault("slow 9 ms each way", until=BACK + 5), fault("SIGSTOP", "crm", until=BACK + 5)]
)
def test_while_anything_else_is_broken_nobody_has_to_be_ready(other: Fault) -> None:
    lines = log(changed(GONE + 1, "down"), changed(BACK + 6, "up"))
    assert judged(asked(BACK + 4, False), faults=(fault(), other), lines=lines).status != "fail"


def test_another_fault_on_the_edge_that_is_healed_heals_the_edge() -> None:
    assert judged(asked(GONE + 6, True), faults=(fault(), fault("slow 9 ms each way", until=GONE + 5))).status == "pass"


def test_a_process_that_is_being_stopped_or_has_just_started_is_not_ready() -> None:
    stopping = Story()
    for second, kind in ((1, "metrics.snapshot"), (BACK + 9, "service.stopped")):
        stopping.write("crm", kind).ts = moment(second)
    stopping.restart("crm")
    for second, kind in ((BACK + 10, "service.started"), (END, "metrics.snapshot")):
        stopping.write("crm", kind).ts = moment(second)
    probes = [asked(BACK + second, False) for second in (4, 8, 10, 11)]
    assert judged(*probes, lines=stopping.lines).status != "fail"
    assert STOPPING_S > 6


def test_a_replica_that_is_not_running_is_not_ready() -> None:
    assert judged(asked(BACK + 9, False, process="crm-b")).status == "pass"


# --- what it wrote down -----------------------------------------------------------------------------------------


def test_a_log_that_does_not_notice_an_outage_fails() -> None:
    finding = the_finding(judged(lines=log()))
    assert finding.says.startswith("crm had not noticed, 2.5 s into the outage of database (cut on crm→database")


def test_a_log_that_notices_too_late_fails() -> None:
    assert the_finding(judged(lines=log(changed(GONE + 4, "down"), changed(BACK + 1, "up"))))


def test_a_log_that_does_not_notice_the_end_fails() -> None:
    finding = the_finding(judged(lines=log(changed(GONE + 1, "down"))))
    assert finding.says.startswith("crm had not noticed the end, 2.5 s after the outage of database")


def test_degraded_is_not_down() -> None:
    assert the_finding(judged(lines=log(changed(GONE + 1, "degraded"))))


def test_a_log_that_follows_the_outage_passes() -> None:
    result = judged()
    assert (result.status, result.seen) == ("pass", 2)


def test_an_outage_that_is_over_before_anybody_has_to_know_passes_unnoticed() -> None:
    assert judged(faults=(fault(until=GONE + 2),), lines=log()).status != "fail"


def test_a_process_that_was_frozen_meanwhile_could_notice_nothing() -> None:
    frozen = fault("SIGSTOP", "crm", since=GONE - 1, until=BACK + 1)
    assert judged(faults=(fault(), frozen), lines=log()).status != "fail"


def test_a_process_that_started_in_the_outage_may_have_known_nothing_else() -> None:
    story = Story()
    for second, kind in ((GONE + 1, "service.started"), (END, "metrics.snapshot")):
        story.write("crm", kind).ts = moment(second)
    assert judged(lines=story.lines).status == "idle"


def test_a_fault_that_does_not_say_since_when_proves_nothing() -> None:
    assert judged(asked(GONE + 5, True), faults=(fault(effective_at=""),), lines=log()).status != "fail"


def test_an_outage_and_nobody_asked_is_unknown() -> None:
    whole = scenario(since=moment(0), until=moment(END), format=2)
    assert PROPERTY.check(evidence(TRUTHFUL, faults=(fault(),), scenario=whole)).status == "unknown"


def test_without_an_outage_it_is_idle() -> None:
    assert PROPERTY.check(evidence(TRUTHFUL, health=(asked(5, False),))).status == "idle"


# --- what the broker knows --------------------------------------------------------------------------------------


def looked(second: float, ready: bool, consumers: int | None, process: str = "automation") -> HealthProbe:
    when = later(moment(0), second)
    return HealthProbe(
        service="automation", process=process, asked_at=when, answered_at=when, ready=ready, consumers=consumers
    )


def without_outage(*probes: HealthProbe) -> Result:
    whole = scenario(since=moment(0), until=moment(END))
    return PROPERTY.check(evidence(TRUTHFUL, health=probes, faults=(), scenario=whole))


def test_ready_while_nobody_consumes_fails_also_where_nothing_was_broken() -> None:
    finding = the_finding(without_outage(looked(1, True, 0), looked(2, True, 0), looked(4, True, 0)))
    assert finding.says == (
        f"automation said that it is ready at {moment(4)}, though 2.5 s and more before nobody consumed all of "
        "automation.events, automation.undeliverable"
    )
    assert (finding.service, finding.edge) == ("automation", "automation→broker")


def test_ready_while_nobody_consumes_fails_after_an_outage_too() -> None:
    gone = fault("closed", "automation→broker")
    assert the_finding(judged(looked(BACK + 1, True, 0), looked(BACK + 4, True, 0), faults=(gone,)))


@pytest.mark.parametrize(
    "probes",
    [
        (looked(1, True, 0), looked(3, True, 0)),
        (looked(1, True, 0), looked(2, False, 0), looked(4, True, 0)),
        (looked(1, True, 0), looked(2, True, 1), looked(4, True, 0)),
        (looked(1, True, 0), looked(2, True, None), looked(4, True, 0)),
        (looked(1, True, 0), looked(4, True, 0, process="automation-b")),
        (looked(1, False, 0), looked(4, False, 0)),
        (looked(1, True, None), looked(4, True, None)),
    ],
    ids=["not yet for long", "not ready", "consumed", "nobody looked", "another process", "says so", "never looked"],
)
def test_who_consumes_again_in_time_or_says_that_it_is_not_ready_tells_the_truth(
    probes: tuple[HealthProbe, ...],
) -> None:
    assert without_outage(*probes).findings == ()
