"""Readiness tells the truth: within two seconds it follows each dependency down, and up again."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial

import pytest

from chaos.faults.broker import memory_alarm, work_queue_deleted
from chaos.faults.network import cut
from chaos.faults.process import killed, paused
from harness.clients.together import together
from harness.contract.log_lines import DependencyChanged
from harness.environment.waiting import eventually
from harness.evidence.clock import monotonic_ns
from harness.evidence.records import Operation
from scenarios.world import WITHIN_S, World

BOUND_S = 2.0
ALL = ("crm", "pipeline", "automation")


@pytest.mark.parametrize(
    ("edges", "unready"),
    [
        ([f"{service}→database" for service in ALL], ALL),
        ([f"{service}→broker" for service in ALL], ALL),
        (["pipeline→crm", "automation→crm"], ("pipeline", "automation")),
    ],
    ids=["database", "broker", "crm"],
)
def test_readiness_follows_an_edge_that_is_cut(world: World, edges: list[str], unready: tuple[str, ...]) -> None:
    world.new_lead()
    with ExitStack() as cuts:
        for edge in edges:
            cuts.enter_context(cut(world.site, edge))
        _within_bound(world, unready, ready=False)
        assert {service for service in ALL if world.ready(service)} == set(ALL) - set(unready)
    _within_bound(world, ALL, ready=True)
    world.settled()


@pytest.mark.parametrize("server", ["postgres", "rabbitmq"])
def test_readiness_follows_a_server_that_says_nothing(world: World, server: str) -> None:
    world.new_lead()
    with paused(world.site, server):
        _within_bound(world, ALL, ready=False)
    _within_bound(world, ALL, ready=True)
    world.settled()


def test_readiness_follows_a_broker_that_blocks_publishers(world: World) -> None:
    lead_id = world.new_lead()
    with memory_alarm(world.site):
        began_ns = monotonic_ns()
        assert world.pipeline.move_lead(lead_id, "qualified").outcome == "ok"
        assert world.seconds_until("pipeline", ready=False, since_ns=began_ns) < BOUND_S
    _within_bound(world, ALL, ready=True)
    world.settled()
    assert world.leads_with_a_deal() == {lead_id}


def test_readiness_knows_of_a_cancelled_consumer(world: World) -> None:
    world.new_lead()
    world.settled()
    with work_queue_deleted(world.site):
        changes = eventually(
            partial(_broker_changes, world), within_s=WITHIN_S, describe="the broker down and up again"
        )
    down, up = changes[0], changes[1]
    assert (down.status, up.status) == ("down", "up")
    assert "cancelled" in str(down.error)


def test_a_database_that_is_down_loses_nothing_and_kills_nothing(world: World, outage_s: float) -> None:
    leads = world.known_leads(5)
    moves: list[Operation] = []
    with killed(world.site, "postgres") as kill, ThreadPoolExecutor(1) as watcher:
        began_ns = monotonic_ns()
        unready = watcher.submit(_within_bound, world, ALL, ready=False)
        while not (unready.done() and (monotonic_ns() - began_ns) / 1e9 >= outage_s):
            moves += world.move_all(leads, "qualified")
        kill.add(len(moves), f"{len(moves)} PATCHes were sent to it; not ready after {unready.result():.2f} s")
    _within_bound(world, ALL, ready=True)
    assert {move.outcome for move in moves} == {"unknown"}, "a PATCH that no database can have stored was answered"
    assert {move.outcome for move in world.move_all(leads, "qualified")} == {"ok"}
    world.settled()
    assert world.leads_with_a_deal() == set(leads)
    assert world.automation.dead_letters() == []


def _within_bound(world: World, services: Sequence[str], *, ready: bool) -> float:
    """Wait until all of them say so, from now on. How long that took, which is not too long."""
    began_ns = monotonic_ns()
    took_s = together([partial(world.seconds_until, name, ready=ready, since_ns=began_ns) for name in services])
    late = {name: f"{s:.2f} s" for name, s in zip(services, took_s, strict=True) if s > BOUND_S}
    assert not late, f"{'ready' if ready else 'not ready'} only after: {late}"
    return max(took_s)


def _broker_changes(world: World) -> list[DependencyChanged]:
    """How automation saw its broker change in this scenario, once it has seen it go and come back."""
    changes = [
        line
        for line in world.site.log()
        if isinstance(line, DependencyChanged) and (line.service, line.dependency) == ("automation", "broker")
    ]
    return changes if len(changes) >= 2 else []
