"""Secrets and personal data: planted in what clients send and in the stack, looked for wherever they might be seen."""

from __future__ import annotations

from typing import Any

import pytest

from harness.checks.no_leak import PROPERTY
from harness.checks.verdict import Result
from harness.contract.log_lines import Line
from tests.builders import (
    EMAIL,
    evidence,
    happy_evidence,
    lead_asked,
    operation,
    qualified_lead,
    resting,
    scenario,
    tapped,
    the_finding,
    uid,
)

TOKEN = "t0ken-of-alice"
SECRETS = {"the token of alice": TOKEN}


def judged(lines: list[Line] | None = None, **changes: Any) -> Result:
    sent = operation("create_lead", 201, flow="created", arguments={"email": EMAIL, "name": "Ada Lovelace"})
    return PROPERTY.check(
        evidence(lines or qualified_lead().lines, **{"operations": (sent,), "secrets": SECRETS, **changes})
    )


def with_route(text: str) -> list[Line]:
    lines = qualified_lead().lines
    lines[0].route = text  # type: ignore[union-attr]
    return lines


@pytest.mark.parametrize("text", [EMAIL, EMAIL.upper(), f"/leads?q={EMAIL}", "for Ada Lovelace", f"Bearer {TOKEN}"])
def test_what_is_hidden_and_stands_in_a_line_is_found_and_never_shown(text: str) -> None:
    finding = the_finding(judged(with_route(text)))
    assert "a line of pipeline" in finding.says
    assert finding.correlation_id == uid("moved")
    assert not any(hidden in finding.says.lower() for hidden in (EMAIL, "lovelace", TOKEN))


def test_a_personal_datum_in_a_message_or_a_dead_letter_is_found() -> None:
    body = '{"payload": {"email": "%s"}}' % EMAIL  # noqa: UP031
    assert "message" in the_finding(judged(tap=(tapped("created", body=body),))).says
    assert "message" in the_finding(judged(resting=(resting("created", headers={"error": EMAIL}),))).says


def test_a_refusal_that_echoes_is_found() -> None:
    sent = operation(
        "create_lead", 409, flow="created", arguments={"email": EMAIL}, answer={"detail": f"{EMAIL} exists"}
    )
    assert "an answer 409" in the_finding(judged(operations=(sent,))).says


@pytest.mark.parametrize("name", ['Ada "the" Lovelace', "Ada\\Lovelace", "Ada\nLovelace"])
def test_a_datum_that_stands_otherwise_inside_json_is_found_there(name: str) -> None:
    sent = operation("create_lead", 201, flow="created", arguments={"name": name})
    finding = the_finding(judged(operations=(sent,), resting=(resting("created", headers={"error": name}),)))
    assert finding.says.startswith("the name that a client sent is in")


def test_a_datum_that_was_sent_as_raw_bytes_is_looked_for_too() -> None:
    lines = with_route("/leads/+43 660 1234567")
    finding = the_finding(judged(lines, scenario=scenario(personal=("+43 660 1234567",))))
    assert finding.says.startswith("a personal datum is in")


def test_whoever_asks_for_a_lead_is_shown_it() -> None:
    read = operation("read", 200, flow="created", arguments={"email": EMAIL}, answer={"email": EMAIL})
    assert judged(operations=(read,)).status == "pass"


def test_a_text_so_short_that_it_may_stand_anywhere_is_not_looked_for() -> None:
    sent = operation("create_lead", 201, flow="created", arguments={"name": "lead"})
    assert judged(operations=(sent,)).status == "pass"


def test_with_nothing_to_hide_it_is_idle() -> None:
    assert judged(operations=(), secrets={}).status == "idle"


def test_a_happy_flow_leaks_nothing() -> None:
    assert PROPERTY.check(happy_evidence(operations=(lead_asked(),), secrets=SECRETS)).status == "pass"
