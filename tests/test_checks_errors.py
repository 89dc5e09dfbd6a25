"""A 5xx or an error line needs a fault of ours as its reason; time explains, place does not."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from harness.checks.errors_explained import PROPERTY, RECOVERY_S
from harness.checks.verdict import Result
from harness.contract.log_lines import Line
from harness.evidence.log_files import LostLines
from harness.evidence.records import Fault
from tests.builders import (
    Story,
    answered,
    asked,
    evidence,
    exhausted_lead,
    happy_evidence,
    lead_asked,
    moment,
    published,
    the_finding,
    uid,
)

BEGAN, HEALED = 100, 110


def at(second: int, http_status: int = 503, **changes: Any) -> list[Line]:
    """A request that is answered so at this second."""
    story = Story()
    asked(story, "pipeline", "patch")
    answered(story, "pipeline", "patch", http_status)
    story.lines[-1].ts = moment(second)
    for name, value in changes.items():
        setattr(story.lines[-1], name, value)
    return story.lines


def fault(began: int = BEGAN, healed: int = HEALED, place: str = "automation→crm") -> Fault:
    return Fault(kind="cut", place=place, injected_at=moment(began), healed_at=moment(healed), hits=1, proof="")


def explained(lines: list[Line], *faults: Fault) -> Result:
    return PROPERTY.check(evidence(lines, faults=faults))


@pytest.mark.parametrize("http_status", [500, 502, 503, 599])
def test_a_5xx_while_nothing_is_broken_fails_and_names_request_service_and_flow(http_status: int) -> None:
    finding = the_finding(explained(at(BEGAN, http_status)))
    assert finding.says == f"POST /things was answered {http_status} while nothing was broken"
    assert (finding.service, finding.correlation_id) == ("pipeline", uid("moved"))


@pytest.mark.parametrize("second", [BEGAN - 1, HEALED + RECOVERY_S + 1])
def test_a_5xx_before_or_long_after_a_fault_fails(second: int) -> None:
    assert the_finding(explained(at(second), fault()))


@pytest.mark.parametrize("second", [BEGAN, HEALED - 1, HEALED, HEALED + RECOVERY_S])
def test_a_5xx_during_a_fault_or_soon_after_it_passes(second: int) -> None:
    assert explained(at(second), fault()).status == "pass"


@pytest.mark.parametrize(
    ("kind", "place"),
    [
        ("cut", "pipeline→database"),
        ("SIGKILL", "postgres"),
        ("SIGSTOP", "rabbitmq"),
        ("restart", "crm"),
        ("overload", "client"),
        ("overload", "machine"),
    ],
)
def test_an_outage_or_an_overload_is_no_reason_for_a_500(kind: str, place: str) -> None:
    outage = replace(fault(place=place), kind=kind)
    finding = the_finding(explained(at(BEGAN, 500), outage))
    assert finding.says == "POST /things was answered 500 while nothing was broken but what somebody has thought of"
    assert explained(at(BEGAN, 503), outage).status == "pass"


def test_writes_that_the_database_refuses_may_surprise_a_service() -> None:
    refused = replace(fault(place="database rows"), kind="writes to crm.deals refused")
    assert explained(at(BEGAN, 500), refused).status == "pass"
    assert explained(at(BEGAN, 500), refused, replace(fault(), kind="cut")).status == "pass"
    assert explained(at(HEALED + RECOVERY_S + 1, 500), refused).status == "fail"


def test_one_of_several_faults_is_reason_enough() -> None:
    assert explained(at(BEGAN), fault(10, 20), fault(), fault(200, 210)).status == "pass"


def test_two_faults_do_not_explain_what_lies_between_them() -> None:
    assert explained(at(BEGAN), fault(10, 20), fault(200, 210)).status == "fail"


@pytest.mark.parametrize("http_status", [200, 404, 409, 499])
def test_an_answer_below_500_needs_no_reason(http_status: int) -> None:
    assert explained(at(BEGAN, http_status)).status == "pass"


def test_an_error_line_of_a_flow_fails_and_names_its_entity() -> None:
    story = Story()
    asked(story, "crm", "post")
    line = story.write("crm", "change.committed", "post", event="created")
    line.level = "error"
    finding = the_finding(explained(story.lines))
    assert finding.says == "an error line, change.committed committed, while nothing was broken"
    assert finding.entity == f"lead {uid('lead')}"


def test_an_event_published_twice_while_nothing_is_broken_fails() -> None:
    story = Story()
    published(story, "moved")
    published(story, "moved", span="another relay")
    finding = the_finding(explained(story.lines))
    assert finding.says == "lead.stage.changed was published once more after its confirm while nothing was broken"
    story.lines[-1].ts = moment(BEGAN)
    assert explained(story.lines, fault()).status != "fail"


def test_a_confirm_that_does_not_come_in_time_needs_no_reason() -> None:
    story = Story()
    published(story, "moved", status="unknown")
    published(story, "moved", span="again", attempt=2)
    assert explained(story.lines).status != "fail"


@pytest.mark.parametrize("status", ["nacked", "returned"])
def test_a_publish_that_goes_wrong_needs_a_reason_and_its_repetition_does_not(status: str) -> None:
    story = Story()
    published(story, "moved", status=status)
    published(story, "moved", span="again", attempt=2)
    finding = the_finding(explained(story.lines))
    assert finding.says == f"publishing lead.stage.changed ended {status} while nothing was broken"
    story.lines[0].ts = moment(HEALED)
    assert explained(story.lines, fault()).status != "fail"


def test_an_alert_of_a_dead_letter_is_meant_to_be_loud() -> None:
    assert explained(exhausted_lead().lines).status == "pass"


def test_a_refusal_logged_as_an_error_is_judged_by_its_status() -> None:
    assert explained(at(BEGAN, 404, level="error")).status == "pass"


def test_an_error_line_about_the_process_is_left_out() -> None:
    story = Story()
    asked(story, "crm", "post")
    answered(story, "crm", "post", 200)
    story.write("crm", "library.message", level="error")
    assert explained(story.lines).status == "pass"


def test_the_happy_flow_passes() -> None:
    assert PROPERTY.check(happy_evidence()).status == "pass"


def test_answers_and_no_line_to_judge_are_unknown() -> None:
    result = PROPERTY.check(evidence(operations=(lead_asked(), lead_asked())))
    assert (result.status, result.floor) == ("unknown", 1)


def test_no_answer_and_no_line_are_idle() -> None:
    assert PROPERTY.check(evidence(operations=(lead_asked(None),))).status == "idle"


def test_where_lines_were_lost_their_absence_is_no_doubt_of_this_property() -> None:
    lost = LostLines("pipeline", "pipeline-1", "pipeline-1.ndjson", 1, 1, "", moment(9))
    story = Story()
    asked(story, "pipeline", "patch")
    assert PROPERTY.check(evidence(story.lines, lost=[lost], operations=(lead_asked(),))).status == "idle"


def test_a_message_of_ours_breaks_nothing_and_so_explains_nothing() -> None:
    planted = replace(fault(place="lead.stage.changed"), kind="planted malformed")
    assert the_finding(explained(at(BEGAN + 1), planted))
    assert explained(at(BEGAN + 1), planted, fault()).status == "pass"
