"""The production-readiness checklist: what such a system must show before real users come, and whether it was seen.

Each item is tied to properties and to scenarios; what they said last comes from the verdicts of a whole gate.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from harness.checks.judge import ScenarioVerdict
from harness.checks.verdict import Status


class Item(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One thing to be shown. ``scenarios``: a pattern for the names of those that put it to the test."""

    area: str
    says: str
    properties: tuple[str, ...]
    scenarios: str


_MARKS: dict[Status, str] = {"pass": "✓", "fail": "✗", "unknown": "?", "idle": "·"}
_WORST: tuple[Status, ...] = ("fail", "unknown", "pass", "idle")


def load_items() -> tuple[Item, ...]:
    """The checklist."""
    raw = tomllib.loads(Path(__file__).with_name("readiness.toml").read_text(encoding="utf-8"))
    return msgspec.convert(raw["item"], tuple[Item, ...])


def readiness_page(verdicts: Sequence[ScenarioVerdict], *, judged_at: str, further: Sequence[str] = ()) -> str:
    """The page in Markdown. ``further``: what is not shown by a gate (load, false alarms), one line each."""
    return "\n".join([*_page(verdicts, judged_at), *_further(further)]) + "\n"


def _page(verdicts: Sequence[ScenarioVerdict], judged_at: str) -> Iterator[str]:
    yield "# Is it ready for real users?\n"
    yield "What a system of this kind must show before they come. Made by `make docs` from the verdicts of the gate of"
    yield f"{judged_at}: do not edit. ✓ every scenario that put it to the test says so, ✗ one says no, ? one could not"
    yield "tell, · nothing put it to the test.\n"
    yield "| | area | it is shown that | properties | scenarios | one of them |\n|---|---|---|---|--:|---|"
    for item in load_items():
        status, seen = _last(item, verdicts)
        names = ", ".join(f"[{name}](properties.md#{name})" for name in item.properties)
        yield f"| {_MARKS[status]} | {item.area} | {item.says} | {names} | {len(seen)} | {_example(seen)} |"


def _last(item: Item, verdicts: Sequence[ScenarioVerdict]) -> tuple[Status, list[str]]:
    """The worst that was said, and the scenarios in which something was."""
    said: dict[str, set[Status]] = {}
    for verdict in verdicts:
        found: set[Status] = {one.status for one in verdict.results if one.property in item.properties} - {"idle"}
        if found and re.search(item.scenarios, verdict.scenario):
            said[verdict.scenario] = found
    everything = set().union(*said.values())
    return next((status for status in _WORST if status in everything), "idle"), sorted(said)


def _example(scenarios: Sequence[str]) -> str:
    return f"`{scenarios[len(scenarios) // 2].partition('[')[0]}`" if scenarios else ""


def _further(lines: Sequence[str]) -> Iterator[str]:
    if lines:
        yield "\n## And beyond a gate\n"
        yield from (f"* {line}" for line in lines)
