"""Findings of one cause, told once: what says the same of many flows, and what many properties say of the same flows.

First, findings of one property, place and wording (ids and numbers aside) are one group. Then groups that are seen in
mostly the same flows share a cause: a break shows in everything that should have come after it.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from itertools import combinations

import msgspec
from msgspec import Struct

from harness.checks.verdict import SEVERITIES, Finding, Severity

KEPT = 20
"""So many findings of a group are kept: enough to see what they share."""
_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|\b[0-9a-f]{16}\b|\S+@\S+")
_NUMBERS = re.compile(r"\d+(?:, \d+)*")

Signature = tuple[str, str | None, str | None, str]
"""property, edge, service, wording without ids and numbers"""


class Cause(Struct, frozen=True, kw_only=True):
    """What was probably one mistake. ``findings``: one example of each group, the gravest first; ``count``: all of
    them; ``flows``: those that are known, of a cause that was seen more often than is kept."""

    title: str
    severity: Severity
    findings: tuple[Finding, ...]
    flows: int
    count: int
    scenarios: tuple[str, ...] = ()

    @property
    def properties(self) -> list[str]:
        """Who saw it."""
        return list(dict.fromkeys(finding.property for finding in self.findings))

    @property
    def example(self) -> Finding:
        """The finding with the best proof: the gravest that has a flow to show."""
        return next((finding for finding in self.findings if finding.trace), self.findings[0])


def signature(finding: Finding) -> Signature:
    """What findings of one group have in common."""
    wording = _NUMBERS.sub("N", _ID.sub("…", finding.says))
    return finding.property, finding.edge, finding.service, wording


def kept(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """At most ``KEPT`` of each group; its first says how many ``more`` there were.

    Those with the smallest ids are kept, so that two groups of the same flows keep the same ones.
    """
    groups: dict[Signature, list[Finding]] = defaultdict(list)
    for finding in findings:
        groups[signature(finding)].append(finding)
    return tuple(finding for members in groups.values() for finding in _kept(members))


def _kept(members: list[Finding]) -> list[Finding]:
    if len(members) <= KEPT:
        return members
    first, *others = sorted(members, key=lambda finding: _flow(finding) or "~")[:KEPT]
    return [msgspec.structs.replace(first, more=len(members) - KEPT), *others]


def _flow(finding: Finding) -> str | None:
    return finding.correlation_id or finding.entity


@dataclass
class _Group:
    members: list[Finding] = field(default_factory=list)

    @cached_property
    def flows(self) -> dict[str | None, tuple[set[str], str]]:
        """Its flows in each scenario; beyond the second value, flows may have been cut off there."""
        members: dict[str | None, list[Finding]] = defaultdict(list)
        for finding in self.members:
            members[finding.scenario].append(finding)
        return {scenario: _flows(here) for scenario, here in members.items()}


def _flows(findings: list[Finding]) -> tuple[set[str], str]:
    flows = {flow for finding in findings if (flow := _flow(finding))}
    cut = any(finding.more for finding in findings)
    return flows, max(flows, default="") if cut else "~"


def causes_of(findings: Iterable[Finding]) -> list[Cause]:
    """The causes of findings that ``judge`` has made ready, the gravest and most frequent first."""
    groups: dict[Signature, _Group] = defaultdict(_Group)
    for finding in findings:
        groups[signature(finding)].members.append(finding)
    cause_of = {name: name for name in groups}
    for one, other in _neighbours(groups):
        first, second = _root(cause_of, one), _root(cause_of, other)
        if first != second and _alike(groups[one], groups[other]):
            cause_of[second] = first
    causes: dict[Signature, list[_Group]] = defaultdict(list)
    for name, group in groups.items():
        causes[_root(cause_of, name)].append(group)
    return sorted((_cause(members) for members in causes.values()), key=lambda c: (_rank(c.severity), -c.count))


def _neighbours(groups: dict[Signature, _Group]) -> Iterator[tuple[Signature, Signature]]:
    """Pairs of groups that meet in a flow, each pair once."""
    meeting: dict[tuple[str | None, str], dict[Signature, None]] = defaultdict(dict)
    for name, group in groups.items():
        for finding in group.members:
            if flow := _flow(finding):
                meeting[finding.scenario, flow][name] = None
    yield from dict.fromkeys(pair for names in meeting.values() for pair in combinations(names, 2))


def _alike(one: _Group, other: _Group) -> bool:
    """Is at least half of the smaller one's flows, in some scenario, also the other's?"""
    for scenario in one.flows.keys() & other.flows.keys():
        (mine, my_end), (yours, your_end) = one.flows[scenario], other.flows[scenario]
        end = min(my_end, your_end)
        mine, yours = {flow for flow in mine if flow <= end}, {flow for flow in yours if flow <= end}
        if mine and yours and 2 * len(mine & yours) >= min(len(mine), len(yours)):
            return True
    return False


def _root(cause_of: dict[Signature, Signature], name: Signature) -> Signature:
    while cause_of[name] != name:
        cause_of[name] = name = cause_of[cause_of[name]]
    return name


def _rank(severity: Severity | None) -> int:
    return SEVERITIES.index(severity or "major")


def _cause(groups: list[_Group]) -> Cause:
    members = [finding for group in groups for finding in group.members]
    examples = [_example(group) for group in groups]
    examples.sort(key=lambda finding: _rank(finding.severity))
    return Cause(
        title=examples[0].says,
        severity=examples[0].severity or "major",
        findings=tuple(examples),
        flows=len({finding.correlation_id for finding in members if finding.correlation_id}),
        count=len(members) + sum(finding.more for finding in members),
        scenarios=tuple(dict.fromkeys(finding.scenario for finding in members if finding.scenario)),
    )


def _example(group: _Group) -> Finding:
    more = len(group.members) - 1 + sum(finding.more for finding in group.members)
    return msgspec.structs.replace(group.members[0], more=more)
