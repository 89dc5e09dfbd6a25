"""The hand that a scenario works with: clients, faults and witnesses of one stack, for the time of one scenario."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Any, cast

from chaos.faults.site import FaultSite
from chaos.proxy.client import FaultProxy
from harness.checks.judge import ScenarioVerdict, judge
from harness.clients.http import AutomationClient, CrmClient, PipelineClient, ServiceClient
from harness.clients.shared import Absent
from harness.clients.together import together
from harness.contract.log_lines import CallCompleted, CallSent, Envelope, Line, kind_of
from harness.environment.broker_node import BrokerNode
from harness.environment.stack import Stack
from harness.environment.waiting import eventually
from harness.evidence.clock import monotonic_ns, wall_now
from harness.evidence.evidence import load_evidence
from harness.evidence.log_tail import LogTail
from harness.evidence.recording import Recording
from harness.evidence.records import ExecutionRow, Operation, Rows, ScenarioRecord, Schema, TapMessage, Topology
from harness.evidence.run_directory import RunDirectory, ScenarioDirectory, write_json
from harness.evidence.write import write_evidence
from harness.target import Target
from scenarios.health import Health
from scenarios.rest import Resting
from scenarios.witnesses import Witnesses

WITHIN_S = 20.0


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
        self._witnesses = witnesses = Witnesses(stack, target, self.recording)
        self.database, self.broker, self.sinks = witnesses.database, witnesses.broker, witnesses.sinks
        self.crm = CrmClient(stack.edge_url("client→crm"), stack.tokens["alice"], self.recording)
        self.pipeline = PipelineClient(stack.edge_url("client→pipeline"), stack.tokens["alice"], self.recording)
        self.automation = AutomationClient(
            stack.edge_url("client→automation"), stack.tokens["operator"], self.recording
        )
        self.operator = CrmClient(stack.edge_url("client→crm"), stack.tokens["operator"], self.recording)
        self._clients: list[ServiceClient] = [self.crm, self.pipeline, self.automation, self.operator]
        self._health = Health(stack, target, self.recording)
        witnesses.clean_slate()
        self._log = LogTail(run.logs(stack.name), skews_s=stack.skews_s)
        self._resting = Resting(stack, run, self.recording, witnesses, self._log)
        if witnesses.has("database"):
            self._resting.rules = self.database.rows().rules
        self.site: FaultSite = self._site()

    def _site(self) -> FaultSite:
        if not self._witnesses.has("faults"):
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
            published=self._witnesses.latest_published,
            look=self._health.ask_in_an_outage,
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
        enabled: bool = True,
    ) -> str:
        """A rule for this scenario alone, its id. Before the first event that it may concern: all later ones do."""
        rule_id = f"scenario-{name}"
        self.database.add_rule(rule_id, event_type, to_stage, action, parameters or {}, enabled=enabled)
        self._resting.rules = self.database.rows().rules
        return rule_id

    def deliver_again(self, event: TapMessage) -> None:
        """Give the broker an event a second time, as it may happen by itself; settling waits for that delivery."""
        message_id = str(event.message_id)
        self.recording.awaited_deliveries[message_id] = len(self.attempts_of(message_id)) + 1
        self.broker.publish_again(event)

    # --- waiting and looking -----------------------------------------------------------------------------------

    def settled(self, *, within_s: float = WITHIN_S) -> None:
        """Wait until every correlation is closed. Raises AssertionError naming what has not come."""
        rest = self._resting.for_a_moment(within_s=within_s)
        assert rest.quiet, f"not at rest after {rest.waited_s:.1f} s; still awaited: {'; '.join(rest.awaited[:5])}"

    def rested(self, *, within_s: float) -> bool:
        """Wait for rest, but no longer than that: whether it has come."""
        return self._resting.comes(within_s=within_s)

    def published(self, *, correlation_id: str, type: str) -> TapMessage:
        """The first message of this type in a flow, as the broker saw it published; waits for it."""

        def probe() -> TapMessage | None:
            wanted = (message for message in self._witnesses.tapped() if message.what == "published")
            return next((m for m in wanted if (m.correlation_id, m.type) == (correlation_id, type)), None)

        return eventually(probe, within_s=WITHIN_S, describe=f"a {type} of flow {correlation_id} on the tap")

    def latest_event_of(self, entity_id: str) -> TapMessage | None:
        """The last event about an entity that the broker has seen published so far."""
        return self._witnesses.published_of(entity_id)

    def queues_of(self, event_id: str) -> list[str]:
        """Every queue that an event was published into, its copies too, in the order in which the broker saw it."""
        published = (message for message in self._witnesses.tapped() if message.what == "published")
        return [queue for message in published if message.message_id == event_id for queue in message.queues]

    def tap_written_down(self) -> AbstractContextManager[None]:
        """For the duration of the block, what the broker sees goes to the evidence at once, and not into memory."""
        return self._witnesses.tap_written_to(self.run.scenario(self.name).tap_file)

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
        return self._resting.attempts_of(event_id)

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
        return self._health.ready(service)

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
        witnesses = self._witnesses
        if witnesses.has("faults"):
            self.site.proxy.restore_all(self.target.edges)
        rest = self._resting.at_the_end(within_s=WITHIN_S)
        self._health.ask_after_outages()
        if witnesses.has("broker"):
            self._health.ask_who_should_consume(self.broker)
        witnesses.tapped()
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
            shared=witnesses.shared,
            lacks=witnesses.missing(),
        )
        directory = self.run.scenario(self.name)
        write_evidence(
            directory,
            scenario=scenario,
            recording=self.recording,
            tap=witnesses.tap_of_ours(),
            rows=self.database.rows() if witnesses.has("database") else Rows(),
            resting=self.broker.resting() if witnesses.has("broker") else (),
            received=self.sinks.received() if witnesses.has("sinks") else (),
            schema=self.database.schema() if witnesses.has("database") else Schema(),
            topology=self.site.node.topology() if witnesses.has("faults") else Topology(),
            tap_begun=witnesses.tap_begun,
        )
        self._forget()
        if self.stack.lacks:  # it goes on without us: no rule of ours stays behind, and no receiver that refuses
            witnesses.clean_slate()
        witnesses.close()
        self._health.close()
        for client in self._clients:
            client.close()
        return directory

    def _forget(self) -> None:
        """What is written down is read again for judging: let there be room for it."""
        self._witnesses.forget()
        self._log.lines.clear()
        self._resting.forget()
        self.recording.operations.clear()
