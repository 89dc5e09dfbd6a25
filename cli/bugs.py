"""Who tests the tests: bugs."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cli.door import FAIL, INTERRUPTED, PASS, gauntlet
from cli.options import RUN_DIR, SEED, SOURCE_ROOT, WORKERS, Duration, all_known, drawn_seed, new_run
from harness.target import load_target

if TYPE_CHECKING:
    from chaos.seeded_bugs.catalogue import Bug


@gauntlet.command()
@click.argument("ids", nargs=-1, metavar="[ID…]")
@click.option(
    "--catalogue",
    "file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Bugs from this file, which may lie anywhere (default: chaos/seeded_bugs/catalogue.toml).",
)
@click.option("--all-scenarios", is_flag=True, help="Each bug meets the whole gate, also after it has been killed.")
@click.option("--within", "within_s", type=Duration(), default="15m", show_default=True, help="For one bug, at most.")
@WORKERS
@SEED
@RUN_DIR
@SOURCE_ROOT
def bugs(
    ids: tuple[str, ...],
    file: Path | None,
    all_scenarios: bool,
    within_s: float,
    workers: int,
    seed: int | None,
    run_dir: Path | None,
    source_root: Path,
) -> None:
    """Plant bugs into the system: each has to turn a run red, and for the right reason.

    Each bug goes into a copy of the system, on a stack of its own. The scenarios that are likely to find it come first;
    one that survives the gate also meets a crash sweep, the nightly scenarios and chaos at random. The first red ends
    it: killed if a property fails that the bug is expected to break, wrong reason otherwise. Exit code 1 unless all
    are killed. kill-matrix.json and kill-matrix.md of the run directory hold everything.
    """
    from rich.console import Console
    from rich.table import Table

    from chaos.seeded_bugs.catalogue import CATALOGUE, CatalogueError, load_catalogue
    from harness.environment.machine import machine
    from harness.environment.servers import find_servers
    from harness.evidence.clock import wall_now
    from harness.evidence.hunted import KillMatrix
    from harness.evidence.run_directory import write_json
    from reports.kill_matrix import HuntView, final_text, markdown
    from scenarios.kill_matrix.bugs import hunt_all
    from scenarios.kill_matrix.hunt import Hunting

    try:
        known = load_catalogue()
        catalogue = load_catalogue(file) if file else known
    except CatalogueError as error:
        raise click.UsageError(str(error)) from None
    all_known("bug", ids, list(catalogue))
    _properties_exist(catalogue)
    chosen = {name: bug for name, bug in catalogue.items() if not ids or name in ids}
    find_servers()
    seed = drawn_seed(seed)
    run = new_run(run_dir, "bugs")
    console = Console(highlight=False, markup=False)
    console.print(f"{len(chosen)} bugs, seed {seed}; evidence: {run}", soft_wrap=True)
    hunting = Hunting(seed=seed, within_s=within_s, exhaustive=all_scenarios, source_root=source_root.resolve())
    began_at, began = wall_now(), time.monotonic()
    with HuntView(console, of=len(chosen)) as view:
        hunted = hunt_all(chosen, known, load_target(), run, hunting, workers=workers, listener=view)
    matrix = KillMatrix(
        catalogue=str(file or CATALOGUE.name), seed=seed, began_at=began_at, machine=machine(), workers=workers,
        hunted=tuple(hunted), took_s=round(time.monotonic() - began, 1), interrupted=hunting.interrupted.is_set(),
    )  # fmt: skip
    write_json(run / "kill-matrix.json", matrix)
    (run / "kill-matrix.md").write_text(markdown(matrix), encoding="utf-8")
    for part in final_text(matrix):
        console.print(part, soft_wrap=not isinstance(part, Table))
    console.print(f"all of it: {run / 'kill-matrix'}.json, .md", soft_wrap=True)
    sys.exit(INTERRUPTED if matrix.interrupted else FAIL if matrix.alive else PASS)


def _properties_exist(catalogue: Mapping[str, Bug]) -> None:
    """Raises UsageError for a bug that nothing could convict."""
    from harness.checks import ALL

    names = [prop.name for prop in ALL]
    for bug_id, bug in catalogue.items():
        for name in bug.expect:
            if name not in names:
                near = get_close_matches(name, names, n=1)
                hint = f"did you mean {near[0]}?" if near else f"there are: {', '.join(names)}"
                raise click.UsageError(f"{bug_id} expects {name!r} to fail, and there is no such property: {hint}")
        if not bug.expect:
            raise click.UsageError(f"{bug_id} expects nothing: name the properties of which one has to fail")
