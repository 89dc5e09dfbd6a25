"""What receivers outside were sent, and whether automation says the same: each call came once and named its flow."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from harness.contract.log_lines import CallSent
from harness.evidence.evidence import Evidence
from harness.evidence.records import Received
from harness.trace.disagreement import Disagreement
from harness.trace.obligations import tally
from harness.trace.reliability import Reliability


def outside_disagrees(evidence: Evidence, trust: Reliability) -> Iterator[Disagreement]:
    """Receivers outside write no log, so their word stands for the far end of a call."""
    yield from _more_than_sent(evidence, trust)
    yield from _of_another_flow(evidence)


def _more_than_sent(evidence: Evidence, trust: Reliability) -> Iterator[Disagreement]:
    """A call that is not answered may have arrived or not, but it arrives once: whoever repeats it says so."""
    sent = tally((line.peer, line.correlation_id) for line in evidence.of(CallSent))
    repeating = {fault.place for fault in evidence.faults if fault.repeats}
    came: dict[tuple[str, str | None], list[Received]] = defaultdict(list)
    for item in evidence.received:
        if item.received_at <= evidence.scenario.until:
            came[item.kind, item.correlation_id].append(item)
    for (kind, correlation_id), items in came.items():
        calls, edge = sent[kind, correlation_id or ""], f"automation→{kind}"
        if len(items) > calls and edge not in repeating:
            says = f"{kind} received {len(items)} message(s) of one flow, for which automation logged {calls} call(s)"
            yield Disagreement(
                says, "automation", edge, items[0].entity_id, correlation_id, in_doubt=trust.doubted("automation")
            )


def _of_another_flow(evidence: Evidence) -> Iterator[Disagreement]:
    """What a message says of itself is what the outbox says of its event."""
    stored = {row.event_id: row for row in evidence.rows.outbox}
    for item in evidence.received:
        row = stored.get(item.event_id or "")
        if row is None or (item.correlation_id, item.entity_id) == (row.correlation_id, row.entity_id):
            continue
        says = (
            f"{item.kind} was told of event {row.event_id} as one of flow {item.correlation_id} and entity "
            f"{item.entity_id}; the outbox has it as one of flow {row.correlation_id} and entity {row.entity_id}"
        )
        yield Disagreement(says, "automation", f"automation→{item.kind}", row.entity_id, row.correlation_id)
