"""Asking services how they are, past every proxy. What they say goes into the evidence as well."""

from __future__ import annotations

from contextlib import suppress
from functools import partial

import httpx

from harness.checks.health_tells_the_truth import LATE_S
from harness.clients.broker import Broker
from harness.clients.http import tls
from harness.environment.stack import Stack
from harness.environment.waiting import NeverHappened, eventually
from harness.evidence.clock import seconds_between, wall_now
from harness.evidence.outages import outages
from harness.evidence.recording import Recording
from harness.evidence.records import Fault, HealthProbe
from harness.target import Target

_NO_KEEPING = httpx.Limits(max_keepalive_connections=0)  # a kept connection may have been closed by a restart


class Health:
    """Of the services of one stack, for one scenario."""

    def __init__(self, stack: Stack, target: Target, recording: Recording) -> None:
        self._stack, self._target, self._recording = stack, target, recording
        self._plain = httpx.Client(timeout=2.0, trust_env=False, verify=tls(), limits=_NO_KEEPING)

    def close(self) -> None:
        self._plain.close()

    def ready(self, process: str) -> bool:
        """What a service (or its replica) says of itself."""
        return self._ask(process, within_s=2.0).ready

    def ask_in_an_outage(self, fault: Fault) -> None:
        """Right before a fault is undone that has lasted so long that its services must know of it."""
        bounds = self._target.bounds
        if bounds is None or seconds_between(fault.injected_at, wall_now()) < bounds.readiness_s:
            return
        for outage in outages(self._target, [fault]):
            for service in outage.services:
                self._ask(service, within_s=0.5)

    def ask_after_outages(self) -> None:
        """Who suffered from one says that it is ready again; if it does not, it is asked until its time is over."""
        suffered, bounds = outages(self._target, self._recording.faults), self._target.bounds
        if not suffered or bounds is None:
            return
        healed = max(fault.healed_at for fault in self._recording.faults)
        left_s = bounds.readiness_s + 2 * LATE_S - seconds_between(healed, wall_now())
        for service in sorted({service for outage in suffered for service in outage.services}):
            with suppress(NeverHappened):
                eventually(partial(self.ready, service), within_s=max(0.0, left_s), describe=f"{service} to be ready")

    def ask_who_should_consume(self, broker: Broker) -> None:
        """Of whom the broker knows that it consumes is not asked; who says that it is not ready has said enough."""
        bounds = self._target.bounds
        if bounds is None:
            return
        within_s = bounds.readiness_s + 2 * LATE_S
        for service in self._target.broker.consumers:
            consumes = partial(self._consumes_or_says_so, broker, service)
            with suppress(NeverHappened):
                eventually(consumes, within_s=within_s, describe=f"{service} to consume")

    def _consumes_or_says_so(self, broker: Broker, service: str) -> bool:
        consumers = broker.fewest_consumers(self._target.broker.consumers[service])
        return consumers > 0 or not self._ask(service, within_s=2.0, consumers=consumers).ready

    def _ask(self, process: str, *, within_s: float, consumers: int | None = None) -> HealthProbe:
        service = self._stack.replicas.get(process, process)
        asked_at, ready = wall_now(), False
        try:
            answer = self._plain.get(self._stack.url(process) + self._target.services[service].ready, timeout=within_s)
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
        self._recording.health.append(probe)
        return probe
