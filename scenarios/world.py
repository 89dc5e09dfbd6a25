"""The hand that a scenario works with: clients, faults and witnesses of one stack, for the time of one scenario."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, cast

import httpx

from chaos.faults.site import FaultSite
from chaos.proxy.client import FaultProxy
from harness.checks.health_tells_the_truth import LATE_S
from harness.checks.judge import ScenarioVerdict, judge
from harness.checks.trace_complete import surroundings_of
from harness.clients.broker import Broker
from harness.clients.database import Database
from harness.clients.http import AutomationClient, CrmClient, PipelineClient, ServiceClient, tls
from harness.clients.shared import Absent, SharedBroker, SharedDatabase, SharedSinks
from harness.clients.sinks import Sinks
from harness.clients.tap_to_file import TapToFile
from harness.clients.together import together
from harness.contract.log_lines import CallCompleted, CallSent, Envelope, EventReceived, InBand, Line, kind_of
from harness.environment.broker_node import BrokerNode
from harness.environment.capabilities import CLEAN_SLATE
from harness.environment.stack import Stack
from harness.environment.waiting import NeverHappened, eventually
from harness.evidence.clock import monotonic_ns, seconds_between, wall_now
from harness.evidence.evidence import killed_instances, load_evidence
from harness.evidence.log_tail import LogTail
from harness.evidence.ours import Ours, ours
from harness.evidence.outages import outages
from harness.evidence.recording import Recording
from harness.evidence.records import (
    ExecutionRow,
    Fault,
    HealthProbe,
    Operation,
    Rows,
    ScenarioRecord,
    Schema,
    TapMessage,
    Topology,
)
from harness.evidence.run_directory import RunDirectory, ScenarioDirectory, write_json
from harness.evidence.write import write_evidence
from harness.target import Target
from harness.trace.flow import Surroundings
from harness.trace.quiet import CALM_S, PAUSE_S, QuietWatch, Rest

WITHIN_S = 20.0
_NO_KEEPING = httpx.Limits(max_keepalive_connections=0)  # a kept connection may have been closed by a restart
STALLED_S = 6.0
"""Longer than anything that is silent while it works: in the test profile, the lease of a killed automation, 3 s."""


class _LogOnly(Absent):
    """In the place of where faults are injected, on a system that nobody breaks: its log can be read all the same."""

    def __init__(self, what: str, why: str, log: Callable[[], list[Line]]) -> None:
        super().__init__(what, why)
        self.log = log


class World:
    """One scenario on one stack, from a clean slate to ``conclude``, which gives the verdict of all properties."""

    def __init__(self, stack: Stack, target: Target, run: RunDirectory, *, name: str, seed: int, since: str) -> None:
        self.stack, self.target, self.run = stack, target, run
        self.name, self.seed, self.since, self.until = name, seed, since, since
        self._began = wall_now()
        self.again: str | None = None
        """The command that does it once more, where that is none of a gate."""
        self.recording = Recording()
        self.shared = CLEAN_SLATE in stack.lacks
        self.database: Database = self._database()
        self.broker: Broker = self._broker()
        self.crm = CrmClient(stack.edge_url("client→crm"), stack.tokens["alice"], self.recording)
        self.pipeline = PipelineClient(stack.edge_url("client→pipeline"), stack.tokens["alice"], self.recording)
        self.automation = AutomationClient(
            stack.edge_url("client→automation"), stack.tokens["operator"], self.recording
        )
        self.operator = CrmClient(stack.edge_url("client→crm"), stack.tokens["operator"], self.recording)
        self.sinks: Sinks = self._sinks()
        self._plain = httpx.Client(timeout=2.0, trust_env=False, verify=tls(), limits=_NO_KEEPING)
        self._clients: list[ServiceClient] = [self.crm, self.pipeline, self.automation, self.operator]
        self._tap: list[TapMessage] = []
        self._tapping = threading.Lock()
        self._to_file: TapToFile | None = None
        self._clean_slate()
        self._rules = self.database.rows().rules if self._has("database") else ()
        self._log = LogTail(run.logs(stack.name), skews_s=stack.skews_s)
        self._rest = Rest((), 0.0)
        self._rested_at: tuple[int, ...] | None = None
        self.site: FaultSite = self._site()
        self._watch = QuietWatch(self._log.read_on, self._surroundings, self._unfinished, self._concerns)

    # --- what there is -----------------------------------------------------------------------------------------

    def _has(self, what: str) -> bool:
        return what not in self.stack.lacks

    def _absent(self, what: str) -> Any:
        return Absent(what, self.stack.lacks[what])

    def _ours(self) -> Ours:
        return ours(self.recording.operations, self.recording.planted)

    def _concerns(self, flow: str) -> bool:
        return not self.shared or flow in self._ours().flows

    def _database(self) -> Database:
        if not self._has("database"):
            return cast(Database, self._absent("database"))
        if self.shared:
            return SharedDatabase(self.stack.database_url, self.target, self._ours)
        return Database(self.stack.database_url, self.target)

    def _broker(self) -> Broker:
        if not self._has("broker"):
            return cast(Broker, self._absent("broker"))
        if self.shared:
            return SharedBroker(self.stack.broker_url, self.target, self.recording, self._ours, tap=self.stack.tap)
        return Broker(self.stack.broker_url, self.target, self.recording, tap=self.stack.tap)

    def _sinks(self) -> Sinks:
        if not self._has("sinks"):
            return cast(Sinks, self._absent("sinks"))
        url = self.stack.url("sinks")
        return SharedSinks(url, self._ours) if self.shared else Sinks(url)

    def _clean_slate(self) -> None:
        """Empty what may be emptied: nothing, where others have something in it."""
        if self.shared:
            return
        for name, witness in (("sinks", self.sinks), ("database", self.database), ("broker", self.broker)):
            if self._has(name):
                witness.clean_slate()

    def _site(self) -> FaultSite:
        if not self._has("faults"):
            return cast(FaultSite, _LogOnly("faults", self.stack.lacks["faults"], self._log.read_on))
        stack, target = self.stack, self.target
        return FaultSite(
            proxy=FaultProxy(stack.proxies_url),
            database=self.database,
            broker=self.broker,
            recording=self.recording,
            service=stack.processes.__getitem__,
            node=BrokerNode(stack.broker),
            target=target,
            log=self._log.read_on,
            sinks=self.sinks,
            published=self._latest_published,
            look=self._ask_health_in_an_outage,
        )

    # --- driving -----------------------------------------------------------------------------------------------

    def new_lead(self) -> str:
        """A lead that nobody else has; its id. Raises AssertionError if it cannot be made."""
        created = self.crm.create_lead()
        assert created.http_status == 201, f"POST /leads: expected 201, got {created.http_status}: {created.answer}"
        return str(created.answer["id"])

    def new_leads(self, count: int) -> list[str]:
        return [self.new_lead() for _ in range(count)]

    def known_leads(self, count: int) -> list[str]:
        """New leads that the pipeline has met already, so that a PATCH does not depend on crm any more; at rest."""
        leads = self.new_leads(count)
        self.move_all(leads, "engaged")
        self.settled()
        return leads

    def move_all(self, leads: Sequence[str], stage: str) -> list[Operation]:
        """PATCH all leads at once."""
        return together([partial(self.pipeline.move_lead, lead_id, stage) for lead_id in leads])

    def overlapping(self, actions: Sequence[Callable[[], Operation]], *, writing: str) -> list[Operation]:
        """Run all actions at the same time, each as far as it gets before any has written; answers in order.

        Started together, the first may be done before the last begins. So nobody is let into the table (``crm.deals``)
        that all are to write until each of them waits for it or for another of them; whoever looks first and then
        writes has looked by then. That is no fault: it takes milliseconds, and to wait for a lock is a service's daily
        bread.
        """
        role, statement = writing.partition(".")[0], f"LOCK TABLE {writing} IN SHARE MODE"
        with ThreadPoolExecutor(1) as starter, self.database.locking(statement):
            running = starter.submit(together, actions)
            eventually(
                lambda: running.done() or self.database.waiting_for_locks(role) >= len(actions),
                within_s=WITHIN_S,
                describe=f"{len(actions)} sessions of {role} that wait to write {writing}",
            )
        return running.result()

    def replica_of(self, service: str) -> str:
        """The name of a service's second replica, whether it runs or not."""
        return next(name for name, of in self.stack.replicas.items() if of == service)

    @contextmanager
    def second(self, service: str) -> Iterator[str]:
        """A second replica of a service, for the duration of the block; its name."""
        name = self.replica_of(service)
        process = self.stack.processes[name]
        process.start()
        try:
            process.await_ready()
            yield name
        finally:
            process.terminate()

    def crm_at(self, replica: str) -> CrmClient:
        """A client of this replica alone, past every proxy."""
        client = CrmClient(self.stack.url(replica), self.stack.tokens["alice"], self.recording)
        self._clients.append(client)
        return client

    def pipeline_at(self, replica: str) -> PipelineClient:
        """A client of this replica alone, past every proxy."""
        client = PipelineClient(self.stack.url(replica), self.stack.tokens["alice"], self.recording)
        self._clients.append(client)
        return client

    def crm_client(self, *, timeout_s: float) -> CrmClient:
        """One more client, with connections and sessions of its own."""
        client = CrmClient(
            self.stack.edge_url("client→crm"), self.stack.tokens["alice"], self.recording, timeout_s=timeout_s
        )
        self._clients.append(client)
        return client

    def pipeline_client(self, *, timeout_s: float) -> PipelineClient:
        """One more client, with connections and sessions of its own."""
        client = PipelineClient(
            self.stack.edge_url("client→pipeline"), self.stack.tokens["alice"], self.recording, timeout_s=timeout_s
        )
        self._clients.append(client)
        return client

    def add_rule(
        self,
        name: str,
        event_type: str,
        action: str,
        *,
        to_stage: str | None = None,
        parameters: dict[str, Any] | None = None,
    ) -> str:
        """A rule for this scenario alone, its id. Before the first event that it may concern: all later ones do."""
        rule_id = f"scenario-{name}"
        self.database.add_rule(rule_id, event_type, to_stage, action, parameters or {})
        self._rules = self.database.rows().rules
        return rule_id

    def deliver_again(self, event: TapMessage) -> None:
        """Give the broker an event a second time, as it may happen by itself; settling waits for that delivery."""
        message_id = str(event.message_id)
        self.recording.awaited_deliveries[message_id] = len(self.attempts_of(message_id)) + 1
        self.broker.publish_again(event)

    # --- waiting and looking -----------------------------------------------------------------------------------

    def settled(self, *, within_s: float = WITHIN_S) -> None:
        """Wait until every correlation is closed. Raises AssertionError naming what has not come."""
        rest = self._await_quiet(within_s=within_s, calm_s=PAUSE_S)
        assert rest.quiet, f"not at rest after {rest.waited_s:.1f} s; still awaited: {'; '.join(rest.awaited[:5])}"

    def rested(self, *, within_s: float) -> bool:
        """Wait for rest, but no longer than that: whether it has come."""
        return self._watch.await_quiet(within_s=within_s).quiet

    def published(self, *, correlation_id: str, type: str) -> TapMessage:
        """The first message of this type in a flow, as the broker saw it published; waits for it."""

        def probe() -> TapMessage | None:
            wanted = (message for message in self._tapped() if message.what == "published")
            return next((m for m in wanted if (m.correlation_id, m.type) == (correlation_id, type)), None)

        return eventually(probe, within_s=WITHIN_S, describe=f"a {type} of flow {correlation_id} on the tap")

    def latest_event_of(self, entity_id: str) -> TapMessage | None:
        """The last event about an entity that the broker has seen published so far."""
        exchange, about = self.target.broker.exchange, f'"entity_id":"{entity_id}"'
        published = (m for m in reversed(self._tapped()) if m.what == "published" and m.exchange == exchange)
        return next((m for m in published if about in m.body.replace(" ", "")), None)

    def _latest_published(self, type: str) -> TapMessage | None:
        wanted = (message for message in reversed(self._tapped()) if message.what == "published" and message.queues)
        return next((message for message in wanted if message.type == type), None)

    @contextmanager
    def tap_written_down(self) -> Iterator[None]:
        """For the duration of the block, write what the broker sees to the evidence while it sees it: for so much that
        memory could not hold it. Only the latest is at hand then."""
        with TapToFile(self.broker, self.run.scenario(self.name).tap_file) as self._to_file:
            yield

    def _tapped(self) -> list[TapMessage]:
        """All that the broker has seen so far. Many threads may ask: what each takes out of the tap stays in order."""
        if self._to_file is not None and self._to_file.at_work:
            return self._to_file.latest()
        with self._tapping:
            if self._has("tap"):
                self._tap += self.broker.drain_tap()
            return list(self._tap)

    def until_logged(self, kind: str, *, correlation_id: str) -> Envelope:
        """Wait for a line of this kind in a flow."""

        def probe() -> Envelope | None:
            for line in self._log.read_on():
                if line.correlation_id == correlation_id and kind_of(line) == kind:
                    return line
            return None

        return eventually(probe, within_s=WITHIN_S, describe=f"a {kind} line of flow {correlation_id}")

    def until_received(self, event_id: str, *, attempt: int) -> None:
        """Wait until automation has received this attempt of an event."""
        describe = f"attempt {attempt} of event {event_id} received"
        eventually(lambda: attempt in self.attempts_of(event_id), within_s=WITHIN_S, describe=describe)

    def attempts_of(self, event_id: str) -> list[int]:
        """The attempt number of each delivery of an event so far, in order."""
        lines = (line for line in self._log.read_on() if isinstance(line, EventReceived))
        return [line.attempt for line in lines if line.event_id == event_id]

    def lines(self) -> list[Line]:
        """All lines of the scenario so far."""
        return self._log.read_on()

    def unanswered_calls(self) -> int:
        """Calls between services that have been sent and not been answered, right now."""
        lines = self._log.read_on()
        answered = {line.span_id for line in lines if isinstance(line, CallCompleted)}
        return sum(isinstance(line, CallSent) and line.span_id not in answered for line in lines)

    def ready(self, service: str) -> bool:
        """What the service (or its replica) says of itself, asked past every proxy."""
        return self._ask_health(service, within_s=2.0).ready

    def _ask_health(self, process: str, *, within_s: float, consumers: int | None = None) -> HealthProbe:
        """What it says goes into the evidence too."""
        service = self.stack.replicas.get(process, process)
        asked_at, ready = wall_now(), False
        try:
            answer = self._plain.get(self.stack.url(process) + self.target.services[service].ready, timeout=within_s)
            ready = answer.status_code == 200
        except httpx.TransportError:
            pass
        probe = HealthProbe(
            service=service,
            process=process,
            asked_at=asked_at,
            answered_at=wall_now(),
            ready=ready,
            consumers=consumers,
        )
        self.recording.health.append(probe)
        return probe

    def _ask_health_in_an_outage(self, fault: Fault) -> None:
        """Right before a fault is undone that has lasted so long that its services must know of it."""
        bounds = self.target.bounds
        if bounds is None or seconds_between(fault.injected_at, wall_now()) < bounds.readiness_s:
            return
        for outage in outages(self.target, [fault]):
            for service in outage.services:
                self._ask_health(service, within_s=0.5)

    def _ask_health_after_outages(self) -> None:
        """Who suffered from one says that it is ready again; if it does not, it is asked until its time is over."""
        suffered, bounds = outages(self.target, self.recording.faults), self.target.bounds
        if not suffered or bounds is None:
            return
        healed = max(fault.healed_at for fault in self.recording.faults)
        left_s = bounds.readiness_s + 2 * LATE_S - seconds_between(healed, wall_now())
        for service in sorted({service for outage in suffered for service in outage.services}):
            with suppress(NeverHappened):
                eventually(partial(self.ready, service), within_s=max(0.0, left_s), describe=f"{service} to be ready")

    def _ask_who_should_consume(self) -> None:
        """Of whom the broker knows that it consumes is not asked; who says that it is not ready has said enough."""
        bounds = self.target.bounds
        if bounds is None or not self._has("broker"):
            return
        within_s = bounds.readiness_s + 2 * LATE_S
        for service in self.target.broker.consumers:
            with suppress(NeverHappened):
                eventually(
                    partial(self._consumes_or_says_so, service), within_s=within_s, describe=f"{service} to consume"
                )

    def _consumes_or_says_so(self, service: str) -> bool:
        consumers = self.broker.fewest_consumers(self.target.broker.consumers[service])
        return consumers > 0 or not self._ask_health(service, within_s=2.0, consumers=consumers).ready

    def until_unready(self, service: str) -> None:
        """Wait until a service has noticed that it cannot do its work."""
        eventually(lambda: not self.ready(service), within_s=WITHIN_S, describe=f"{service} says that it is not ready")

    def until_ready(self, service: str) -> None:
        eventually(lambda: self.ready(service), within_s=WITHIN_S, describe=f"{service} says that it is ready")

    def executions_of(self, rule_id: str) -> list[ExecutionRow]:
        return [row for row in self.database.rows().executions if row.rule_id == rule_id]

    def seconds_until(self, service: str, *, ready: bool, since_ns: int) -> float:
        """How long after a moment the service said for the first time that it is ready, or that it is not."""
        eventually(
            lambda: self.ready(service) is ready,
            within_s=WITHIN_S,
            describe=f"{service} says that it is {'' if ready else 'not '}ready",
        )
        return (monotonic_ns() - since_ns) / 1e9

    def leads_with_a_deal(self) -> set[str]:
        return {row.lead_id for row in self.database.rows().deals}

    # --- the end -----------------------------------------------------------------------------------------------

    def conclude(self, error: str | None) -> ScenarioVerdict:
        """Write down how it ended, and let all properties judge it."""
        directory = self.write_down(error)
        verdict = judge(load_evidence(directory, self.target))
        write_json(directory.verdict_file, verdict)
        return verdict

    def write_down(self, error: str | None) -> ScenarioDirectory:
        """Heal what is still broken, wait for rest, write the evidence down."""
        if self._has("faults"):
            self.site.proxy.restore_all(self.target.edges)
        if self._rested_at != self._activity():
            self._await_quiet(stalled_s=STALLED_S if self._rest.quiet else 2.0)
        else:
            self._await_quiet(calm_s=CALM_S - PAUSE_S)  # so much is missing of a whole calm
        rest = self._rest
        self._ask_health_after_outages()
        self._ask_who_should_consume()
        self._tapped()
        self.until, until_ns = wall_now(), monotonic_ns()
        scenario = ScenarioRecord(
            name=self.name,
            stack=self.stack.name,
            target=self.target.name,
            seed=self.seed,
            since=self.since,
            until=self.until,
            planted=tuple(self.recording.planted),
            expected_dead_letters=tuple(self.recording.expected_dead_letters),
            personal=tuple(self.recording.personal),
            quiet=rest.quiet,
            awaited=rest.awaited,
            error=error,
            format=3,
            clock=(self.until, until_ns),
            again=self.again,
            began=self._began,
            shared=self.shared,
            lacks=self._witnesses_missing(),
        )
        directory = self.run.scenario(self.name)
        write_evidence(
            directory,
            scenario=scenario,
            recording=self.recording,
            tap=self._ours().of_ours(self._tap) if self.shared else self._tap,
            rows=self.database.rows() if self._has("database") else Rows(),
            resting=self.broker.resting() if self._has("broker") else (),
            received=self.sinks.received() if self._has("sinks") else (),
            schema=self.database.schema() if self._has("database") else Schema(),
            topology=self.site.node.topology() if self._has("faults") else Topology(),
            tap_begun=self._to_file is not None,
        )
        self._forget()
        if self.stack.lacks:  # it goes on without us: no rule of ours stays behind, and no receiver that refuses
            self._clean_slate()
        for name, witness in (("sinks", self.sinks), ("database", self.database), ("broker", self.broker)):
            if self._has(name):
                witness.close()
        self._plain.close()
        for client in self._clients:
            client.close()
        return directory

    def _witnesses_missing(self) -> tuple[str, ...]:
        """By the names of what properties read. That nothing is broken here is no want: faults only excuse."""
        of: dict[str, tuple[str, ...]] = {"database": ("rows",), "broker": ("resting",), "sinks": ("received",)}
        lacking = [what for what in self.stack.lacks if what != "faults"]
        return tuple(sorted(name for what in lacking for name in (what, *of.get(what, ()))))

    def _forget(self) -> None:
        """What is written down is read again for judging: let there be room for it."""
        self._tap.clear()
        self._log.lines.clear()
        self._watch.forget()
        self.recording.operations.clear()

    def _await_quiet(self, *, within_s: float = WITHIN_S, stalled_s: float = STALLED_S, calm_s: float = CALM_S) -> Rest:
        self._rest = self._watch.await_quiet(within_s=within_s, stalled_s=stalled_s, calm_s=calm_s)
        self._rested_at = self._activity() if self._rest.quiet else None
        return self._rest

    def _activity(self) -> tuple[int, ...]:
        """Grows with everything that may disturb a system at rest: it is the same as long as it rests."""
        in_band = sum(isinstance(line, InBand) for line in self._log.read_on())
        recorded = self.recording
        return in_band, len(recorded.operations), len(recorded.planted), len(recorded.faults)

    def _surroundings(self) -> Surroundings:
        return surroundings_of(self._rules, self.recording.planted, killed_instances(self.run, self.stack.name))

    def _unheard(self) -> list[str]:
        """A log that is collected may be late: what was answered has been logged, and is awaited there."""
        heard = {line.correlation_id for line in self._log.read_on()}
        answered = (one.correlation_id for one in self.recording.operations if one.http_status is not None)
        return [f"any line of flow {flow}" for flow in answered if flow not in heard]

    def _unfinished(self) -> list[str]:
        """What the log cannot tell: rows that no relay has sent, messages that nobody has taken."""
        unfinished = self._unheard() if self.stack.lacks else []
        unfinished += [
            f"delivery {count} of event {event_id}"
            for event_id, count in self.recording.awaited_deliveries.items()
            if len(self.attempts_of(event_id)) < count
        ]
        if self._has("database"):
            if unsent := self.database.unsent_events():
                unfinished.append(f"{unsent} unsent outbox rows")
            if undelivered := self.database.undelivered_alerts():
                unfinished.append(f"{undelivered} undelivered alerts")
        for queue, depth in self.broker.waiting().items() if self._has("broker") else ():
            unfinished.append(f"queue {queue} itself" if depth is None else f"{depth} messages in {queue}")
        return unfinished
