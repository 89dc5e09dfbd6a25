"""Where everything lies in a run directory. The layout is the only coupling between recording and judging.

::

    RUN/run.json                       seed, command, target, when, and the run's verdict
    RUN/outcomes.ndjson                what pytest said of each scenario, also where there is no evidence to judge
    RUN/logs/STACK/SERVICE-N.ndjson  what each process start wrote on stdout, untouched: the one copy of the log lines
    RUN/stacks/STACK/stack.json      what was up (with credentials: mode 0600)
    RUN/scenarios/SLUG/              scenario.json, operations.ndjson, faults.ndjson, tap.ndjson, resting.ndjson,
                                     sinks.ndjson, rows.json, health.ndjson, schema.json, topology.json, and
                                     verdict.json, which judging writes anew
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from harness.evidence.clock import wall_now
from harness.evidence.sharing import Sharing

AT_ONCE = 1_000
ENVIRONMENT_FAILURE = "environment-failure.txt"
"""In a run's folder: why no stack came up."""
Record = TypeVar("Record", bound=msgspec.Struct)


class EvidenceError(Exception):
    """A run directory lacks a file or has a broken one. The message names it."""


@dataclass(frozen=True, slots=True)
class RunDirectory:
    """Paths of one run."""

    root: Path

    @property
    def run_file(self) -> Path:
        return self.root / "run.json"

    @property
    def verdict_file(self) -> Path:
        return self.root / "verdict.json"

    @property
    def outcomes_file(self) -> Path:
        return self.root / "outcomes.ndjson"

    @property
    def now(self) -> Path:
        """While the run goes on: what each worker is at."""
        return self.root / "now"

    def logs(self, stack: str) -> Path:
        return self.root / "logs" / stack

    def stack_file(self, stack: str) -> Path:
        return self.root / "stacks" / stack / "stack.json"

    def scenarios(self) -> list[ScenarioDirectory]:
        """The scenarios that were recorded, by name of their folder."""
        folders = sorted((self.root / "scenarios").glob("*/scenario.json"))
        return [ScenarioDirectory(path.parent) for path in folders]

    def scenario(self, name: str) -> ScenarioDirectory:
        """The folder for a scenario, made if need be."""
        directory = self.scenario_at(name)
        directory.root.mkdir(parents=True, exist_ok=True)
        return directory

    def scenario_at(self, name: str) -> ScenarioDirectory:
        """Where a scenario is, if it has left anything."""
        return ScenarioDirectory(self.root / "scenarios" / re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-"))


@dataclass(frozen=True, slots=True)
class ScenarioDirectory:
    """Paths of one scenario's evidence."""

    root: Path

    @property
    def scenario_file(self) -> Path:
        return self.root / "scenario.json"

    @property
    def operations_file(self) -> Path:
        return self.root / "operations.ndjson"

    @property
    def faults_file(self) -> Path:
        return self.root / "faults.ndjson"

    @property
    def tap_file(self) -> Path:
        return self.root / "tap.ndjson"

    @property
    def resting_file(self) -> Path:
        return self.root / "resting.ndjson"

    @property
    def sinks_file(self) -> Path:
        return self.root / "sinks.ndjson"

    @property
    def rows_file(self) -> Path:
        return self.root / "rows.json"

    @property
    def health_file(self) -> Path:
        return self.root / "health.ndjson"

    @property
    def schema_file(self) -> Path:
        return self.root / "schema.json"

    @property
    def topology_file(self) -> Path:
        return self.root / "topology.json"

    @property
    def verdict_file(self) -> Path:
        return self.root / "verdict.json"

    @property
    def run(self) -> RunDirectory:
        return RunDirectory(self.root.parent.parent)


def new_run_path(suffix: object) -> Path:
    """Where a run goes if nobody says otherwise: a new folder in ``runs/`` of the working directory."""
    moment = wall_now()[:19].replace("-", "").replace(":", "")
    return Path.cwd() / "runs" / f"{moment}Z-{suffix}"


def write_json(path: Path, value: Any) -> None:
    """Write a value whole or not at all: a reader never meets half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".new")
    temporary.write_bytes(msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n")
    temporary.replace(path)


def read_json(path: Path, record: type[Record]) -> Record:
    """Raises EvidenceError when the file is missing or is not such a record."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=record)
    except (OSError, msgspec.DecodeError, msgspec.ValidationError) as error:
        raise EvidenceError(f"{path}: expected a {record.__name__}: {error}") from error


def write_records(path: Path, records: Iterable[msgspec.Struct], *, append: bool = False) -> None:
    """Write records as NDJSON, after those that are there where it is to ``append``."""
    with path.open("ab" if append else "wb") as file:
        file.writelines(msgspec.json.encode(record) + b"\n" for record in records)


def append_file(path: Path, other: Path) -> None:
    """Write the records of another file after those that are there."""
    with path.open("ab") as file, other.open("rb") as source:
        shutil.copyfileobj(source, file)


def read_records(path: Path, record: type[Record], sharing: Sharing | None = None) -> tuple[Record, ...]:
    """Read NDJSON back. Raises EvidenceError naming file and line; a missing file is an error, an empty one is not."""
    records, found = [], each_record(path, record)
    while block := list(islice(found, AT_ONCE)):
        if sharing is not None:
            sharing.share(block)
        records += block
    return tuple(records)


def each_record(path: Path, record: type[Record]) -> Iterator[Record]:
    """The same one by one, for what is too much to be held at once."""
    decode = msgspec.json.Decoder(record).decode
    number = 0
    try:
        with path.open("rb") as file:
            for line in file:
                number += 1
                yield decode(line)
    except OSError as error:
        raise EvidenceError(f"{path}: expected {record.__name__} records: {error}") from error
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise EvidenceError(f"{path}:{number}: expected a {record.__name__}: {error}") from error
