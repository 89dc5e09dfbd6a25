"""What a service counts is what happened, and the scraper and the log are told the same."""

from __future__ import annotations

from functools import partial

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from harness.contract.log_lines import MetricsSnapshot
from harness.environment.waiting import eventually
from scenarios.world import WITHIN_S, World

CREATED = 'http_requests_total{method="POST",route="/leads",status="ok"}'
MOVED = 'http_requests_total{method="PATCH",route="/leads/{lead_id}/stage",status="ok"}'


@pytest.mark.needs_clean_slate
def test_counters_count_what_clients_and_events_did(world: World) -> None:
    services = ("crm", "pipeline", "automation")
    before = {service: _counters(world, service) for service in services}
    leads = world.new_leads(3)
    moves = world.move_all(leads, "qualified")
    world.settled()
    world.deliver_again(world.published(correlation_id=moves[0].correlation_id, type="lead.stage.changed"))
    world.settled()
    after = {service: _counters(world, service) for service in services}
    for service in services:
        is_logged = partial(_is_logged, world, service, after[service])
        eventually(is_logged, within_s=WITHIN_S, describe=f"{service} logs the counters that it showed")

    def grown(service: str, series: str) -> float:
        return after[service][series] - before[service].get(series, 0)

    assert grown("crm", CREATED) == 3
    assert grown("pipeline", MOVED) == 3
    assert grown("pipeline", "events_stored_total") == 6  # each lead's move, and by rule its deal's
    assert grown("automation", 'actions_total{action="create_deal",status="succeeded"}') == 3
    assert grown("automation", "events_processed_total") == len(world.database.rows().processed)
    assert grown("automation", "events_deduplicated_total") == 1


def _counters(world: World, service: str) -> dict[str, float]:
    """What a scraper is told without any token, by series."""
    answer = httpx.get(f"{world.stack.url(service)}/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=")
    return {
        sample.name + _labels(sample.labels): sample.value
        for family in text_string_to_metric_families(answer.text)
        if family.type == "counter"
        for sample in family.samples
    }


def _is_logged(world: World, service: str, counters: dict[str, float]) -> bool:
    """Whether the service's latest line about its counters says the same."""
    lines = [line for line in world.site.log() if isinstance(line, MetricsSnapshot) and line.service == service]
    return bool(lines) and counters.items() <= lines[-1].counters.items()


def _labels(labels: dict[str, str]) -> str:
    return "{" + ",".join(f'{name}="{value}"' for name, value in labels.items()) + "}" if labels else ""
