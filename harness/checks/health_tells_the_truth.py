"""A service says that it is not ready while a dependency is gone, and that it is ready again soon after it is back.

Two witnesses: what it answered when it was asked, and what its own log says of each dependency. A third one, the
broker, knows whether it consumes: who says that it is ready does, whatever has come between them, if anything has.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from harness.checks.verdict import Finding, Property, Result, answer
from harness.contract.log_lines import DependencyChanged, ServiceStarted, ServiceStopped
from harness.evidence.clock import later, seconds_between
from harness.evidence.evidence import Evidence
from harness.evidence.log_files import BEGINNING, END, ProcessLog
from harness.evidence.outages import Outage, outages
from harness.evidence.records import Fault, HealthProbe

NAME = "health_tells_the_truth"
LATE_S = 0.5
"""What a busy machine may add to the system's own promise."""
STOPPING_S = 20.0
"""So long a process that was asked to stop may take to finish what it has in hand; it is ready for nothing then."""


def check(evidence: Evidence) -> Result:
    bounds = evidence.target.bounds
    suffered = outages(evidence.target, evidence.faults)
    if bounds is None:
        return answer(NAME, seen=0, floor=0)
    within_s = bounds.readiness_s + LATE_S
    idle = list(_while_idle(evidence, within_s))
    if not suffered:
        return answer(NAME, seen=len(idle), floor=0, findings=idle)
    lives = _lives(evidence, within_s)
    calm = _Calm(evidence, lives, within_s)
    claims = [
        *_while_gone(evidence, suffered, within_s),
        *_once_back(evidence, suffered, lives, calm, within_s),
        *(claim for life in lives for claim in _noticed(evidence, suffered, life, calm, within_s)),
    ]
    unasked = evidence.scenario.format >= 2 and not evidence.health  # who suffers from an outage is always asked
    findings = [*idle, *(finding for finding in claims if finding is not None)]
    return answer(NAME, seen=0 if unasked else len(claims) + len(idle), floor=int(unasked), findings=findings)


# --- when there was nothing else --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Life:
    """One start of a process in the scenario's window: able to look at its dependencies from ``begun`` to ``ended``."""

    process: str
    log: ProcessLog
    begun: str
    ended: str


def _lives(evidence: Evidence, warms_up_s: float) -> list[_Life]:
    lives: list[_Life] = []
    for log in sorted((log for log in evidence.logs if log.lines), key=lambda log: log.lines[0].ts, reverse=True):
        process, first, last = log.file.rpartition("-")[0], log.lines[0], log.lines[-1]
        begun = later(first.ts, warms_up_s) if isinstance(first, ServiceStarted) else BEGINNING
        ended = min((life.log.lines[0].ts for life in lives if life.process == process), default=END)
        if isinstance(last, ServiceStopped):
            ended = later(last.ts, -STOPPING_S)
        lives.append(_Life(process, log, begun, ended))
    return lives


class _Calm:
    """Whether at a moment nothing was broken, nor was any process on its way up or down, nor for some time before."""

    def __init__(self, evidence: Evidence, lives: Sequence[_Life], for_s: float) -> None:
        spans = [(fault.injected_at, later(fault.healed_at, for_s)) for fault in evidence.faults]
        spans += [(life.log.lines[0].ts, life.begun) for life in lives if life.begun]
        stopped = [(life, life.log.lines[-1]) for life in lives]
        spans += [(life.ended, later(end.ts, for_s)) for life, end in stopped if isinstance(end, ServiceStopped)]
        self._begins: list[str] = []
        self._ends: list[str] = []
        for begin, end in sorted(spans):
            self._begins.append(begin)
            self._ends.append(max(end, self._ends[-1]) if self._ends else end)

    def at(self, moment: str) -> bool:
        before = bisect_right(self._begins, moment)
        return not before or self._ends[before - 1] <= moment


# --- what it answered -------------------------------------------------------------------------------------------


def _while_gone(evidence: Evidence, suffered: Sequence[Outage], within_s: float) -> Iterator[Finding | None]:
    """One item for each outage and process that was asked late enough: the finding, or None where it told the truth."""
    asked = _by_process(evidence.health)
    for outage in (o for o in suffered if o.total):
        for process, probes in asked.items():
            since = later(_aware_since(evidence, process, outage), within_s)
            judged = [probe for probe in probes if since < probe.asked_at and probe.answered_at < outage.until]
            if judged and judged[0].service in outage.services:
                false = next((probe for probe in judged if probe.ready), None)
                says = f"said that it is ready at {false.asked_at}, {within_s:g} s and more into" if false else ""
                yield _finding(outage, judged[0].service, says) if says else None


def _once_back(
    evidence: Evidence, suffered: Sequence[Outage], lives: Sequence[_Life], calm: _Calm, within_s: float
) -> Iterator[Finding | None]:
    """One item for each process that was asked after an outage of its own. "Not ready" counts only when all is calm."""
    for process, probes in _by_process(evidence.health).items():
        service = probes[0].service
        past = next((o for o in suffered if service in o.services and o.last < probes[-1].asked_at), None)
        if past is None:
            continue
        own = [life for life in lives if life.process == process]
        for probe in (probe for probe in probes if not probe.ready and probe.asked_at > past.last):
            if calm.at(probe.asked_at) and any(life.begun < probe.asked_at < life.ended for life in own):
                says = f"said that it is not ready at {probe.asked_at}, {within_s:g} s and more after"
                yield _finding(past, service, says)
                break
        else:
            if any(probe.ready and probe.asked_at > past.last for probe in probes):
                yield None


def _while_idle(evidence: Evidence, within_s: float) -> Iterator[Finding]:
    """At most one finding for each process: ready, each time, though for so long nobody consumed its queues."""
    for probes in _by_process(evidence.health).values():
        since: str | None = None
        for probe in probes:
            if not probe.ready or probe.consumers != 0:
                since = None
                continue
            since = since or probe.asked_at
            if seconds_between(since, probe.asked_at) >= within_s:
                broker = evidence.target.broker
                yield Finding(
                    property=NAME,
                    says=f"{probe.service} said that it is ready at {probe.asked_at}, though {within_s:g} s and more "
                    f"before nobody consumed all of {', '.join(broker.consumers.get(probe.service, ()))}",
                    service=probe.service,
                    edge=f"{probe.service}→broker",
                )
                break


def _by_process(probes: Sequence[HealthProbe]) -> dict[str, list[HealthProbe]]:
    grouped: dict[str, list[HealthProbe]] = defaultdict(list)
    for probe in sorted(probes, key=lambda probe: probe.asked_at):
        grouped[probe.process].append(probe)
    return grouped


# --- what it wrote down -----------------------------------------------------------------------------------------


def _noticed(
    evidence: Evidence, suffered: Sequence[Outage], life: _Life, calm: _Calm, within_s: float
) -> Iterator[Finding | None]:
    """Whoever was there all the time writes down that a dependency is gone, and that it is back."""
    log, told = life.log, _Told(life.log)
    end = min(life.ended, evidence.scenario.until)
    if log.lost or log.broken:
        return
    for outage in (o for o in suffered if o.total and log.service in o.services and life.begun < o.first):
        due = later(outage.since, within_s)
        if due < min(outage.until, end) and not _was_broken(evidence, life, outage):
            noticed = told.at(outage.dependency, due) == "down"
            yield None if noticed else _finding(outage, log.service, f"had not noticed, {within_s:g} s into")
        due = later(outage.last, within_s)
        if due < end and calm.at(due):
            noticed = told.at(outage.dependency, due) != "down"
            yield None if noticed else _finding(outage, log.service, f"had not noticed the end, {within_s:g} s after")


class _Told:
    """What a process wrote last of a dependency, at any moment. Before its first word on it, all was well."""

    def __init__(self, log: ProcessLog) -> None:
        self._moments: dict[str, list[str]] = defaultdict(list)
        self._states: dict[str, list[str]] = defaultdict(list)
        for line in log.lines:
            if isinstance(line, DependencyChanged):
                self._moments[line.dependency].append(line.ts)
                self._states[line.dependency].append(line.status)

    def at(self, dependency: str, moment: str) -> str:
        before = bisect_right(self._moments[dependency], moment)
        return self._states[dependency][before - 1] if before else "up"


def _was_broken(evidence: Evidence, life: _Life, outage: Outage) -> bool:
    """The process itself was killed or frozen meanwhile: it could notice nothing."""
    return bool(_own_faults(evidence, life.process, outage))


def _aware_since(evidence: Evidence, process: str, outage: Outage) -> str:
    """From when on a process could notice: who was killed or frozen meanwhile has its whole time after that."""
    return max([outage.since, *(fault.healed_at for fault in _own_faults(evidence, process, outage))])


def _own_faults(evidence: Evidence, process: str, outage: Outage) -> list[Fault]:
    return [
        fault
        for fault in evidence.faults
        if fault.place == process and fault.injected_at < outage.until and fault.healed_at > outage.first
    ]


def _finding(outage: Outage, service: str, says: str) -> Finding:
    return Finding(
        property=NAME,
        says=f"{service} {says} the outage of {outage.dependency} ({outage}, {outage.since} to {outage.last})",
        service=service,
        edge=f"{service}→{outage.dependency}",
    )


PROPERTY = Property(
    NAME,
    "ready is false while a dependency is down, true again within its bound",
    ("health", "lines", "faults"),
    check,
)
