"""Run directories of load runs for the tests: written as a run writes them, from a story of when what took how long."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from harness.evidence.clock import unix_ns, wall_at
from harness.evidence.recording import Recording
from harness.evidence.records import Fault, Rows
from harness.evidence.run_directory import RunDirectory, ScenarioDirectory, write_json, write_records
from harness.evidence.write import write_evidence
from harness.load.arrivals import draw_arrivals
from harness.load.measurements import Measurements, read_measurements
from harness.load.records import LoadPlan, Observation, Sample, Step, Usage
from tests.builders import line_fields, moment, scenario, span_id, target, uid

BEGAN_NS = unix_ns(moment(10))
MOVE, READ = "PATCH /leads/{lead_id}/stage", "GET /leads/{lead_id}"
Ms = Callable[[float], float]
"""How long something took that was meant to begin so many seconds after the beginning."""


def step(seconds: float, rate: float) -> Step:
    return Step(seconds=seconds, from_rate=rate, to_rate=rate)


@dataclass
class LoadStory:
    """What a run was like. Every request is a PATCH that has to end in a deal, unless ``flow`` says otherwise.

    ``deals``: how many a flow ends in; of 0 there was one already, and with -1 its event is lost in the outbox.
    """

    steps: Sequence[Step] = (step(20, 20),)
    profile: str = "average"
    warm_up_s: float = 2.0
    processes: int = 2
    http_ms: Ms = lambda at_s: 10
    late_ms: Ms = lambda at_s: 1
    outbox_ms: Ms = lambda at_s: 20
    queue_ms: Ms = lambda at_s: 5
    handler_ms: Ms = lambda at_s: 30
    call_ms: Ms = lambda at_s: 15
    status: Callable[[int], int] = lambda number: 200
    flow: Callable[[int], bool] = lambda number: True
    deals: Callable[[int], int] = lambda number: 1
    drained_s: float | None = 0.5
    faults: list[Fault] = field(default_factory=list)
    observed: Callable[[float], dict[str, Any]] = lambda at_s: {}
    usage: Callable[[float], dict[str, Usage]] = lambda at_s: {}
    written: dict[str, list[dict[str, Any]]] = field(default_factory=lambda: defaultdict(list))

    def write(self, folder: Path) -> ScenarioDirectory:
        """All files of it, and where its scenario lies."""
        run = RunDirectory(folder / "run")
        arrivals = draw_arrivals(self.steps, "constant", 1)
        samples = [self._sample(number, at / 1e9) for number, at in enumerate(arrivals)]
        seconds = sum(one.seconds for one in self.steps)
        ended_ns = max([BEGAN_NS + round(seconds * 1e9), *(sample.ended_ns for sample in samples)])
        drained_ns = None if self.drained_s is None else ended_ns + round(self.drained_s * 1e9)
        plan = LoadPlan(
            profile=self.profile, seed=1, arrivals="constant", steps=tuple(self.steps), warm_up_s=self.warm_up_s,
            processes=self.processes, scheduled=len(samples), began_ns=BEGAN_NS, ended_ns=ended_ns,
            drained_ns=drained_ns, cores=2,
        )  # fmt: skip
        write_json(run.root / "load" / "plan.json", plan)
        for process in range(self.processes):
            path = run.root / "load" / f"samples-{process}.ndjson"
            write_records(path, samples[process :: self.processes])
        over_s = ((drained_ns or ended_ns) - BEGAN_NS) / 1e9
        observations = [self._observation(tick / 2) for tick in range(round(over_s * 2) + 1)]
        write_records(run.root / "load" / "observed.ndjson", observations)
        self._write_logs(run)
        directory = run.scenario("load")
        write_evidence(
            directory, scenario=scenario(name="load"), recording=Recording(faults=self.faults), tap=(), resting=(),
            received=(), rows=Rows(),
        )  # fmt: skip
        return directory

    def measured(self, folder: Path) -> Measurements:
        return read_measurements(self.write(folder), target())

    def _sample(self, number: int, at_s: float) -> Sample:
        intended = BEGAN_NS + round(at_s * 1e9)
        status, flow = self.status(number), self.flow(number)
        if flow and (200 <= status < 300 or status == 0):
            self._live(number, at_s)
        return Sample(
            endpoint=MOVE if flow else READ, intended_ns=intended, began_ns=intended + round(self.late_ms(at_s) * 1e6),
            ended_ns=intended + round(self.http_ms(at_s) * 1e6), status=status, meant=200 <= status < 300,
            correlation_id=uid(f"flow {number}"), flow="deal" if flow else "",
        )  # fmt: skip

    def _live(self, number: int, at_s: float) -> None:
        """The lines of one flow. Its event is stored when the request is answered; the outbox waits from there."""
        at_ms = at_s * 1000 + self.http_ms(at_s)
        flow, event = uid(f"flow {number}"), uid(f"event {number}")
        about = {"correlation_id": flow, "event_id": event, "entity_type": "lead", "entity_id": uid(f"lead {number}")}
        typed = {"event_type": "lead.stage.changed"}

        def line(service: str, kind: str, span: str, **fields: Any) -> None:
            told = {"ts": wall_at((BEGAN_NS + round(at_ms * 1e6)) / 1e9), "span_id": span_id(f"{flow} {span}")}
            self.written[service].append(line_fields(service, kind, **(about | fields)) | told)

        line("pipeline", "event.stored", "patch", **typed)
        deals = self.deals(number)
        if deals < 0:
            return
        at_ms += self.outbox_ms(at_s)
        line("pipeline", "event.published", "publish", routing_key="lead.stage.changed", **typed)
        at_ms += self.queue_ms(at_s)
        delivery = {"delivery_id": uid(f"delivery {number}")}
        line("automation", "event.received", "delivery", **delivery)
        at_ms += self.handler_ms(at_s) / 2
        for call in range(max(1, deals)):
            line("automation", "call.sent", f"call {call}", causation_id=event)
            at_ms += self.call_ms(at_s)
            told: dict[str, Any] = {"method": "POST", "route": "/deals", "causation_id": event}
            told |= {"http_status": 201} if deals else {"http_status": 409, "status": "client_error"}
            line("crm", "http.request.completed", f"deal {call}", **told)
            line("automation", "call.completed", f"call {call}", causation_id=event)
        at_ms += self.handler_ms(at_s) / 2
        line("automation", "event.settled", "delivery", **delivery)

    def _observation(self, at_s: float) -> Observation:
        seen: dict[str, Any] = {
            "unsent": 0,
            "oldest_unsent_s": 0.0,
            "depths": {},
            "dead_letters": 0,
            "machine_cpu": 0.3,
        }
        seen |= self.observed(at_s)
        return Observation(at_ns=BEGAN_NS + round(at_s * 1e9), usage=self.usage(at_s), **seen)

    def _write_logs(self, run: RunDirectory) -> None:
        records: dict[str, Any] = {}
        run.logs("main").mkdir(parents=True)
        for service in ("crm", "pipeline", "automation"):
            lines = sorted(self.written[service], key=lambda line: str(line["ts"]))
            numbered = (msgspec.json.encode(line | {"seq": seq}) + b"\n" for seq, line in enumerate(lines))
            (run.logs("main") / f"{service}-1.ndjson").write_bytes(b"".join(numbered))
            records[service] = {"starts": [{"file": f"{service}-1.ndjson", "how": "stopped", "started_at": moment(0)}]}
        write_json(run.stack_file("main"), {"services": list(records), "records": records})


def fault(since_s: float, until_s: float, kind: str = "latency", place: str = "pipeline→broker") -> Fault:
    begin, end = (wall_at(BEGAN_NS / 1e9 + at_s) for at_s in (since_s, until_s))
    return Fault(kind=kind, place=place, injected_at=begin, effective_at=begin, healed_at=end, hits=1, proof="seen")
