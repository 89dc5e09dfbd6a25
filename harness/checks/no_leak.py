"""No secret of the stack and no personal datum that a client sent is in any line, message or refusal.

Whoever asks for a lead is shown it: answers that are no refusals are left out. What is found is named, never shown.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from harness.checks.verdict import Finding, Property, Result, answer
from harness.evidence.evidence import Evidence

NAME = "no_leak"
PERSONAL = ("name", "email", "phone")
SHORTEST = 6
"""A shorter text may stand anywhere by chance."""


def check(evidence: Evidence) -> Result:
    """Whatever the case of its letters. One finding for each thing that leaked and each kind of place."""
    hidden = {needle: what for what, text in _hidden(evidence) if len(needle := _folded(text)) >= SHORTEST}
    places = list(_places(evidence)) if hidden else []
    text = "\n".join(place_text for _, _, place_text in places)
    leaked = {needle: what for needle, what in hidden.items() if needle in text}
    findings: dict[tuple[str, str], Finding] = {}
    for where, correlation_id, place_text in places if leaked else ():
        for needle, what in leaked.items():
            if needle in place_text:
                says = f"{what} is in {where}"
                findings.setdefault((needle, where), Finding(property=NAME, says=says, correlation_id=correlation_id))
    return answer(NAME, seen=len(places), floor=min(1, len(hidden)), findings=list(findings.values()))


def _hidden(evidence: Evidence) -> Iterator[tuple[str, str]]:
    """What must not be seen: what it is, and its text."""
    yield from evidence.secrets.items()
    yield from (("a personal datum", text) for text in evidence.scenario.personal)
    for operation in evidence.operations:
        for field in PERSONAL:
            if isinstance(text := operation.arguments.get(field), str):
                yield f"the {field} that a client sent", text


def _places(evidence: Evidence) -> Iterator[tuple[str, str | None, str]]:
    """Where it could be seen: the place, its flow, and its text."""
    for line in evidence.lines:
        yield f"a line of {line.service}", line.correlation_id, _json(line)
    for broken in evidence.broken_lines:
        yield f"a broken line in {broken.file}", None, _folded(broken.excerpt or "")
    for message in (*evidence.tap, *evidence.resting):
        yield f"a {message.type or 'nameless'} message", message.correlation_id, _json(message)
    for operation in evidence.operations:
        if operation.outcome != "ok" and operation.http_status is not None:
            yield f"an answer {operation.http_status}", operation.correlation_id, _json(operation.answer)


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode().lower()


def _folded(text: str) -> str:
    """As it stands inside JSON, whatever its case."""
    return msgspec.json.encode(text.encode("utf-8", "replace").decode()).decode()[1:-1].lower()


PROPERTY = Property(
    NAME,
    "no secret and no personal datum in any line, message or refusal",
    ("lines", "tap", "resting", "operations", "scenario"),
    check,
)
