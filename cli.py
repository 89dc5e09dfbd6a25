"""The door for people: ``gauntlet …``. Exit codes: 0 pass, 1 fail, 2 unknown, 3 wrong usage, 4 no environment."""

from __future__ import annotations

import gc
import random
import sys
import time
from contextlib import nullcontext
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

# What a command needs alone it imports itself: ``gauntlet --help`` is there at once, and an audit stays small.
from harness.environment.failures import EnvironmentFailed
from harness.evidence.run_directory import EvidenceError, RunDirectory, new_run_path
from harness.target import DEFAULT_TARGET, PROJECT_ROOT, TargetError, load_target

if TYPE_CHECKING:
    from harness.audit.engines import EngineName
    from harness.checks.verdict import Property
    from harness.contract.exported import Contract

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
@click.option("--nightly", is_flag=True, help="Also those scenarios that take long.")
@click.option("--seed", type=int, help="Seed of the run; drawn if not given.")
@click.option("--run-dir", type=click.Path(path_type=Path), help="Where the evidence goes (default: runs/TIME-SEED).")
@click.option("--target", type=click.Path(path_type=Path), default=DEFAULT_TARGET, help="The system, as a TOML file.")
@click.option("--source-root", type=click.Path(path_type=Path), default=PROJECT_ROOT, help="Folder with its code.")
def gate(
    pytest_arguments: tuple[str, ...],
    workers: int,
    only: str | None,
    quiet: bool,
    nightly: bool,
    seed: int | None,
    run_dir: Path | None,
    target: Path,
    source_root: Path,
) -> None:
    """Run all scenarios and judge them.

    Each worker boots a stack of its own. Every property judges every scenario. The evidence stays in the run directory.
    What follows a lone -- is passed on to pytest: gauntlet gate -- --outage-s 30
    """
    import pytest

    from harness.environment.servers import find_servers

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
    arguments += ["--nightly"] if nightly else []
    arguments += ["-n", str(workers), "--dist", "worksteal"] if workers > 1 else []
    arguments += pytest_arguments
    sys.exit(_exit_code(int(pytest.main(arguments)), RunDirectory(run_dir)))


def _exit_code(pytest_code: int, run: RunDirectory) -> int:
    """pytest knows whether tests failed; the run's verdict knows failed from unknown."""
    import pytest

    from harness.checks.run_verdict import summarise

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
@click.option("--property", "name", help="Ask this property alone; verdicts are not written then.")
def check(run: Path | None, as_json: bool, name: str | None) -> None:
    """Judge an old run again, without any system.

    Uses today's checks on the evidence in the run directory. Default: the newest run in runs/.
    """
    from harness.checks.run_verdict import rejudge
    from reports.terminal import run_text

    directory = RunDirectory(run or _newest_run())
    gc.disable()  # nothing that is read here becomes garbage before the end
    verdict = rejudge(directory, only=_property(name) if name else None, on_scenario=_Patience())
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(verdict), indent=2))
    else:
        click.echo(run_text(verdict, directory.root))
    sys.exit(_BY_VERDICT[verdict.verdict])


def _property(name: str) -> Property:
    from harness.checks import ALL

    known = {prop.name: prop for prop in ALL}
    if name not in known:
        near = get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]}?" if near else f"there are: {', '.join(known)}"
        raise click.UsageError(f"no property {name!r}; {hint}")
    return known[name]


class _Patience:
    """Tells how far long work has come: after two seconds, and then once a second."""

    def __init__(self) -> None:
        self._told = time.monotonic() + 1

    def __call__(self, done: int, of: int) -> None:
        if time.monotonic() - self._told >= 1:
            self._told = time.monotonic()
            _progress(f"{done} of {of} scenarios judged")


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
    done = run_bench(directory, _progress)
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

    done = measure(_progress, lines=lines, many_lines=many)
    Console().print(table(done))
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
    """Print one flow of a run as a tree, and what the other witnesses say of it.

    The beginning of a correlation id will do, if no other flow begins so.
    """
    from harness.checks.one_flow import find_flow
    from reports.one_flow import flow_text

    flow = find_flow(RunDirectory(run), correlation_id)
    for text in flow_text(flow):
        click.echo(text)


@gauntlet.command()
@click.option("--run-dir", type=click.Path(path_type=Path), help="Where logs and credentials go (default: runs/…-up).")
@click.option("--target", type=click.Path(path_type=Path), default=DEFAULT_TARGET, help="The system, as a TOML file.")
def up(run_dir: Path | None, target: Path) -> None:
    """Boot a stack and keep it.

    Prints every address and credential. End it with: gauntlet down.
    """
    from harness.environment.native import up as boot_and_keep
    from reports.terminal import stack_text

    directory = (run_dir or new_run_path("up")).resolve()
    stack = boot_and_keep(load_target(target), run_dir=directory, name="up", on_step=_progress)
    click.echo(stack_text(stack))


@gauntlet.command()
@RUN
def down(run: Path | None) -> None:
    """End a stack that is kept up.

    The stacks of the run directory RUN, or else the newest one that is up. Nothing is left behind.
    """
    from harness.environment.native import down as end_stacks

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
    from reports.terminal import fuzz_text
    from scenarios.fuzz import fuzz as let_loose

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
    from harness.environment.provide import provide
    from harness.environment.servers import find_servers

    found = provide(on_step=_progress) if install else find_servers()
    for name in ("postgres", "rabbitmq", "toxiproxy"):
        click.echo(f"{name:<11} {getattr(found, name) or 'not found, and not needed'}")


@gauntlet.command()
def doctor() -> None:
    """Say what a stack would be made of here, and why.

    Each program with its version and place, which proxy server is in use, and what is missing with the command that
    mends it. Exit code 4 if no stack could be booted.
    """
    from harness.environment.servers import chosen_proxy_server, look_around
    from reports.terminal import programs_text

    programs = list(look_around().values())
    click.echo(programs_text(programs, chosen_proxy_server()))
    sys.exit(PASS if all(one.usable or not one.needed for one in programs) else NO_ENVIRONMENT)


@gauntlet.command()
@RUN
@click.option("--json", "as_json", is_flag=True, help="Every count as JSON.")
def coverage(run: Path | None, as_json: bool) -> None:
    """Say how much of the contract a run exercised.

    Kinds, statuses, fields that may be null, causal edges, faults by edge. What was never seen is reported, not failed.
    Default: the newest run in runs/.
    """
    from rich.console import Console

    from harness.checks.coverage import coverage_of
    from reports.coverage_text import coverage_tables

    seen = coverage_of(RunDirectory(run or _newest_run()))
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(seen), indent=2))
        return
    console = Console(highlight=False, markup=False)
    for part in coverage_tables(seen):
        console.print(part)


@gauntlet.command()
@click.argument("files", nargs=-1, required=True, metavar="FILE…")
@click.option("-j", "--processes", type=click.IntRange(1), default=1, show_default=True, help="Worker processes.")
@click.option(
    "--engine",
    "engine_name",
    type=click.Choice(["processes", "ray"]),
    default="processes",
    show_default=True,
    help="Where they run. ray: on the cluster that RAY_ADDRESS names, or one of this machine.",
)
@click.option("--mapping", type=click.Path(path_type=Path), help="For logs of another system: its fields, as TOML.")
@click.option(
    "--grace",
    "grace_s",
    default=30.0,
    show_default=True,
    metavar="SECONDS",
    help="An open flow this young at the end of the log is in flight, not broken.",
)
@click.option("-o", "--out", type=click.Path(path_type=Path), help="Where the findings go (default: stdout).")
def audit(
    files: tuple[str, ...],
    processes: int,
    engine_name: EngineName,
    mapping: Path | None,
    grace_s: float,
    out: Path | None,
) -> None:
    """Check logs of any size, without the system.

    Every line against the contract, every process's seq for lost, repeated and moved lines, every flow for a missing
    step. Several FILEs are merged by time; a .gz, a .zst and - (standard input) are unpacked into TMPDIR first.
    Findings go to stdout, one JSON object a line; progress and summary to stderr.

    Exit codes: 0 pass, 1 findings, 2 unknown (lines were lost, or interrupted), 3 wrong usage.
    """
    from harness.audit.engines import EngineError
    from harness.audit.mapping import MappingError, load_mapping
    from harness.audit.sources import SourceError
    from reports.audit_terminal import run_audit

    try:
        table = load_mapping(mapping) if mapping else None
        with out.open("wb") if out else nullcontext(sys.stdout.buffer) as file:
            report, whole = run_audit(
                files, file, processes=processes, engine_name=engine_name, mapping=table, grace_s=grace_s
            )  # fmt: skip
    except (EngineError, MappingError, SourceError) as error:
        raise click.UsageError(str(error)) from error
    sys.exit(_BY_VERDICT[report.verdict] if whole else UNKNOWN)


@gauntlet.group()
def contract() -> None:
    """The contract as files: export it, compare versions."""


SCHEMA = click.Path(exists=True, dir_okay=False, path_type=Path)


@contract.command()
@click.option(
    "--out", type=click.Path(file_okay=False, path_type=Path), default=PROJECT_ROOT / "docs" / "contract",
    help="Folder for the files (default: docs/contract).",
)  # fmt: skip
def export(out: Path) -> None:
    """Write JSON Schema and Markdown.

    Both are made from the structs in harness/contract, the same bytes each time.
    """
    _write_contract(out)


@contract.command()
@click.argument("old", type=SCHEMA)
@click.argument("new", type=SCHEMA, required=False)
def diff(old: Path, new: Path | None) -> None:
    """Compare two exported schemas.

    Says of each change whether it is additive or breaking. Exit code 1 if the step of the version does not allow them:
    what breaks needs a new major version, what adds a new minor one. Default for NEW: the contract as it is today.
    """
    from rich.console import Console

    from harness.contract.diff import diff as compare
    from harness.contract.exported import NoContract, todays
    from reports.contract_text import diff_table, diff_verdict

    before = _contract_in(old)
    try:
        compared = compare(before, _contract_in(new) if new else todays(before.name))
    except NoContract as problem:
        raise click.UsageError(f"{old}: {problem}") from None
    if compared.changes:
        Console(highlight=False, markup=False).print(diff_table(compared))
    click.echo(diff_verdict(compared))
    sys.exit(PASS if compared.compatible else FAIL)


@gauntlet.command()
@RUN
@click.option(
    "--tested", type=click.Path(path_type=Path), default=PROJECT_ROOT / "runs" / "tested.json",
    help="What a whole make test has left (default: runs/tested.json).",
)  # fmt: skip
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), default=PROJECT_ROOT / "docs", help="Folder.")
def docs(run: Path | None, tested: Path, out: Path) -> None:
    """Write the generated pages anew.

    docs/properties.md, from what properties answered in the tests and in the newest whole run (or in RUN), and the
    contract's files in docs/contract.
    """
    from reports.properties_page import properties_page, read_tested, read_verdicts

    page = properties_page(read_tested(tested), read_verdicts(RunDirectory(run or _newest_run(whole=True))))
    out.mkdir(parents=True, exist_ok=True)
    (out / "properties.md").write_text(page, encoding="utf-8")
    click.echo(f"written: {out / 'properties.md'}")
    _write_contract(out / "contract")


def _write_contract(folder: Path) -> None:
    from harness.contract.markdown import artifacts

    folder.mkdir(parents=True, exist_ok=True)
    for name, content in artifacts().items():
        (folder / name).write_bytes(content)
        click.echo(f"written: {folder / name}")


def _contract_in(file: Path) -> Contract:
    from harness.contract.exported import NoContract, read_contract

    try:
        return read_contract(file.read_bytes())
    except NoContract as problem:
        raise click.UsageError(f"{file} is no exported contract: {problem}") from None


def _progress(step: str) -> None:
    click.echo(f"… {step}", err=True)


def _newest_run(*, whole: bool = False) -> Path:
    """The run begun last; with ``whole``, the last full gate."""
    from harness.checks.run_verdict import RunRecord
    from harness.evidence.run_directory import read_json

    runs = sorted((Path.cwd() / "runs").glob("*/run.json"), key=lambda path: path.stat().st_mtime)
    if whole:
        runs = [path for path in runs if read_json(path, RunRecord).whole]
    if not runs:
        what, how = ("whole run", "make gate") if whole else ("run", "gauntlet gate")
        raise click.UsageError(f"no {what} in {Path.cwd() / 'runs'}: name one, or make one with {how}")
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
