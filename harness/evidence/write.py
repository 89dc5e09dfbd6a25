"""Writing a scenario's evidence down: the counterpart of ``load_evidence``."""

from __future__ import annotations

from collections.abc import Sequence

from harness.evidence.recording import Recording
from harness.evidence.records import Received, RestingMessage, Rows, ScenarioRecord, Schema, TapMessage, Topology
from harness.evidence.run_directory import ScenarioDirectory, append_file, write_json, write_records


def write_evidence(
    directory: ScenarioDirectory,
    *,
    scenario: ScenarioRecord,
    recording: Recording,
    tap: Sequence[TapMessage],
    resting: Sequence[RestingMessage],
    received: Sequence[Received],
    rows: Rows,
    schema: Schema | None = None,
    topology: Topology | None = None,
    tap_begun: bool = False,
) -> None:
    """Write all files of one scenario. ``scenario.json`` comes last: a folder that has it is complete.

    ``tap_begun``: the tap was written down while it filled; what is given is the rest of it.
    """
    write_records(directory.operations_file, recording.operations)
    for file in recording.elsewhere:
        append_file(directory.operations_file, file)
    write_records(directory.faults_file, recording.faults)
    write_records(directory.tap_file, tap, append=tap_begun)
    write_records(directory.resting_file, resting)
    write_records(directory.sinks_file, received)
    write_json(directory.rows_file, rows)
    write_records(directory.health_file, recording.health)
    write_json(directory.schema_file, schema or Schema())
    write_json(directory.topology_file, topology or Topology())
    write_json(directory.scenario_file, scenario)
