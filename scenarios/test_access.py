"""Who may do what: 401 for whom we do not know, 403 for whom we know but who may not."""

from __future__ import annotations

import httpx
import pytest

from harness.clients.raw_http import RawClient
from scenarios.world import World

SERVICES = {
    "crm": "/leads",
    "pipeline": "/leads/11111111-1111-4111-8111-111111111111/stage",
    "automation": "/dead-letters",
}
OPEN = ("/health/live", "/health/ready", "/metrics", "/openapi.json")


@pytest.mark.parametrize("service", SERVICES)
def test_without_a_valid_token_nothing_is_told(world: World, service: str) -> None:
    token = world.stack.tokens["operator"]
    client = RawClient(world.stack.edge_url(f"client→{service}"), token, world.recording)
    for authorization in ("", "Bearer", "Bearer ", f"Basic {token}", token, f"Bearer {token}x", f"Bearer {token[:-1]}",
                          "Bearer \xff", "Bearer wrong-token-that-nobody-has"):  # fmt: skip
        for path in (SERVICES[service], "/no/such/path"):
            operation, headers = client.request("GET", path, headers={"Authorization": authorization})
            assert operation.http_status == 401, f"{authorization!r}: {operation.answer}"
            assert headers["www-authenticate"] == "Bearer"
            assert headers["content-type"] == "application/problem+json"
    for path in OPEN:
        assert httpx.get(world.stack.url(service) + path).status_code == 200, path


@pytest.mark.parametrize("role", ["alice", "pipeline"])
def test_triage_is_for_operators(world: World, role: str) -> None:
    client = RawClient(world.stack.edge_url("client→automation"), world.stack.tokens[role], world.recording)
    letter = "/dead-letters/11111111-1111-4111-8111-111111111111"
    for method, path in (("GET", "/dead-letters"), ("GET", letter), ("POST", f"{letter}/replay"),
                         ("POST", f"{letter}/discard")):  # fmt: skip
        operation, headers = client.request(method, path)
        assert operation.http_status == 403, f"{method} {path}: {operation.answer}"
        assert headers["content-type"] == "application/problem+json"


def test_a_user_cannot_claim_to_have_been_caused_by_an_event(world: World) -> None:
    """Else anyone could hang a change into another flow, or make automation believe in a loop."""
    lead_id, event_id = world.new_lead(), "11111111-1111-4111-8111-111111111111"
    client = RawClient(world.stack.edge_url("client→pipeline"), world.stack.tokens["alice"], world.recording)
    claims = {"X-Causation-Id": event_id, "X-Hop-Count": "99", "X-Parent-Span-Id": "0123456789abcdef"}
    moved, _ = client.request("PATCH", f"/leads/{lead_id}/stage", body=b'{"stage": "qualified"}', headers=claims)
    assert moved.http_status == 200
    world.settled()
    by_hand = [row for row in world.database.rows().history if row.entity_id == lead_id]
    assert [row.causation_id for row in by_hand] == [None]
    assert world.leads_with_a_deal() == {lead_id}
