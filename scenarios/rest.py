"""When a scenario's system rests: nothing open in the log, nothing unsent, nothing queued, nothing due once more."""

from __future__ import annotations

from collections.abc import Sequence

from harness.checks.trace_complete import surroundings_of
from harness.contract.log_lines import EventReceived, InBand
from harness.environment.stack import Stack
from harness.evidence.evidence import killed_instances
from harness.evidence.log_tail import LogTail
from harness.evidence.recording import Recording
from harness.evidence.records import RuleRow
from harness.evidence.run_directory import RunDirectory
from harness.trace.flow import Surroundings
from harness.trace.in_doubt import in_doubt
from harness.trace.quiet import CALM_S, PAUSE_S, QuietWatch, Rest
from scenarios.witnesses import Witnesses

STALLED_S = 6.0
"""Longer than anything that is silent while it works: in the test profile, the lease of a killed automation, 3 s."""


class Resting:
    """Waits for one scenario's system to rest, and remembers how it went. ``rules``: those that now look at events."""

    def __init__(self, stack: Stack, run: RunDirectory, recording: Recording, witnesses: Witnesses, log: LogTail):
        self._stack, self._run, self._recording, self._witnesses, self._log = stack, run, recording, witnesses, log
        self.rules: Sequence[RuleRow] = ()
        self._rest = Rest((), 0.0)
        self._rested_at: tuple[int, ...] | None = None
        self._watch = QuietWatch(log.read_on, self._surroundings, self._unfinished, witnesses.concerns)

    def for_a_moment(self, *, within_s: float) -> Rest:
        """Within a scenario, which goes on: a short calm will do."""
        return self._await(within_s=within_s, calm_s=PAUSE_S)

    def at_the_end(self, *, within_s: float) -> Rest:
        """A whole calm; of which only the rest is waited for, where nothing has happened since the last."""
        if self._rested_at == self._activity():
            return self._await(within_s=within_s, calm_s=CALM_S - PAUSE_S)
        return self._await(within_s=within_s, stalled_s=STALLED_S if self._rest.quiet else 2.0)

    def comes(self, *, within_s: float) -> bool:
        """Wait for rest, but no longer than that: whether it has come."""
        return self._watch.await_quiet(within_s=within_s).quiet

    def attempts_of(self, event_id: str) -> list[int]:
        """The attempt number of each delivery of an event so far, in order."""
        lines = (line for line in self._log.read_on() if isinstance(line, EventReceived))
        return [line.attempt for line in lines if line.event_id == event_id]

    def forget(self) -> None:
        self._watch.forget()

    def _await(self, *, within_s: float, stalled_s: float = STALLED_S, calm_s: float = CALM_S) -> Rest:
        self._rest = self._watch.await_quiet(within_s=within_s, stalled_s=stalled_s, calm_s=calm_s)
        self._rested_at = self._activity() if self._rest.quiet else None
        return self._rest

    def _activity(self) -> tuple[int, ...]:
        """Grows with everything that may disturb a system at rest: it is the same as long as it rests."""
        in_band = sum(isinstance(line, InBand) for line in self._log.read_on())
        recorded = self._recording
        return in_band, len(recorded.operations), len(recorded.planted), len(recorded.faults)

    def _surroundings(self) -> Surroundings:
        """Whoever was killed, or never heard how a COMMIT went, will write nothing down any more: not waited for."""
        killed, faults = killed_instances(self._run, self._stack.name), self._recording.faults
        never_told = in_doubt(self._log.read_on(), killed, faults)
        return surroundings_of(self.rules, self._recording.planted, killed, faults=faults, never_told=never_told)

    def _unfinished(self) -> list[str]:
        """What the log cannot tell: rows that no relay has sent, messages that nobody has taken."""
        unfinished = self._unheard() if self._stack.lacks else []
        unfinished += [
            f"delivery {count} of event {event_id}"
            for event_id, count in self._recording.awaited_deliveries.items()
            if len(self.attempts_of(event_id)) < count
        ]
        if self._witnesses.has("database"):
            if unsent := self._witnesses.database.unsent_events():
                unfinished.append(f"{unsent} unsent outbox rows")
            if undelivered := self._witnesses.database.undelivered_alerts():
                unfinished.append(f"{undelivered} undelivered alerts")
        for queue, depth in self._witnesses.broker.waiting().items() if self._witnesses.has("broker") else ():
            unfinished.append(f"queue {queue} itself" if depth is None else f"{depth} messages in {queue}")
        return unfinished

    def _unheard(self) -> list[str]:
        """A log that is collected may be late: what was answered has been logged, and is awaited there."""
        heard = {line.correlation_id for line in self._log.read_on()}
        answered = (one.correlation_id for one in self._recording.operations if one.http_status is not None)
        return [f"any line of flow {flow}" for flow in answered if flow not in heard]
