"""Files beside a test: its verdict, a picture, what was broken; of a red one the proof as well, drawn and logged."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from uuid import uuid4

import msgspec
from allure_commons.logger import AllureFileLogger
from allure_commons.model2 import Attachment
from allure_commons.types import AttachmentType

from harness.checks.causes import causes_of
from harness.checks.judge import ScenarioVerdict
from harness.checks.one_flow import flow_of
from harness.contract.log_lines import Line
from harness.evidence.evidence import Evidence
from harness.evidence.records import Fault, Operation, ScenarioRecord
from harness.trace.waterfall import Claim, waterfall
from reports.page.picture import svg
from reports.timeline import timeline_svg

MOST_TRACES = 5
MOST_BYTES = 128 * 1024
"""Of each log: what was written last."""


class Attachments:
    """Those of one test."""

    def __init__(self, logger: AllureFileLogger) -> None:
        self._logger = logger
        self.made: list[Attachment] = []

    def add(self, name: str, content: str | bytes, kind: AttachmentType = AttachmentType.TEXT) -> None:
        source = f"{uuid4()}-attachment.{kind.extension}"
        self._logger.report_attached_data(content, source)
        self.made.append(Attachment(name=name, source=source, type=kind.mime_type))

    def add_story(
        self,
        scenario: ScenarioRecord,
        operations: Sequence[Operation],
        faults: Sequence[Fault],
        verdict: ScenarioVerdict,
    ) -> None:
        """What every test has: the traces of its causes, if any, the picture, the faults."""
        for cause in causes_of(verdict.findings)[:MOST_TRACES]:
            if cause.example.trace:
                self.add(f"trace: {cause.title}", "\n".join(cause.example.trace))
        self.add("timeline", timeline_svg(scenario, operations, faults, verdict.findings), AttachmentType.SVG)
        if faults:
            self.add("faults", "\n".join(map(_fault_text, faults)))

    def add_proof(self, evidence: Evidence, verdict: ScenarioVerdict) -> None:
        """Pictures of the flows in question, their lines, and all that each process wrote in the scenario's time."""
        for example in (cause.example for cause in causes_of(verdict.findings)[:MOST_TRACES]):
            if example.correlation_id:
                flow = flow_of(evidence, example.correlation_id)
                claim = Claim(example.service or "system", example.says)
                picture = svg(waterfall(evidence, flow.correlation_id, flow.judged, claim), alone=True)
                self.add(f"flow {flow.correlation_id}", str(picture), AttachmentType.SVG)
        flows = {finding.correlation_id for finding in verdict.findings if finding.correlation_id}
        offending = [line for line in evidence.lines if line.correlation_id in flows]
        broken = [f"{one.file}:{one.number}: {one.problem}: {one.excerpt}" for one in evidence.broken_lines]
        if offending:
            self.add("lines of the flows in question", _ndjson(offending))
        if broken:
            self.add("lines that break the contract", "\n".join(broken)[-MOST_BYTES:])
        for log in evidence.logs:
            if log.lines:
                self.add(f"log of {log.service}, {log.file}", _ndjson(log.lines))


def _fault_text(fault: Fault) -> str:
    told = f"{fault.injected_at} – {fault.healed_at}  {fault.kind} on {fault.place}"
    return f"{told}\n    {fault.hits} hits: {fault.proof}"


def _ndjson(lines: Iterable[Line]) -> bytes:
    """The last of them that there is room for."""
    texts = [msgspec.json.encode(line) + b"\n" for line in lines]
    room, first = MOST_BYTES, len(texts)
    while first and room >= len(texts[first - 1]):
        first -= 1
        room -= len(texts[first])
    return b"".join(texts[first:])
