"""Run directories for the tests of the judge: written as a gate writes them, from stories."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from harness.checks.judge import ScenarioVerdict, judge
from harness.checks.run_verdict import RunRecord, rejudge, summarise
from harness.checks.verdict import Result
from harness.contract.log_lines import Line
from harness.evidence.evidence import load_evidence
from harness.evidence.outcomes import How, Outcome
from harness.evidence.recording import Recording
from harness.evidence.records import Fault, Rows
from harness.evidence.run_directory import RunDirectory, ScenarioDirectory, write_json, write_records
from harness.evidence.write import write_evidence
from harness.target import DEFAULT_TARGET
from tests.builders import (
    Story,
    by_instance,
    created_lead,
    happy_evidence,
    happy_rows,
    moment,
    now_in,
    qualified_lead,
    raw,
    scenario,
    target,
)

END = moment(99)
CUT = Fault(
    kind="cut", place="automation→crm", injected_at=moment(9), healed_at=moment(12), hits=3, proof="3 were refused"
)


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
    recording = Recording(
        operations=list(parts.get("operations", happy.operations)), faults=list(parts.get("faults", ()))
    )
    directory = run.scenario(name)
    write_evidence(
        directory,
        scenario=scenario(name=name, since=since, until=until, error=parts.get("error"), clock=parts.get("clock")),
        recording=recording,
        tap=parts.get("tap", happy.tap),
        resting=(),
        received=(),
        rows=parts.get("rows", happy.rows),
    )
    return directory


def write_verdict(directory: ScenarioDirectory, **changes: Any) -> ScenarioVerdict:
    """Judge it as a gate does, and write down what comes of it, or something else."""
    verdict = msgspec.structs.replace(judge(load_evidence(directory, target())), **changes)
    write_json(directory.verdict_file, verdict)
    return verdict


def outcome(name: str, how: How = "passed", says: str = "", **told: str) -> Outcome:
    """What pytest said of a scenario."""
    return Outcome(
        scenario=f"test_a.py::test_{name}", file="scenarios/test_a.py", line=7, how=how, worker="gw0",
        began_at=moment(1), took_s=2.5, says=says, told=told,
    )  # fmt: skip


def a_told_run(folder: Path) -> RunDirectory:
    """A finished run with a scenario of each kind: green, with a broken promise, not proven, with an error of its own,
    one whose worker crashed, and a canary, which leaves no evidence of its own."""
    run = the_run(folder)
    write_logs(run, qualified_lead(created_lead(Story())).lines)
    verdicts: dict[str, dict[str, Any]] = {
        "green": {},
        "broken": {"rows": happy_rows(deals=()), "faults": [CUT]},
        "unproven": {},
        "mistaken": {"error": "AssertionError: no"},
    }
    for name, parts in verdicts.items():
        write_verdict(write_scenario(run, f"test_a.py::test_{name}", **parts))
    unproven = run.scenario("test_a.py::test_unproven")
    doubt = Result(property="log_contract", status="unknown", seen=1, floor=1, doubts=("line 4 was lost",))
    write_verdict(unproven, verdict="unknown", results=(doubt,))
    outcomes = [
        outcome("green"), outcome("broken", "failed"), outcome("unproven", "failed"),
        outcome("mistaken", "failed", "test_a.py:9: AssertionError"),
        outcome("crashed", "crashed", "worker 'gw0' crashed"),
        outcome("canary", "passed", "", **{"bug A03": "a bug", "source A03": "https://example.test/why"}),
    ]  # fmt: skip
    write_records(run.outcomes_file, outcomes)
    verdict = summarise(run, failures=["test_a.py::test_crashed"])
    write_json(run.verdict_file, verdict)
    return run


HOSTILE = "</pre></title></desc><script>document.title='broken'</script><img src=x onerror=alert(1)>\"'&\u202e"
"""What somebody might send, so that it comes to stand in a log line and from there in a report."""


def green_run(folder: Path) -> RunDirectory:
    """One scenario in which every promise was kept, judged."""
    run = the_run(folder)
    write_logs(run, qualified_lead(created_lead(Story())).lines)
    write_scenario(run, "a.py::happy")
    rejudge(run)
    return run


def red_run(folder: Path) -> RunDirectory:
    """Nothing is green in it, and all that others may write into a report is hostile.

    In the first scenario an event was never published while an edge was cut, and its lead has no deal; and another lead
    is won without a history. The second proves nothing. The third has something to say itself.
    """
    run = the_run(folder)
    lost = [
        *qualified_lead(created_lead(Story())).without(
            "event.published", "event.received", "event.settled", event="deal"
        )
    ]
    odd = [_with_route(line, HOSTILE) for line in lost]
    write_logs(run, odd)
    cut = Fault(
        kind="cut", place=f"crm→broker {HOSTILE}", injected_at=moment(9), healed_at=moment(60), hits=1, proof="1"
    )
    late = moment(98)
    write_scenario(
        run,
        "a.py::no_deal",
        until=late,
        rows=happy_rows(deals=(), stages=(now_in("qualified", 1), now_in("won", 3, lead="other"))),
        faults=(cut,),
    )
    empty: dict[str, Any] = {"operations": (), "rows": Rows(), "tap": ()}
    write_scenario(run, "a.py::nothing", since=late, **empty)
    write_scenario(run, f"a.py::odd[{HOSTILE}]", since=late, error=f"AssertionError: {HOSTILE}\nmore", **empty)
    rejudge(run)
    return run


def _with_route(line: Line, route: str) -> Line:
    return msgspec.structs.replace(line, route=route) if hasattr(line, "route") else line
