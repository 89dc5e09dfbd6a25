"""No secret of the stack and no personal datum that a client sent is in any line, message or refusal.

Whoever asks for a lead is shown it: answers that are no refusals are left out. What is found is named, never shown.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from operator import attrgetter
from typing import Any

import msgspec
from msgspec import Struct

from harness.checks.needles import Needles, folded
from harness.checks.verdict import Finding, Property, Result, answer
from harness.evidence.evidence import Evidence
from harness.evidence.sharing import other_fields, text_fields

NAME = "no_leak"
PERSONAL = ("name", "email", "phone")
SHORTEST = 6
"""A shorter text may stand anywhere by chance."""
Place = tuple[str, str | None, list[str]]
"""What it is, its flow, and its texts."""


def check(evidence: Evidence) -> Result:
    """Whatever the case of its letters. One finding for each thing that leaked and each kind of place."""
    hidden = {text: what for what, text in _hidden(evidence) if len(text) >= SHORTEST}
    said = (evidence.lines, evidence.tap, evidence.resting, [*_broken_and_refused(evidence)])
    seen = sum(map(len, said)) if hidden else 0
    needles = Needles(form for text in hidden for form in {text, _in_json(text)})
    leaked = _leaked(evidence, needles) if hidden else set()
    findings = list(_findings(evidence, hidden, leaked)) if leaked else []
    return answer(NAME, seen=seen, floor=min(1, len(hidden)), findings=findings)


def _findings(evidence: Evidence, hidden: dict[str, str], leaked: set[bytes]) -> Iterator[Finding]:
    """Where it is that has leaked: asked only when it is known what."""
    what_of = {folded(form): what for text, what in hidden.items() for form in (text, _in_json(text))}
    needles = Needles(needle.decode() for needle in leaked)
    told: set[tuple[str, bytes]] = set()
    for where, correlation_id, texts in _places(evidence):
        for needle in sorted(needles.found_in(texts)):
            if (where, needle) not in told:
                told.add((where, needle))
                yield Finding(property=NAME, says=f"{what_of[needle]} is in {where}", correlation_id=correlation_id)


def _hidden(evidence: Evidence) -> Iterator[tuple[str, str]]:
    """What must not be seen: what it is, and its text."""
    yield from evidence.secrets.items()
    yield from (("a personal datum", text) for text in evidence.scenario.personal)
    for operation in evidence.operations:
        for field in PERSONAL:
            if isinstance(text := operation.arguments.get(field), str):
                yield f"the {field} that a client sent", text


def _leaked(evidence: Evidence, needles: Needles) -> set[bytes]:
    leaked = needles.found_in(_distinct(evidence.lines, needles)) | needles.found_in(_distinct(evidence.tap, needles))
    others = {text for _, _, found in _broken_and_refused(evidence) for text in found}
    return leaked | needles.found_in(_distinct(evidence.resting, needles)) | needles.found_in(others)


def _distinct(records: Sequence[Struct], needles: Needles) -> set[str]:
    """Every text that could give something away, once: most are ids, which cannot."""
    texts: set[Any] = set()
    by_kind: dict[type[Struct], list[Struct]] = defaultdict(list)
    for record in records:
        by_kind[type(record)].append(record)
    for kind, members in by_kind.items():
        for name in text_fields(kind):
            found = set(map(attrgetter(name), members)) - {None}
            if needles.may_be_in(found):
                texts |= found
        for name in other_fields(kind):
            texts.update(map(_json, map(attrgetter(name), members)))
    return texts


def _places(evidence: Evidence) -> Iterator[Place]:
    """Where it could be seen."""
    for line in evidence.lines:
        yield f"a line of {line.service}", line.correlation_id, _texts(line)
    for message in (*evidence.tap, *evidence.resting):
        yield f"a {message.type or 'nameless'} message", message.correlation_id, _texts(message)
    yield from _broken_and_refused(evidence)


def _broken_and_refused(evidence: Evidence) -> Iterator[Place]:
    for broken in evidence.broken_lines:
        yield f"a broken line in {broken.file}", None, [broken.excerpt or ""]
    for operation in evidence.operations:
        if operation.outcome != "ok" and operation.http_status is not None:
            yield f"an answer {operation.http_status}", operation.correlation_id, [_json(operation.answer)]


def _texts(record: Struct) -> list[str]:
    """What a line or a message says. A text that is in JSON itself, as a body is, stays as it is."""
    texts = [text for name in text_fields(type(record)) if (text := getattr(record, name)) is not None]
    return texts + [_json(getattr(record, name)) for name in other_fields(type(record))]


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()


def _in_json(text: str) -> str:
    """As it stands inside JSON."""
    if text.isprintable() and '"' not in text and "\\" not in text:
        return text
    return _json(text.encode("utf-8", "replace").decode())[1:-1]


PROPERTY = Property(
    NAME,
    "no secret and no personal datum in any line, message or refusal",
    ("lines", "tap", "resting", "operations", "scenario"),
    check,
    may_lack=("tap", "resting"),
)
