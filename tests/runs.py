"""Run directories for the tests of the judge: written as a gate writes them, from stories."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from harness.checks.run_verdict import RunRecord
from harness.contract.log_lines import Line
from harness.evidence.recording import Recording
from harness.evidence.run_directory import RunDirectory, ScenarioDirectory, write_json
from harness.evidence.write import write_evidence
from harness.target import DEFAULT_TARGET
from tests.builders import by_instance, happy_evidence, moment, raw, scenario

END = moment(99)


def the_run(folder: Path, *, whole: bool = False) -> RunDirectory:
    run = RunDirectory(folder / "run")
    record = RunRecord(seed=1, target_file=str(DEFAULT_TARGET), source_root=".", began_at=moment(0), whole=whole)
    write_json(run.run_file, record)
    return run


def write_logs(run: RunDirectory, lines: Iterable[Line], *, how: str = "running", tail: bytes = b"") -> None:
    """The logs of stack ``main``: one file an instance, all ended in the same way; ``tail`` ends crm's."""
    records: dict[str, Any] = {service: {"starts": []} for service in ("crm", "pipeline", "automation")}
    run.logs("main").mkdir(parents=True, exist_ok=True)
    for instance, members in by_instance(lines).items():
        end = tail if members[0].service == "crm" else b""
        content = b"".join(raw(line) + b"\n" for line in members) + end
        (run.logs("main") / f"{instance}.ndjson").write_bytes(content)
        start = {
            "file": f"/elsewhere/{instance}.ndjson",
            "pid": 1,
            "started_at": moment(0),
            "ended_at": None,
            "how": how,
        }
        records[members[0].service]["starts"].append(start)
    stack = {"services": list(records), "records": records, "tokens": {"alice": "secret"}}
    write_json(run.stack_file("main"), stack)


def write_scenario(
    run: RunDirectory, name: str = "happy", *, since: str = "", until: str = END, **parts: Any
) -> ScenarioDirectory:
    happy = happy_evidence()
    recording = Recording(operations=list(parts.get("operations", happy.operations)))
    directory = run.scenario(name)
    write_evidence(
        directory,
        scenario=scenario(name=name, since=since, until=until, error=parts.get("error")),
        recording=recording,
        tap=happy.tap,
        resting=(),
        received=(),
        rows=parts.get("rows", happy.rows),
    )
    return directory
