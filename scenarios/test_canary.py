"""The canary: with a bug planted in the system, the gauntlet must turn red, and for the right property."""

from __future__ import annotations

import subprocess
import sys

import pytest

from chaos.seeded_bugs.catalogue import load_catalogue, plant
from harness.checks.judge import ScenarioVerdict
from harness.evidence.run_directory import RunDirectory, read_json
from harness.target import PROJECT_ROOT

CANARY = "A11"
WITHIN_S = 300
"""It takes ten seconds on an idle machine; this is for one that is not."""


@pytest.mark.canary
def test_a_planted_bug_turns_its_scenario_red_for_the_right_property(run_directory: RunDirectory) -> None:
    """Runs one scenario as a run of its own, on a stack of its own, against a copy of the system with the bug in it."""
    bug = load_catalogue()[CANARY]
    run = RunDirectory(run_directory.root.with_name(f"{run_directory.root.name}-canary-{CANARY}"))
    source = plant(bug, PROJECT_ROOT, run.root / "source")
    done = subprocess.run(
        [
            sys.executable, "-m", "pytest", f"scenarios/{bug.scenario}", "-q", "-p", "no:cacheprovider",
            "-p", "no:xdist", "-p", "no:hypothesispytest",
                f"--run-dir={run.root}", f"--source-root={source}",
        ],
        cwd=PROJECT_ROOT, capture_output=True, text=True, timeout=WITHIN_S, check=False,
    )  # fmt: skip
    verdicts = [read_json(directory.verdict_file, ScenarioVerdict) for directory in run.scenarios()]
    assert verdicts, f"the run with {CANARY} planted judged nothing:\n{done.stdout[-3000:]}{done.stderr[-1000:]}"
    failed = {name for verdict in verdicts for name in verdict.failed}
    assert failed & set(bug.expect), (
        f"{CANARY} ({bug.name}) is in {source}, and should fail one of {', '.join(bug.expect)}; "
        f"failed: {', '.join(sorted(failed)) or 'nothing'} (verdict {verdicts[0].verdict}); its run: {run.root}"
    )
