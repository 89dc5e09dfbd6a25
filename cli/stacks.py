"""Stacks to look at, and what they are made of: up, down, servers, doctor."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from cli.door import NO_ENVIRONMENT, PASS, gauntlet
from cli.options import (
    ENVIRONMENT,
    RUN,
    TARGET,
    progress,
)

# What a command needs alone it imports itself: ``gauntlet --help`` is there at once, and an audit stays small.
from harness.evidence.run_directory import new_run_path
from harness.target import load_target

if TYPE_CHECKING:
    pass


@gauntlet.command()
@click.option("--run-dir", type=click.Path(path_type=Path), help="Where logs and credentials go (default: runs/…-up).")
@click.option(
    "--write-target",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Also a target file for it: docs/external.md.",
)
@ENVIRONMENT
@TARGET
def up(run_dir: Path | None, write_target: Path | None, target: Path) -> None:
    """Boot a stack and keep it.

    Prints every address and credential. End it with: gauntlet down.
    """
    from harness.environment.boot import up as boot_and_keep
    from harness.environment.choice import provide_for_a_run
    from harness.environment.written_target import write_target_file
    from reports.terminal import stack_text

    directory = (run_dir or new_run_path("up")).resolve()
    provide_for_a_run(progress)
    stack = boot_and_keep(load_target(target), run_dir=directory, name="up", on_step=progress)
    click.echo(stack_text(stack))
    if write_target is not None:
        credentials = write_target_file(write_target.resolve(), stack, target.resolve())
        click.echo(f"target:      . {credentials} && gauntlet gate --target {write_target}")


@gauntlet.command()
@RUN
def down(run: Path | None) -> None:
    """End a stack that is kept up.

    The stacks of the run directory RUN, or else the newest one that is up. Nothing is left behind.
    """
    from harness.environment.boot import down as end_stacks

    ended = end_stacks(run)
    for file in ended:
        click.echo(f"ended: {file}")
    if not ended:
        click.echo("no stack is up")


@gauntlet.command()
@click.option(
    "--install", is_flag=True, help="Install what is missing: with apt-get where we may, go install, npm install."
)
@click.option("--again", is_flag=True, help="Also what is only nice to have and could not be installed within a day.")
@ENVIRONMENT
def servers(install: bool, again: bool) -> None:
    """Find (or install) the native servers.

    Says what the doctor says; with --install, after it has provided what is missing and can be. In containers nothing
    has to be installed; where nothing can be and an engine answers, stacks come up in containers.
    """
    from harness.environment.choice import choose_environment, is_named
    from harness.environment.failures import MissingServers
    from harness.environment.provide import provide

    if install and not is_named("containers"):
        try:
            provide(again=again, on_step=progress)
        except MissingServers:
            if choose_environment().name != "containers":
                raise
    sys.exit(_say_what_is_there(as_json=False))


@gauntlet.command()
@click.option("--sweep", is_flag=True, help="First end and remove what earlier runs have left behind.")
@click.option("--json", "as_json", is_flag=True, help="Every sign as JSON.")
@ENVIRONMENT
def doctor(sweep: bool, as_json: bool) -> None:
    """Say what a stack would be made of here, and why.

    In which environment it would come up; each program, image and package with its version and place; what is missing
    or scarce, with the command that mends it; what earlier runs have left behind. Exit code 4 if no gate could run.
    """
    from harness.environment.leftovers import end_leftovers

    for one in end_leftovers() if sweep else []:
        progress(f"ended: {one.kind} {one.name}")
    sys.exit(_say_what_is_there(as_json=as_json))


def _say_what_is_there(*, as_json: bool) -> int:
    from harness.environment.doctor import examine
    from reports.terminal import diagnosis_text

    found = examine()
    told = msgspec.json.format(msgspec.json.encode(found), indent=2).decode() if as_json else diagnosis_text(found)
    click.echo(told)
    return PASS if found.ready else NO_ENVIRONMENT
