"""The page of a run: one HTML file that needs nothing else, neither a network nor a program but a browser."""

from __future__ import annotations

import base64
import hashlib
import shlex
from collections.abc import Sequence
from pathlib import Path

from markupsafe import Markup

from harness.checks.coverage import Coverage, coverage_of
from harness.checks.run_verdict import RunVerdict, summarise
from harness.evidence.run_directory import RunDirectory, read_json
from reports.coverage_text import coverage_line
from reports.durations import took
from reports.grid import MARKS
from reports.line_chart import STYLE
from reports.page.content import gather
from reports.page.template import render, style

FILE = "report.html"


def write_page(
    run: RunDirectory,
    *,
    verdict: RunVerdict | None = None,
    coverage: Coverage | None = None,
    flows: Sequence[str] = (),
) -> Path:
    """Write ``RUN/report.html``, whole or not at all. What the caller has at hand already need not be read once more.

    ``flows``: correlation ids, or their beginnings, to be drawn besides those that are broken. Raises EvidenceError.
    """
    if verdict is None:
        verdict = read_json(run.verdict_file, RunVerdict) if run.verdict_file.exists() else summarise(run)
    content = gather(run, verdict, coverage or coverage_of(run), flows)
    charts = Markup(STYLE.strip()) if content.load else ""
    css, script = Markup("\n").join((style("page.css"), style("waterfall.css"), charts)), style("page.js")
    page = render(
        "page.html", page=content, css=css, script=script, policy=_policy(css, script), took=took, marks=MARKS,
        coverage_line=coverage_line(content.coverage), command=shlex.join(content.record.command),
    )  # fmt: skip
    temporary = run.root / f"{FILE}.new"
    temporary.write_text(page, encoding="utf-8")
    return temporary.replace(run.root / FILE)


def _policy(css: str, script: str) -> str:
    """Nothing may be loaded, and nothing may run or be drawn but what this page came with."""
    styles, scripts = (f"'sha256-{base64.b64encode(_digest(text)).decode()}'" for text in (css, script))
    nothing = ("default-src 'none'", "base-uri 'none'", "form-action 'none'")
    return "; ".join((*nothing, "img-src data:", f"style-src {styles}", f"script-src {scripts}"))


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()
