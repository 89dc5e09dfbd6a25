"""Allure's results drawn as pages by Allure Report 3, with the history of the runs beside it.

Each page is one file that can be opened as it is: by file of scenarios, and by promise and by what was broken.
"""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

from harness.environment import allure
from harness.environment.failures import EnvironmentFailed
from harness.evidence.run_directory import RunDirectory
from reports.allure.write import RESULTS, categories

REPORT = "allure-report"
HISTORY = "allure-history.jsonl"
"""Beside the run's folder: one line a report, by which Allure shows what changed since the last one."""
MOST_HISTORY = 50
_WITHIN_S = 300
_TELLS_ON_THE_READER = re.compile(
    rb'<script async src="https://www\.googletagmanager\.com/[^"]*"></script>\s*<script>.*?</script>', re.DOTALL
)
"""Allure's pages report each visit to an analytics service, and no option keeps them from it."""


def draw_allure_report(run: RunDirectory) -> Path:
    """The page to open first. Raises EnvironmentFailed where Allure is not installed, or fails."""
    if missing := allure.missing():
        raise EnvironmentFailed(f"{missing}; to mend it: {allure.remedy()}\nThe results are in {run.root / RESULTS}")
    run = RunDirectory(run.root.resolve())  # Allure reads names from the folder of the run
    config = run.root / "allurerc.json"
    config.write_text(json.dumps(_config(run), indent=2), encoding="utf-8")
    command = [str(allure.node()), str(allure.program()), "generate", "--config", str(config), str(run.root / RESULTS)]
    try:
        done = subprocess.run(
            command, cwd=run.root, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
            timeout=_WITHIN_S,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise EnvironmentFailed(f"{' '.join(command)} has not ended within {_WITHIN_S} s") from error
    index = run.root / REPORT / "index.html"
    if done.returncode != 0 or not index.exists():
        said = (done.stdout + done.stderr).strip()[-2_000:]
        ended = f"ended with exit code {done.returncode}; it needs Node.js {allure.OLDEST_NODE}"
        raise EnvironmentFailed(f"{' '.join(command)} {ended}:\n{said}")
    for page in (run.root / REPORT).rglob("*.html"):
        page.write_bytes(_TELLS_ON_THE_READER.sub(b"", page.read_bytes()))
    return index


def _config(run: RunDirectory) -> dict[str, object]:
    """https://allurereport.org/docs/v3/configure/"""
    return {
        "name": f"Gauntlet {run.root.name}",
        "output": str(run.root / REPORT),
        "historyPath": str(run.root.parent / HISTORY),
        "historyLimit": MOST_HISTORY,
        "categories": categories(),
        "plugins": {
            "scenarios": _page("by scenario", ["suite"]),
            "promises": _page("by promise, and by what was broken", ["feature", "story"]),
        },
    }


def _page(title: str, group_by: list[str]) -> dict[str, object]:
    options = {"reportName": f"Gauntlet, {title}", "singleFile": True, "groupBy": group_by}
    return {"import": "@allurereport/plugin-awesome", "options": options}
