"""Promises that only the database can keep are in the database."""

from __future__ import annotations

import pytest

from harness.checks.schema import PROPERTY
from harness.checks.verdict import Result
from harness.evidence.records import ColumnRow, Schema, UniqueRow
from tests.builders import evidence, scenario, target, the_finding

MOMENT, NAIVE = "timestamp with time zone", "timestamp without time zone"
COLUMNS = (
    ColumnRow("crm.leads", "id", "uuid"),
    ColumnRow("crm.leads", "created_at", MOMENT),
    ColumnRow("automation.timers", "due_at", MOMENT),
    ColumnRow("crm.leads", "birthday", "date"),
)


def promised(*, without: str = "") -> tuple[UniqueRow, ...]:
    rows = []
    for promise in target().schema_promises.unique:
        if promise != without:
            table, _, keys = promise.removesuffix(")").partition("(")
            rows.append(UniqueRow(table, tuple(keys.split(", "))))
    return tuple(rows)


def judged(columns: tuple[ColumnRow, ...] = COLUMNS, unique: tuple[UniqueRow, ...] | None = None) -> Result:
    schema = Schema(columns, promised() if unique is None else unique)
    return PROPERTY.check(evidence(schema=schema, scenario=scenario(format=2)))


def named(type: str, column: str = "sent_at") -> tuple[ColumnRow, ...]:
    return (*COLUMNS, ColumnRow("crm.outbox", column, type))


@pytest.mark.parametrize("type", [NAIVE, "text", "bigint", "date", "time with time zone"])
def test_a_moment_that_is_anything_but_timestamptz_fails_and_names_the_column(type: str) -> None:
    finding = the_finding(judged(named(type)))
    assert finding.says == f"crm.outbox.sent_at is a {type}, expected a {MOMENT}"
    assert (finding.service, finding.entity) == ("crm", "crm.outbox")


@pytest.mark.parametrize("type", [NAIVE, "time without time zone"])
def test_a_time_without_its_zone_fails_whatever_its_name(type: str) -> None:
    assert the_finding(judged(named(type, "remembered")))


@pytest.mark.parametrize("promise", target().schema_promises.unique)
def test_each_constraint_that_is_missing_fails_and_is_named(promise: str) -> None:
    finding = the_finding(judged(unique=promised(without=promise)))
    assert finding.says == f"nothing makes {promise} unique: no valid unique index over all its rows"


@pytest.mark.parametrize(
    ("promise", "instead"),
    [
        ("crm.leads(lower(email))", UniqueRow("crm.leads", ("email",))),
        ("crm.deals(lead_id)", UniqueRow("crm.deals", ("lead_id", "title"))),
        ("crm.deals(lead_id)", UniqueRow("crm.leads", ("lead_id",))),
        (
            "automation.automation_executions(rule_id, entity_type, entity_id)",
            UniqueRow("automation.automation_executions", ("rule_id", "trigger_event_id")),
        ),
    ],
    ids=["another expression", "more columns", "another table", "other columns"],
)
def test_an_index_that_promises_less_is_not_enough(promise: str, instead: UniqueRow) -> None:
    assert the_finding(judged(unique=(*promised(without=promise), instead)))


def test_the_schema_as_promised_passes() -> None:
    assert judged().status == "pass"


def test_columns_in_another_order_and_fewer_of_them_promise_the_same_and_more() -> None:
    promise = "pipeline.stages(entity_type, entity_id)"
    for keys in (("entity_id", "entity_type"), ("entity_id",)):
        assert judged(unique=(*promised(without=promise), UniqueRow("pipeline.stages", keys))).status == "pass"


def test_other_unique_indexes_and_types_are_nobodys_business() -> None:
    columns = (*COLUMNS, ColumnRow("crm.users", "format", "text"), ColumnRow("crm.users", "lat", "double precision"))
    assert judged(columns, (*promised(), UniqueRow("crm.users", ("id",)))).status == "pass"


def test_a_schema_without_any_column_is_unknown() -> None:
    assert judged(()).status == "unknown"


def test_an_older_run_recorded_no_schema_and_is_idle() -> None:
    assert PROPERTY.check(evidence()).status == "idle"
