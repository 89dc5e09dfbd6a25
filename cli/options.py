"""What several commands share: their options, and small helps."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from harness.evidence.run_directory import RunDirectory, new_run_path
from harness.target import DEFAULT_TARGET, PROJECT_ROOT

if TYPE_CHECKING:
    from harness.checks.run_verdict import RunVerdict

_Command = TypeVar("_Command", bound=Callable[..., Any])

RUN = click.argument("run", type=click.Path(exists=True, file_okay=False, path_type=Path), required=False)


def _workers(more: int, in_words: str) -> Callable[[_Command], _Command]:
    return click.option(
        "-n", "--workers", type=click.IntRange(1), default=min(6, len(os.sched_getaffinity(0)) + more),
        show_default=f"{in_words} more than there are cores, six at most", help="Stacks at work.",
    )  # fmt: skip


WORKERS = _workers(2, "two")
GATE_WORKERS = _workers(3, "three")
"""One of them only watches the canaries for a good part of a gate."""
SEED = click.option("--seed", type=int, help="Seed of the run; drawn if not given.")
RUN_DIR = click.option(
    "--run-dir", type=click.Path(path_type=Path), help="Where the evidence goes (default: runs/TIME-SEED)."
)
TARGET = click.option(
    "--target", type=click.Path(path_type=Path), default=DEFAULT_TARGET, help="The system, as a TOML file."
)
SOURCE_ROOT = click.option(
    "--source-root",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    default=PROJECT_ROOT,
    help="Folder with the system's code.",
)


def _remember_environment(context: click.Context, parameter: click.Parameter, named: str | None) -> None:
    """Whatever is started from here is told by the variable."""
    from harness.environment.choice import VARIABLE

    if named:
        os.environ[VARIABLE] = named


ENVIRONMENT = click.option(
    "--environment",
    type=click.Choice(["auto", "native", "containers"]),
    expose_value=False,
    callback=_remember_environment,
    help="How stacks come up. auto: native if its servers are here, or else containers.  [default: auto]",
)
BUG = click.option("--bug", metavar="ID", help="Plant this bug of the target's catalogue into a copy.")


class Duration(click.ParamType):  # type: ignore[type-arg]  # generic only in newer versions of click
    """90s, 10m, 1h; a bare number is seconds."""

    name = "duration"

    def convert(self, value: object, parameter: click.Parameter | None, context: click.Context | None) -> float:
        number, unit = (str(value)[:-1], str(value)[-1:]) if str(value)[-1:] in "smh" else (str(value), "s")
        try:
            seconds = float(number) * {"s": 1, "m": 60, "h": 3600}[unit]
        except ValueError:
            seconds = 0.0
        if not 0 < seconds < 1e6:
            self.fail(f"{value!r} is no duration: expected one such as 90s, 10m or 1h", parameter, context)
        return seconds


def drawn_seed(seed: int | None) -> int:
    """The seed that was given, or one that nobody can foresee."""
    return random.SystemRandom().randrange(1_000_000) if seed is None else seed


def new_run(run_dir: Path | None, suffix: object) -> Path:
    """Where a run goes. Raises UsageError if there is one already."""
    run = (run_dir or new_run_path(suffix)).resolve()
    if (run / "run.json").exists():
        raise click.UsageError(f"{run} holds a run already: give a new folder, or gauntlet check {run}")
    return run


def all_known(what: str, given: Sequence[str], known: Sequence[str]) -> None:
    """Raises UsageError for one that there is not."""
    for one in given:
        if one not in known:
            raise click.UsageError(f"no {what} {one!r}; there are: {', '.join(known)}")


def progress(step: str) -> None:
    """Tell how far it has come, beside the output proper."""
    click.echo(f"… {step}", err=True)


def tell_page(run: Path, verdict: RunVerdict | None = None) -> None:
    """Write the page of a run that has ended, and say where it is."""
    from reports.page import write_page

    if RunDirectory(run).scenarios():
        click.echo(f"to look at: {write_page(RunDirectory(run), verdict=verdict)}")


def newest_run(*, whole: bool = False) -> Path:
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
