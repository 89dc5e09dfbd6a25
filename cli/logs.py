"""What needs no system: audit, contract, docs."""

from __future__ import annotations

import sys
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cli.door import BY_VERDICT, FAIL, PASS, UNKNOWN, gauntlet
from cli.options import RUN, newest_run

# What a command needs alone it imports itself: ``gauntlet --help`` is there at once, and an audit stays small.
from harness.evidence.run_directory import RunDirectory, read_json, write_json
from harness.target import PROJECT_ROOT

if TYPE_CHECKING:
    from harness.audit.engines import EngineName
    from harness.contract.exported import Contract
    from harness.evidence.hunted import KillMatrix


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
    sys.exit(BY_VERDICT[report.verdict] if whole else UNKNOWN)


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

    properties.md, from what properties answered in the tests and in the newest whole run (or RUN), and
    production-readiness.md, from that run; kill-matrix.md and false-alarms.md, from the newest hunt of all seeded bugs
    and the newest count of false alarms in runs/, where there is one; the references of commands and of configuration;
    and the contract's files.
    """
    from harness.checks.run_verdict import RunRecord
    from harness.evidence.clean import CleanRecord
    from reports.clean import markdown as false_alarms_page
    from reports.command_page import command_page
    from reports.configuration_page import configuration_page
    from reports.kill_matrix import markdown as kill_matrix_page
    from reports.properties_page import properties_page, read_tested, read_verdicts
    from reports.readiness_page import readiness_page

    directory = RunDirectory(run or newest_run(whole=True))
    verdicts, began_at = read_verdicts(directory), read_json(directory.run_file, RunRecord).began_at
    page = properties_page(read_tested(tested), verdicts)
    out.mkdir(parents=True, exist_ok=True)
    _write_page(out / "properties.md", page)
    _write_page(out / "production-readiness.md", readiness_page(verdicts, judged_at=began_at[:10]))
    _write_page(out / "reference-cli.md", command_page(gauntlet))
    _write_page(out / "reference-configuration.md", configuration_page())
    if hunts := _hunts_of_all():
        _write_page(out / "kill-matrix.md", kill_matrix_page(hunts[-1]))
    if counts := _newest("clean.json"):
        record = read_json(counts[-1], CleanRecord)
        write_json(out / "false-alarms.json", record)
        _write_page(out / "false-alarms.md", false_alarms_page(record, record_file="false-alarms.json"))
    _write_contract(out / "contract")


def _hunts_of_all() -> list[KillMatrix]:
    """Whole hunts of the project's own catalogue, the newest last."""
    from chaos.seeded_bugs.catalogue import CATALOGUE, load_catalogue
    from harness.evidence.hunted import KillMatrix

    hunts = [read_json(file, KillMatrix) for file in _newest("kill-matrix.json")]
    known = list(load_catalogue())
    return [one for one in hunts if one.catalogue == CATALOGUE.name and [bug.bug for bug in one.hunted] == known]


def _newest(name: str) -> list[Path]:
    """Files of this name in the runs here, the newest last."""
    return sorted((Path.cwd() / "runs").glob(f"*/{name}"), key=lambda path: path.stat().st_mtime)


def _write_page(file: Path, page: str) -> None:
    file.write_text(page, encoding="utf-8")
    click.echo(f"written: {file}")


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
