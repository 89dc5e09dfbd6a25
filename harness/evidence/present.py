"""What goes on right now in a run, worker by worker, for whoever watches: no evidence, and gone when the run ends."""

from __future__ import annotations

import shutil
from contextlib import suppress

from msgspec import Struct

from harness.evidence.run_directory import EvidenceError, RunDirectory, read_json, write_json


class Present(Struct, frozen=True, kw_only=True):
    """One worker's scenario since when, and what we hold broken in it."""

    worker: str
    scenario: str
    since: str
    broken: tuple[str, ...] = ()


def write_present(run: RunDirectory, present: Present) -> None:
    write_json(run.now / f"{present.worker}.json", present)


def read_presents(run: RunDirectory) -> list[Present]:
    """Of all workers, by their names."""
    found = []
    for path in sorted(run.now.glob("*.json")):
        with suppress(EvidenceError):  # its worker may have ended meanwhile
            found.append(read_json(path, Present))
    return found


def forget_presents(run: RunDirectory) -> None:
    shutil.rmtree(run.now, ignore_errors=True)
