"""SIGTERM with work in hand: what was begun is finished, nothing is lost, and the process says goodbye."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import httpx
import pytest

from chaos.faults.network import slow
from harness.clients.http import tls
from harness.contract.log_lines import CallSent, EventSettled, MetricsSnapshot, ServiceStopped
from harness.environment.waiting import eventually
from harness.evidence.records import Operation
from scenarios.world import WITHIN_S, World


@pytest.mark.parametrize("service", ["crm", "pipeline"])
def test_a_service_that_is_stopped_answers_the_requests_it_has_begun(world: World, service: str) -> None:
    ask: list[Callable[[], Operation]] = [world.crm.create_lead] * 3
    if service == "pipeline":
        ask = [partial(world.pipeline.move_lead, lead_id, "qualified") for lead_id in world.new_leads(3)]
    with slow(world.site, f"{service}→database", delay_ms=40), ThreadPoolExecutor(len(ask)) as clients:
        before = len(_begun(world, service))
        asked = [clients.submit(one) for one in ask]
        eventually(lambda: len(_begun(world, service)) == before + 3, within_s=WITHIN_S, describe="3 requests begun")
        _stop(world, service)
        assert {one.result().outcome for one in asked} == {"ok"}
    _start_again(world, service)
    world.settled()


def test_automation_that_is_stopped_finishes_its_deliveries(world: World) -> None:
    leads = world.known_leads(3)
    # A second and more, in which it can be seen to drain.
    with slow(world.site, "automation→crm", delay_ms=600), _asking() as asking:
        moves = world.move_all(leads, "qualified")
        flows = {move.correlation_id for move in moves}
        eventually(
            lambda: flows <= {line.correlation_id for line in world.site.log() if isinstance(line, CallSent)},
            within_s=WITHIN_S,
            describe="every action waiting for crm",
        )
        with ThreadPoolExecutor(1) as stopper:
            stopping = stopper.submit(_stop, world, "automation")
            eventually(
                partial(_is_draining, world, "automation", asking), within_s=WITHIN_S, describe="automation not ready"
            )
            stopping.result()
    settled = [line for line in world.site.log() if isinstance(line, EventSettled) and line.correlation_id in flows]
    assert {line.status for line in settled if line.entity_id in leads} == {"acked"}
    assert world.leads_with_a_deal() == set(leads)
    _start_again(world, "automation")
    world.settled()


def test_what_automation_has_not_begun_when_it_is_stopped_is_given_back_and_handled_later(world: World) -> None:
    """More than it takes at once, of which it has more in hand than it works on."""
    leads = world.known_leads((world.target.broker.prefetch or 16) + 4)
    with slow(world.site, "automation→crm", delay_ms=300):
        flows = {move.correlation_id for move in world.move_all(leads, "qualified")}
        eventually(
            lambda: any(isinstance(line, CallSent) and line.correlation_id in flows for line in world.site.log()),
            within_s=WITHIN_S,
            describe="an action waiting for crm",
        )
        _stop(world, "automation")
    _start_again(world, "automation")
    world.settled()
    assert world.leads_with_a_deal() == set(leads)
    assert world.automation.dead_letters() == []


def _begun(world: World, service: str) -> list[str]:
    """The flows in which the service has begun a request."""
    return [
        str(line.correlation_id) for line in world.site.log() if line.service == service and line.status == "accepted"
    ]


def _asking() -> httpx.Client:
    """One that is there before it is needed: to make it takes longer than some answers can be had."""
    return httpx.Client(verify=tls(), trust_env=False, timeout=WITHIN_S)


def _is_draining(world: World, service: str, asking: httpx.Client) -> bool:
    answer = asking.get(f"{world.stack.url(service)}/health/ready")
    return (answer.status_code, answer.json()["status"]) == (503, "draining")


def _stop(world: World, service: str) -> None:
    """SIGTERM, and wait. Its last lines are the metrics and the goodbye, and its exit code is 0."""
    process = world.stack.processes[service]
    assert process.terminate(), f"{service} had to be ended by force"
    assert process.exit_code == 0
    last = [line for line in world.site.log() if line.service == service][-2:]
    assert [type(line) for line in last] == [MetricsSnapshot, ServiceStopped]


def _start_again(world: World, service: str) -> None:
    process = world.stack.processes[service]
    process.start()
    process.await_ready()
