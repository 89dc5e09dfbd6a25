"""Messages that no service would send: what is no event dies with its papers, and what is one is heard once."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

import pytest

from chaos.faults.message import (
    malformed,
    oversized,
    reordered,
    stale_version,
    unknown_schema,
    with_orders,
    without_ids,
)
from chaos.faults.process import stopped
from harness.environment.waiting import eventually
from scenarios.world import WITHIN_S, World

Kind = Callable[..., AbstractContextManager[Any]]


@pytest.mark.parametrize(
    ("kind", "dead"),
    [
        pytest.param(malformed, True, id="malformed"),
        pytest.param(partial(malformed, body=b"[" * 100_000), True, id="100,000 open brackets"),
        pytest.param(unknown_schema, True, id="unknown schema"),
        pytest.param(partial(without_ids, where="body"), True, id="no ids in its body"),
        pytest.param(partial(without_ids, where="properties"), False, id="no ids in its properties"),
        pytest.param(with_orders, True, id="orders of its own"),
        pytest.param(oversized, False, id="1 MiB"),
    ],
)
def test_a_message_is_an_event_or_dies_at_once_with_its_papers(world: World, kind: Kind, dead: bool) -> None:
    lead_id = world.new_lead()
    with kind(world.site):
        world.pipeline.move_lead(lead_id, "qualified")
        world.settled()
    (planted,) = world.recording.planted
    assert [letter["event_id"] for letter in world.automation.dead_letters()] == [planted.message_id] * dead
    assert len(world.attempts_of(planted.message_id)) == 1
    assert world.leads_with_a_deal() == {lead_id}


@pytest.mark.nightly
def test_news_of_a_stage_that_was_left_long_ago_start_nothing(world: World) -> None:
    (lead_id,) = world.known_leads(1)
    world.pipeline.move_lead(lead_id, "nurturing")
    world.settled()
    with stale_version(world.site, entity_id=lead_id, to_stage="contacted"):
        world.settled()
    assert world.sinks.received() == []
    assert world.pipeline.stage_of(lead_id).answer["stage"] == "nurturing"


@pytest.mark.nightly
def test_events_that_come_in_the_wrong_order_have_the_effects_of_the_right_one(world: World) -> None:
    """It was in ``contacted`` for a moment only: heard last, that must not let it be escalated."""
    (lead_id,) = world.known_leads(1)
    with stopped(world.site, "automation"):
        for stage in ("contacted", "nurturing", "qualified"):
            world.pipeline.move_lead(lead_id, stage)
        eventually(lambda: not world.database.unsent_events(), within_s=WITHIN_S, describe="an empty outbox")
        with reordered(world.site):
            pass
    world.settled()
    assert world.sinks.received() == []
    assert world.leads_with_a_deal() == {lead_id}
