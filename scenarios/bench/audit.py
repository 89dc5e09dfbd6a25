"""How fast and how small an audit is, beside those who only parse, and whether it finds what was planted."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
from rich.table import Table

from harness.audit.audit import AuditFinding
from scenarios.bench.audit_corpus import Corpus, write_audit_corpus
from scenarios.bench.run import Figure

LINES, MANY_LINES, ROUNDS = 2_000_000, 10_000_000, 3
RATIO_ONE, RATIO_TWO, MEMORY_MB = 0.75, 1.7, 40.0
_NAMES = {
    "msgspec": "msgspec, untyped decode", "orjson": "orjson.loads, line by line", "typed": "msgspec, our types",
    "audit-1": "full audit, 1 process", "audit-2": "full audit, 2 processes", "duckdb": "DuckDB read_json + GROUP BY",
}  # fmt: skip


class Measured(msgspec.Struct):
    """One contender's pass over the corpus. ``memory_kb``: the peak of its largest process."""

    lines: int
    seconds: float
    memory_kb: int

    @property
    def rate(self) -> float:
        return self.lines / self.seconds


class Found(msgspec.Struct, kw_only=True):
    """What an audit found of what was planted."""

    lines: int
    planted_lines: int
    flows: int
    planted_flows: int
    else_: int

    @property
    def exact(self) -> bool:
        return (self.lines, self.flows, self.else_) == (self.planted_lines, self.planted_flows, 0)


class AuditBench(msgspec.Struct):
    figures: list[Figure]
    rounds: dict[str, list[Measured]]
    found: Found

    @property
    def met(self) -> bool:
        return all(figure.met is not False for figure in self.figures) and self.found.exact


def bench_audit(on_step: Callable[[str], None], *, lines: int = LINES, many_lines: int = MANY_LINES) -> AuditBench:
    """Generate a log, let each contender read it in turn, some rounds long, and take the best of each.

    ``many_lines``: of a second log, for the memory of an audit alone; 0 leaves it out.
    """
    with TemporaryDirectory(prefix="gauntlet-bench-audit-") as folder:
        on_step(f"generating {lines:,} lines")
        corpus = write_audit_corpus(Path(folder) / "corpus", lines=lines)
        rounds: dict[str, list[Measured]] = {name: [] for name in _NAMES}
        findings = Path(folder) / "findings.ndjson"
        for number in range(1, ROUNDS + 1):
            for name in _NAMES:
                on_step(f"round {number} of {ROUNDS}: {_NAMES[name]}")
                rounds[name].append(_run(name, findings, corpus.files))
                if name == "audit-2":
                    found = _compare(corpus, findings)
        for file in corpus.files:
            file.unlink()
        memory = _memory_of_many(many_lines, Path(folder), on_step) if many_lines else None
    return AuditBench(_figures(corpus, rounds, memory), rounds, found)


def _run(name: str, findings: Path, files: Sequence[Path]) -> Measured:
    command = [sys.executable, "-m", "scenarios.bench.audit_contender", name, str(findings), *map(str, files)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{name} failed:\n{done.stderr}")
    return msgspec.convert(json.loads(done.stdout), Measured)


def _compare(corpus: Corpus, findings: Path) -> Found:
    told = [msgspec.json.decode(line, type=AuditFinding) for line in findings.read_bytes().splitlines()]
    lines = {(finding.file, finding.line) for finding in told if not finding.edge}
    flows = {str(finding.correlation_id) for finding in told if finding.edge}
    planted = corpus.planted
    return Found(
        lines=len(lines & set(planted.lines)),
        planted_lines=len(planted.lines),
        flows=len(flows & planted.flows),
        planted_flows=len(planted.flows),
        else_=len(lines - set(planted.lines)) + len(flows - planted.flows),
    )


def _memory_of_many(lines: int, folder: Path, on_step: Callable[[str], None]) -> Measured:
    on_step(f"generating {lines:,} lines")
    corpus = write_audit_corpus(folder / "many", lines=lines)
    on_step("auditing them on 2 processes")
    return _run("audit-2", folder / "findings.ndjson", corpus.files)


def _figures(corpus: Corpus, rounds: dict[str, list[Measured]], many: Measured | None) -> list[Figure]:
    best = {name: max(measured, key=lambda one: one.rate) for name, measured in rounds.items()}
    bare, one, two = (best[name].rate for name in ("msgspec", "audit-1", "audit-2"))
    size = f"{corpus.lines:,} lines of {corpus.bytes / corpus.lines:.0f} bytes"
    figures = [
        Figure(what=_NAMES[name], against=size, measured=best[name].rate, unit="lines/s", ratio=best[name].rate / bare)
        for name in _NAMES
    ]
    figures += [
        Figure(
            what="audit, 1 process", against="msgspec untyped", measured=one, unit="lines/s", baseline=bare,
            ratio=one / bare, target=f"≥ {RATIO_ONE}", met=one / bare >= RATIO_ONE,
        ),
        Figure(
            what="audit, 2 processes", against="1 process", measured=two, unit="lines/s", baseline=one,
            ratio=two / one, target=f"≥ {RATIO_TWO}", met=two / one >= RATIO_TWO,
        ),
    ]  # fmt: skip
    memory = {name: max(measured.memory_kb for measured in rounds[name]) for name in ("audit-1", "audit-2")}
    for name, kb in [*memory.items(), *([("audit-2 of many", many.memory_kb)] if many else [])]:
        what = f"memory of {_NAMES.get(name, f'an audit of {many.lines:,} lines' if many else '')}"
        figures.append(
            Figure(
                what=what, measured=kb / 1024, unit="MB a process", target=f"≤ {MEMORY_MB:.0f}",
                met=kb / 1024 <= MEMORY_MB,
            )
        )  # fmt: skip
    return figures


def table(done: AuditBench) -> Table:
    """The figures, for a terminal."""
    made = Table("what", "against", "measured", "ratio", "target", "")
    for figure in done.figures:
        verdict = "" if figure.met is None else "met" if figure.met else "MISSED"
        ratio = "" if figure.ratio is None else f"{figure.ratio:.2f}"
        made.add_row(
            figure.what, figure.against, f"{figure.measured:,.0f} {figure.unit}", ratio, figure.target, verdict
        )  # fmt: skip
    found = done.found
    made.add_row(
        "planted faulty lines, broken flows", "found, and nothing else",
        f"{found.lines} of {found.planted_lines}, {found.flows} of {found.planted_flows}, else {found.else_}", "",
        "all", "met" if found.exact else "MISSED",
    )  # fmt: skip
    return made
