"""What the properties of the running system read comes back from the disk, and only an older run may lack it."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.evidence.evidence import Evidence, load_evidence
from harness.evidence.recording import Recording
from harness.evidence.records import ColumnRow, HealthProbe, QueueRow, Rows, Schema, Topology, UniqueRow
from harness.evidence.run_directory import EvidenceError, RunDirectory, ScenarioDirectory
from harness.evidence.write import write_evidence
from tests.builders import moment, scenario, target
from tests.runs import the_run, write_logs

PROBE = HealthProbe(service="crm", process="crm-b", asked_at=moment(1), answered_at=moment(2), ready=True)
SCHEMA = Schema((ColumnRow("crm.leads", "id", "uuid"),), (UniqueRow("crm.leads", ("id", "lower(email)")),))

TOPOLOGY = Topology((QueueRow("automation.dlq", True, False, {"delivery-limit": 20, "single-active-consumer": True}),))


def written(folder: Path, *, format: int) -> ScenarioDirectory:
    run: RunDirectory = the_run(folder)
    write_logs(run, [])
    directory = run.scenario("one")
    write_evidence(
        directory,
        scenario=scenario(format=format, clock=(moment(9), 9)),
        recording=Recording(health=[PROBE]),
        tap=(),
        resting=(),
        received=(),
        rows=Rows(),
        schema=SCHEMA,
        topology=TOPOLOGY,
    )
    return directory


def read(directory: ScenarioDirectory) -> Evidence:
    return load_evidence(directory, target())


def test_probes_schema_topology_and_clock_survive_the_disk(tmp_path: Path) -> None:
    evidence = read(written(tmp_path, format=3))
    assert (evidence.health, evidence.schema, evidence.topology) == ((PROBE,), SCHEMA, TOPOLOGY)
    assert evidence.scenario.clock == (moment(9), 9)


@pytest.mark.parametrize("file", ["health.ndjson", "schema.json", "topology.json"])
def test_a_file_that_has_to_be_there_and_is_not_is_named(tmp_path: Path, file: str) -> None:
    directory = written(tmp_path, format=3)
    (directory.root / file).unlink()
    with pytest.raises(EvidenceError, match=file):
        read(directory)


def test_an_older_run_is_read_without_them(tmp_path: Path) -> None:
    directory = written(tmp_path, format=1)
    for file in (directory.health_file, directory.schema_file, directory.topology_file):
        file.unlink()
    older = read(directory)
    assert (older.health, older.schema, older.topology) == ((), Schema(), Topology())


def test_a_run_that_is_a_little_older_lacks_the_topology_alone(tmp_path: Path) -> None:
    directory = written(tmp_path, format=2)
    directory.topology_file.unlink()
    assert (read(directory).schema, read(directory).topology) == (SCHEMA, Topology())
