"""The database itself enforces what the model says: each moment has its time zone, and what is unique cannot be twice.

Only a valid index over all rows counts: it was there before the race that it decides.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from harness.checks.verdict import Finding, Property, Result, answer
from harness.evidence.evidence import Evidence

NAME = "schema"
_MOMENT = "timestamp with time zone"
_NAIVE = ("timestamp without time zone", "time without time zone", "time with time zone")


def check(evidence: Evidence) -> Result:
    columns = evidence.schema.columns
    findings = [*_naive(evidence), *_not_unique(evidence)] if columns else []
    recorded = evidence.scenario.format >= 2
    return answer(NAME, seen=len(columns), floor=1 if recorded else 0, findings=findings)


def _naive(evidence: Evidence) -> Iterator[Finding]:
    ending = evidence.target.schema_promises.moments
    for column in evidence.schema.columns:
        named_so = bool(ending) and column.column.endswith(ending)
        if column.type in _NAIVE or (named_so and column.type != _MOMENT):
            yield _finding(column.table, f"{column.table}.{column.column} is a {column.type}, expected a {_MOMENT}")


def _not_unique(evidence: Evidence) -> Iterator[Finding]:
    """An index on some of the promised columns promises even more."""
    enforced: dict[str, list[frozenset[str]]] = defaultdict(list)
    for index in evidence.schema.unique:
        enforced[index.table].append(frozenset(index.keys))
    for promise in evidence.target.schema_promises.unique:
        table, _, keys = promise.removesuffix(")").partition("(")
        promised = frozenset(key.strip() for key in keys.split(","))
        if not any(index <= promised for index in enforced[table]):
            yield _finding(table, f"nothing makes {promise} unique: no valid unique index over all its rows")


def _finding(table: str, says: str) -> Finding:
    return Finding(property=NAME, says=says, service=table.partition(".")[0], entity=table)


PROPERTY = Property(NAME, "timestamptz everywhere; the unique constraints exist", ("schema",), check)
