"""What an arrival asks, and what the answers make of the leads."""

from __future__ import annotations

import pytest

from scenarios.load.profiles import Kind
from scenarios.load.visits import Leads, Visit


def answered(leads: Leads, visit: Visit, *, version: int = 1) -> None:
    """As the system answers it when all is well."""
    answer = {"id": "a-lead"} if visit.kind == "create" else {"version": version}
    leads.answered(visit, visit.meant[0], answer)


def after(leads: Leads, *kinds: Kind) -> Leads:
    for number, kind in enumerate(kinds):
        (visit,) = leads.visits(kind, 1)
        assert visit.kind == kind, f"a lead was to be ready for {kind}, and none was"
        answered(leads, visit, version=number)
    return leads


@pytest.mark.parametrize("kind", ["create", "engage", "qualify", "read", "conflict"])
def test_where_no_lead_is_ready_one_is_made(kind: Kind) -> None:
    (visit,) = Leads().visits(kind, 1)
    assert (visit.endpoint, visit.meant, visit.lead) == ("POST /leads", (201,), None)


def test_a_race_without_a_lead_makes_as_many() -> None:
    visits = Leads().visits("race", 10)
    assert len({str(visit.body) for visit in visits}) == 10


def test_a_lead_is_walked_to_its_deal() -> None:
    leads = after(Leads(), "create", "engage")
    (visit,) = leads.visits("qualify", 1)
    assert (visit.endpoint, visit.path) == ("PATCH /leads/{lead_id}/stage", "/leads/a-lead/stage")
    assert (visit.body, visit.flow) == ({"stage": "qualified"}, "deal")


@pytest.mark.parametrize("kind", ["engage", "qualify", "race"])
def test_nobody_else_gets_a_lead_that_is_being_walked(kind: Kind) -> None:
    leads = after(Leads(), "create", *(("engage",) if kind == "race" else ()))
    assert leads.visits(kind, 1)[0].lead
    assert leads.visits(kind, 1)[0].kind == "create"


def test_a_lead_whose_answer_never_came_is_walked_no_further() -> None:
    leads = after(Leads(), "create", "engage")
    (visit,) = leads.visits("qualify", 1)
    leads.answered(visit, 0, {"error": "silence"})
    leads.answered(visit, 503, {})
    assert leads.visits("read", 1)[0].kind == "create"


def test_a_conflict_is_meant_and_expects_an_older_version() -> None:
    leads = after(Leads(), "create", "engage", "qualify")
    (visit,) = leads.visits("conflict", 1)
    assert visit.meant == (409,)
    assert visit.body == {"stage": "demo", "expected_version": 1}
    leads.answered(visit, 409, {"current_version": 2})
    assert leads.visits("conflict", 1)[0].body == visit.body


def test_all_of_a_race_expect_the_version_that_is_there() -> None:
    leads = after(Leads(), "create", "engage")
    visits = leads.visits("race", 10)
    assert len(visits) == 10
    assert {str(visit.body) for visit in visits} == {str({"stage": "qualified", "expected_version": 1})}
    for visit in visits[1:]:
        leads.answered(visit, 409, {})
    answered(leads, visits[0], version=2)
    assert leads.visits("read", 1)[0].lead is visits[0].lead
