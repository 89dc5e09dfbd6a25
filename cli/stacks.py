"""Stacks to look at, and what they are made of: up, down, servers, doctor."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cli.door import NO_ENVIRONMENT, PASS, gauntlet
from cli.options import (
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
@TARGET
def up(run_dir: Path | None, write_target: Path | None, target: Path) -> None:
    """Boot a stack and keep it.

    Prints every address and credential. End it with: gauntlet down.
    """
    from harness.environment.native import up as boot_and_keep
    from harness.environment.written_target import write_target_file
    from reports.terminal import stack_text

    directory = (run_dir or new_run_path("up")).resolve()
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
    from harness.environment.native import down as end_stacks

    ended = end_stacks(run)
    for file in ended:
        click.echo(f"ended: {file}")
    if not ended:
        click.echo("no stack is up")


@gauntlet.command()
@click.option("--install", is_flag=True, help="Install what is missing: with apt-get where we may, and go install.")
def servers(install: bool) -> None:
    """Find (or install) the native servers.

    Says what the doctor says; with --install, after it has provided what is missing and can be.
    """
    from harness.environment.provide import provide

    if install:
        provide(on_step=progress)
    sys.exit(_say_what_is_there())


@gauntlet.command()
def doctor() -> None:
    """Say what a stack would be made of here, and why.

    Each program with its version and place, which proxy server is in use, and what is missing with the command that
    mends it. Exit code 4 if no stack could be booted.
    """
    sys.exit(_say_what_is_there())


def _say_what_is_there() -> int:
    from harness.environment.servers import chosen_proxy_server, look_around
    from reports.terminal import programs_text

    programs = list(look_around().values())
    click.echo(programs_text(programs, chosen_proxy_server()))
    return PASS if all(one.usable or not one.needed for one in programs) else NO_ENVIRONMENT
