"""An event that is left in the outbox is stuck, above all if later ones have passed it."""

from __future__ import annotations

from typing import Any

import pytest

from harness.checks.no_stuck_outbox import PROPERTY
from harness.checks.verdict import Result
from harness.evidence.records import OutboxRow, Rows
from tests.builders import evidence, happy_evidence, lead_asked, move_asked, scenario, stored, the_finding, uid


def judged(*rows: OutboxRow, **parts: Any) -> Result:
    return PROPERTY.check(evidence(rows=Rows(outbox=rows), **parts))


def test_an_unsent_event_fails_and_names_service_id_and_flow() -> None:
    finding = the_finding(judged(stored("moved", id=7, sent=False)))
    assert finding.says == f"1 event(s) in the outbox were never sent: id 7 (lead.stage.changed {uid('moved')})"
    assert (finding.service, finding.edge, finding.correlation_id) == ("pipeline", "pipeline→broker", uid("moved"))


def test_an_event_that_later_ones_have_passed_fails_and_says_so() -> None:
    finding = the_finding(judged(stored("deal", id=9), stored("created", id=4, sent=False), stored("deal", id=3)))
    assert "never sent, although later ones up to id 9 were sent: id 4" in finding.says


def test_what_was_passed_over_and_what_nobody_came_to_are_two_findings() -> None:
    rows = [stored("created", id=number, sent=number == 5) for number in range(4, 12)]
    passed, waiting = sorted(judged(*rows).findings, key=lambda finding: finding.says)
    assert passed.says.startswith("1 event(s)")
    assert "6 event(s)" in waiting.says
    assert waiting.says.endswith("and 3 more")


def test_it_fails_too_where_the_system_did_not_come_to_rest_because_of_it() -> None:
    restless = scenario(quiet=False, awaited=("1 unsent outbox rows",))
    assert judged(stored("moved", sent=False), scenario=restless).status == "fail"


def test_ids_are_compared_within_a_service_only() -> None:
    finding = the_finding(judged(stored("created", id=4, sent=False), stored("moved", id=9)))
    assert "although" not in finding.says


@pytest.mark.parametrize("ids", [(1, 2, 3), (3, 1, 2), (1, 50, 7)], ids=["in order", "out of order", "with holes"])
def test_all_sent_passes_whatever_the_order_and_the_holes_between_ids(ids: tuple[int, int, int]) -> None:
    assert judged(*(stored("created", id=number) for number in ids)).status == "pass"


def test_the_happy_flow_passes() -> None:
    assert PROPERTY.check(happy_evidence()).status == "pass"


def test_a_refused_change_and_one_that_changed_nothing_store_no_event() -> None:
    assert judged(operations=(lead_asked(409), move_asked(changed=False), lead_asked(None))).status == "idle"


def test_acknowledged_changes_and_an_empty_outbox_are_unknown() -> None:
    result = judged(operations=(lead_asked(), move_asked()))
    assert (result.status, result.floor) == ("unknown", 2)
