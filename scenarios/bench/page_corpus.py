"""A large run in which much is broken: what the page of a run is measured on."""

from __future__ import annotations

from pathlib import Path

import msgspec

from harness.checks.run_verdict import RunVerdict, rejudge
from harness.evidence.records import Rows
from harness.evidence.run_directory import RunDirectory, read_json, write_json
from scenarios.bench.judge_corpus import write_corpus

LOSE_EVERY = 10


def write_red_corpus(root: Path, *, operations: int, lose_every: int = LOSE_EVERY) -> RunVerdict:
    """Write a run of so many flows whose database has lost each tenth deal, and judge it."""
    write_corpus(root, operations=operations)
    run = RunDirectory(root)
    for scenario in run.scenarios():
        rows = read_json(scenario.rows_file, Rows)
        kept = tuple(deal for number, deal in enumerate(rows.deals) if number % lose_every)
        write_json(scenario.rows_file, msgspec.structs.replace(rows, deals=kept))
    return rejudge(run)
