"""How fast it all is: bench and its siblings."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cli.door import FAIL, PASS, gauntlet
from cli.options import (
    progress,
)

# What a command needs alone it imports itself: ``gauntlet --help`` is there at once, and an audit stays small.
from harness.evidence.run_directory import new_run_path

if TYPE_CHECKING:
    pass


@gauntlet.command()
@click.option("--run-dir", type=click.Path(path_type=Path), help="Where figures and logs go (default: runs/…-bench).")
def bench(run_dir: Path | None) -> None:
    """Measure the speed of the reference CRM.

    PATCHes against pgbench, the relay against a bare publisher, PATCH → deal end to end. Takes less than three
    minutes. Exit code 1 if a target is missed.
    """
    from rich.console import Console

    from scenarios.bench.run import bench as run_bench
    from scenarios.bench.run import table

    directory = (run_dir or new_run_path("bench")).resolve()
    done = run_bench(directory, progress)
    Console().print(table(done))
    click.echo(f"every sample: {directory / 'bench.json'}")
    sys.exit(PASS if done.met else FAIL)


@gauntlet.command("bench-audit")
@click.option("--lines", default=2_000_000, show_default=True, help="Lines of the log that all read.")
@click.option("--many", default=10_000_000, show_default=True, help="Lines of the log for memory alone; 0: none.")
def bench_audit(lines: int, many: int) -> None:
    """Measure the speed of an audit.

    Against those who only parse (msgspec, orjson, DuckDB), and whether it finds all that was planted, and nothing else.
    Takes some minutes, and room for the logs in TMPDIR: 550 bytes a line. Exit code 1 if a target is missed.
    """
    from rich.console import Console

    from scenarios.bench.audit import bench_audit as measure
    from scenarios.bench.audit import table

    done = measure(progress, lines=lines, many_lines=many)
    Console().print(table(done))
    sys.exit(PASS if done.met else FAIL)


@gauntlet.command("bench-judge")
@click.option("--operations", default=100_000, show_default=True, help="So many, with ten log lines each.")
def bench_judge(operations: int) -> None:
    """Measure how long judging takes.

    Writes a run in which all is well, and checks it. Exit code 1 if that takes more than 15 s or 1 GB.
    """
    from scenarios.bench.judge import measure

    done = measure(progress, operations=operations)
    click.echo(str(done))
    sys.exit(PASS if done.met else FAIL)


@gauntlet.command("bench-proxy")
def bench_proxy() -> None:
    """Measure what the fault proxy costs.

    Added round trips and the speed of one stream, beside a bare relay and toxiproxy-server; takes less than a minute.
    Exit code 1 if a target is missed.
    """
    from rich.console import Console

    from scenarios.bench.proxy import measure, table

    done = measure(progress)
    Console().print(table(done))
    sys.exit(PASS if done.met else FAIL)


PAGE_MOST_MB, PAGE_MOST_S = 5.0, 2.0


@gauntlet.command("bench-page")
@click.option("--operations", default=100_000, show_default=True, help="So many flows, of which some are broken.")
def bench_page(operations: int) -> None:
    """Measure the page of a large red run.

    Writes a run in which a tenth of all deals is lost, its page, and opens that in Chromium. Takes a minute. Exit code
    1 if the page has more than 5 MB or takes more than 2 s to open.
    """
    import tempfile
    import time

    from harness.evidence.run_directory import RunDirectory
    from reports.page import write_page
    from reports.screenshots import browser, opens_in
    from scenarios.bench.page_corpus import write_red_corpus

    with tempfile.TemporaryDirectory(prefix="gauntlet-page-") as folder:
        root = Path(folder) / "run"
        progress(f"a red run of {operations:,} operations, in {root}")
        verdict = write_red_corpus(root, operations=operations)
        progress("its page")
        began = time.monotonic()
        page = write_page(RunDirectory(root), verdict=verdict)
        wrote_s, size_mb = time.monotonic() - began, page.stat().st_size / 1e6
        with browser() as opened:
            opened_s = opens_in(opened, page)
    met = size_mb <= PAGE_MOST_MB and opened_s <= PAGE_MOST_S
    click.echo(
        f"{operations:,} flows, {sum(cause.count for cause in verdict.causes):,} findings: {size_mb:.2f} MB (at most "
        f"{PAGE_MOST_MB:g}), opened in {opened_s:.2f} s (at most {PAGE_MOST_S:g}), written in {wrote_s:.1f} s: "
        f"{'met' if met else 'missed'}"
    )
    sys.exit(PASS if met else FAIL)
