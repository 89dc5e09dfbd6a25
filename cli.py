"""The door for people: ``gauntlet …``. Exit codes: 0 pass, 1 fail, 2 unknown, 3 wrong usage, 4 no environment."""

from __future__ import annotations

import gc
import random
import sys
from pathlib import Path

import click
import msgspec
import pytest
from rich.console import Console

from harness.checks.run_verdict import rejudge, summarise
from harness.environment.failures import EnvironmentFailed
from harness.environment.native import down as end_stacks
from harness.environment.native import up as boot_and_keep
from harness.environment.provide import provide
from harness.environment.servers import find_servers
from harness.evidence.evidence import read_logs
from harness.evidence.run_directory import EvidenceError, RunDirectory, new_run_path
from harness.target import DEFAULT_TARGET, PROJECT_ROOT, TargetError, load_target
from harness.trace.findings import judge_flow
from harness.trace.flow import Surroundings, flows_of
from harness.trace.render import tree
from reports.terminal import fuzz_text, run_text, stack_text
from scenarios.bench.run import bench as run_bench
from scenarios.bench.run import table as bench_table

PASS, FAIL, UNKNOWN, USAGE, NO_ENVIRONMENT, INTERRUPTED = 0, 1, 2, 3, 4, 130
_BY_VERDICT = {"pass": PASS, "fail": FAIL, "unknown": UNKNOWN}

RUN = click.argument("run", type=click.Path(exists=True, file_okay=False, path_type=Path), required=False)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
def gauntlet() -> None:
    """Prove that an event-driven CRM keeps its promises while things break.

    Exit codes: 0 pass, 1 fail, 2 unknown, 3 wrong usage, 4 the environment did not come up.
    """


@gauntlet.command()
@click.argument("pytest_arguments", nargs=-1, type=click.UNPROCESSED)
@click.option("-n", "--workers", default=2, show_default=True, help="Stacks to run scenarios on side by side.")
@click.option("-k", "only", metavar="EXPRESSION", help="Only scenarios whose names match (as in pytest).")
@click.option("-q", "--quiet", is_flag=True, help="One line a scenario file, and the verdict.")
@click.option("--seed", type=int, help="Seed of the run; drawn if not given.")
@click.option("--run-dir", type=click.Path(path_type=Path), help="Where the evidence goes (default: runs/TIME-SEED).")
@click.option("--target", type=click.Path(path_type=Path), default=DEFAULT_TARGET, help="The system, as a TOML file.")
@click.option("--source-root", type=click.Path(path_type=Path), default=PROJECT_ROOT, help="Folder with its code.")
def gate(
    pytest_arguments: tuple[str, ...],
    workers: int,
    only: str | None,
    quiet: bool,
    seed: int | None,
    run_dir: Path | None,
    target: Path,
    source_root: Path,
) -> None:
    """Run all scenarios and judge them.

    Each worker boots a stack of its own. Every property judges every scenario. The evidence stays in the run directory.
    What follows a lone -- is passed on to pytest: gauntlet gate -- --outage-s 30
    """
    load_target(target)
    find_servers()
    seed = random.SystemRandom().randrange(1_000_000) if seed is None else seed
    run_dir = run_dir or new_run_path(seed)
    if (run_dir / "run.json").exists():
        raise click.UsageError(f"{run_dir} holds a run already: give a new folder, or gauntlet check {run_dir}")
    arguments = [
        str(PROJECT_ROOT / "scenarios"), f"--rootdir={PROJECT_ROOT}", f"--run-dir={run_dir}", f"--target={target}",
        f"--source-root={source_root}", f"--seed={seed}", "-p", "no:cacheprovider",
        "-p", "no:hypothesispytest",  # no scenario needs it, and every process of pytest would wait a second for it
    ]  # fmt: skip
    arguments += ["-k", only] if only else ["--whole"]
    arguments += ["-q"] if quiet else []
    arguments += ["-n", str(workers), "--dist", "worksteal"] if workers > 1 else []
    arguments += pytest_arguments
    sys.exit(_exit_code(int(pytest.main(arguments)), RunDirectory(run_dir)))


def _exit_code(pytest_code: int, run: RunDirectory) -> int:
    """pytest knows whether tests failed; the run's verdict knows failed from unknown."""
    if pytest_code == pytest.ExitCode.INTERRUPTED:
        return INTERRUPTED
    if (run.root / "environment-failure.txt").exists():
        click.echo((run.root / "environment-failure.txt").read_text(encoding="utf-8"), err=True)
        return NO_ENVIRONMENT
    if pytest_code in (pytest.ExitCode.USAGE_ERROR, pytest.ExitCode.NO_TESTS_COLLECTED):
        return USAGE
    if pytest_code == pytest.ExitCode.OK:
        return PASS
    verdict = summarise(run).verdict if run.run_file.exists() else "unknown"
    return _BY_VERDICT[verdict] or FAIL


@gauntlet.command()
@RUN
@click.option("--json", "as_json", is_flag=True, help="The whole verdict as JSON.")
def check(run: Path | None, as_json: bool) -> None:
    """Judge an old run again, without any system.

    Uses today's checks on the evidence in the run directory. Default: the newest run in runs/.
    """
    directory = RunDirectory(run or _newest_run())
    gc.disable()  # nothing that is read here becomes garbage before the end
    verdict = rejudge(directory)
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(verdict), indent=2))
    else:
        click.echo(run_text(verdict, directory.root))
    sys.exit(_BY_VERDICT[verdict.verdict])


@gauntlet.command()
@click.option("--run-dir", type=click.Path(path_type=Path), help="Where figures and logs go (default: runs/…-bench).")
def bench(run_dir: Path | None) -> None:
    """Measure the speed of the reference CRM.

    PATCHes against pgbench, the relay against a bare publisher, PATCH → deal end to end. Takes less than three
    minutes. Exit code 1 if a target is missed.
    """
    directory = (run_dir or new_run_path("bench")).resolve()
    done = run_bench(directory, _progress)
    Console().print(bench_table(done))
    click.echo(f"every sample: {directory / 'bench.json'}")
    sys.exit(PASS if done.met else FAIL)


@gauntlet.command("bench-judge")
@click.option("--operations", default=100_000, show_default=True, help="So many, with ten log lines each.")
def bench_judge(operations: int) -> None:
    """Measure how long judging takes.

    Writes a run in which all is well, and checks it. Exit code 1 if that takes more than 15 s or 1 GB.
    """
    from scenarios.bench.judge import measure

    done = measure(_progress, operations=operations)
    click.echo(str(done))
    sys.exit(PASS if done.met else FAIL)


@gauntlet.command()
@click.argument("run", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("correlation_id")
def show(run: Path, correlation_id: str) -> None:
    """Print one flow of a run as a tree."""
    directory = RunDirectory(run)
    for stack in sorted(path.name for path in (run / "logs").iterdir()):
        logs = read_logs(directory, stack)
        flow = flows_of(line for log in logs for line in log.lines).get(correlation_id)
        if flow is not None:
            killed = {log.instance: log.lines[-1].ts for log in logs if log.killed and log.lines}
            lost = [hole for log in logs for hole in log.lost]
            judged = judge_flow(flow, Surroundings(killed_instances=killed), lost)
            click.echo(f"flow {correlation_id} on stack {stack}: {judged.state}")
            for text in tree(flow, judged.broken):
                click.echo(text)
            return
    raise click.UsageError(f"no line of {run} belongs to correlation {correlation_id}")


@gauntlet.command()
@click.option("--run-dir", type=click.Path(path_type=Path), help="Where logs and credentials go (default: runs/…-up).")
@click.option("--target", type=click.Path(path_type=Path), default=DEFAULT_TARGET, help="The system, as a TOML file.")
def up(run_dir: Path | None, target: Path) -> None:
    """Boot a stack and keep it.

    Prints every address and credential. End it with: gauntlet down.
    """
    directory = (run_dir or new_run_path("up")).resolve()
    stack = boot_and_keep(load_target(target), run_dir=directory, name="up", on_step=_progress)
    click.echo(stack_text(stack))


@gauntlet.command()
@RUN
def down(run: Path | None) -> None:
    """End a stack that is kept up.

    The stacks of the run directory RUN, or else the newest one that is up. Nothing is left behind.
    """
    ended = end_stacks(run)
    for file in ended:
        click.echo(f"ended: {file}")
    if not ended:
        click.echo("no stack is up")


@gauntlet.command()
@click.option("--seed", type=int, help="Seed of the requests; drawn if not given.")
@click.option("--requests", default=2_000, show_default=True, help="Send at least so many, over all operations.")
@click.option("--run-dir", type=click.Path(path_type=Path), help="Where the logs go (default: runs/TIME-SEED).")
@click.option("--target", type=click.Path(path_type=Path), default=DEFAULT_TARGET, help="The system, as a TOML file.")
def fuzz(seed: int | None, requests: int, run_dir: Path | None, target: Path) -> None:
    """Fuzz the services by their OpenAPI documents.

    Boots a stack and lets Schemathesis loose on it, with all checks on. Then the log has to keep its contract.
    """
    from scenarios.fuzz import fuzz as let_loose  # a second's import, which no other command needs

    seed = random.SystemRandom().randrange(1_000_000) if seed is None else seed
    click.echo(f"seed {seed}")
    report = let_loose(
        load_target(target), run_dir=(run_dir or new_run_path(seed)).resolve(), seed=seed, requests=requests
    )
    mistakes = report.mistakes(requests_at_least=requests)
    click.echo(fuzz_text(report.requests, report.server_errors, report.log_lines, mistakes))
    sys.exit(FAIL if mistakes else PASS)


@gauntlet.command()
@click.option("--install", is_flag=True, help="Install what is missing: with apt-get where we may, and go install.")
def servers(install: bool) -> None:
    """Find (or install) the native servers.

    Says which PostgreSQL, RabbitMQ and Toxiproxy will be used, or what is missing and how to get it.
    """
    found = provide(on_step=_progress) if install else find_servers()
    for name in ("postgres", "rabbitmq", "toxiproxy"):
        click.echo(f"{name:<11} {getattr(found, name)}")


def _progress(step: str) -> None:
    click.echo(f"… {step}", err=True)


def _newest_run() -> Path:
    runs = sorted((Path.cwd() / "runs").glob("*/run.json"), key=lambda path: path.stat().st_mtime)
    if not runs:
        raise click.UsageError(f"no run in {Path.cwd() / 'runs'}: name one, or make one with gauntlet gate")
    return runs[-1].parent


def main() -> None:
    """Entry point: turns what went wrong into one clear message and the right exit code."""
    try:
        gauntlet.main(standalone_mode=False)
    except click.exceptions.Exit as done:
        sys.exit(done.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(USAGE)
    except (TargetError, EvidenceError) as error:
        click.echo(f"gauntlet: {error}", err=True)
        sys.exit(USAGE)
    except EnvironmentFailed as error:
        click.echo(f"gauntlet: {error}", err=True)
        sys.exit(NO_ENVIRONMENT)
    except (KeyboardInterrupt, click.Abort):
        sys.exit(INTERRUPTED)


if __name__ == "__main__":
    main()
