"""What a property answers: pass, fail, unknown or idle, and the findings that prove a failure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from msgspec import Struct

from harness.evidence.evidence import Evidence

Status = Literal["pass", "fail", "unknown", "idle"]
"""``unknown``: the evidence does not suffice, which is not green. ``idle``: nothing happened that the property
speaks of; a scenario may leave a property idle, a whole gate may not."""


Severity = Literal["critical", "major", "minor"]
"""``critical``: data or an effect is lost, doubled or invented. ``major``: another promise is broken. ``minor``: what
happened is right, its papers or its log lines are not."""
SEVERITIES: tuple[Severity, ...] = get_args(Severity)


class Finding(Struct, frozen=True, kw_only=True):
    """One broken promise, with what a person needs to act on it. ``trace``: at most 15 lines.

    A property says what it knows; ``judge`` fills in the rest, from ``severity`` on, and the trace of a flow.
    """

    property: str
    says: str
    service: str | None = None
    edge: str | None = None
    entity: str | None = None
    correlation_id: str | None = None
    trace: tuple[str, ...] = ()
    severity: Severity | None = None
    at: str | None = None
    """The moment of it, as log lines write it."""
    fault: str | None = None
    """What was broken at that moment, by us."""
    scenario: str | None = None
    reproduce: str | None = None
    """The command that runs its scenario again."""
    more: int = 0
    """So many findings like this one were made and not kept."""


class Result(Struct, frozen=True, kw_only=True):
    """One property's answer. ``seen`` counts what it judged; ``floor`` is how much it had to see at least."""

    property: str
    status: Status
    seen: int
    floor: int
    findings: tuple[Finding, ...] = ()
    doubts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Property:
    """A named promise, the evidence that it reads, and the function that judges it."""

    name: str
    statement: str
    reads: tuple[str, ...]
    check: Callable[[Evidence], Result]
    severity: Severity = "major"
    may_lack: tuple[str, ...] = ()
    """Evidence without which it says less, but nothing wrong."""

    def applies(self, lacks: Collection[str]) -> bool:
        """Whether it can be asked where these witnesses are not there, as on a system that somebody else runs."""
        needed = {source.partition(".")[0] for source in self.reads} - set(self.may_lack)
        return not needed & set(lacks)


def answer(name: str, *, seen: int, floor: int, findings: Sequence[Finding] = (), doubts: Sequence[str] = ()) -> Result:
    """Put an answer together: a finding is a failure whatever else is in doubt; then doubts; then the floor.

    ``floor`` 0 with nothing seen is idle. A property derives its floor from what the clients did, so that evidence
    which should be there and is not makes it unknown.
    """
    if findings:
        status: Status = "fail"
    elif doubts:
        status = "unknown"
    elif seen < floor:
        status = "unknown"
        doubts = (f"saw {seen}, needed at least {floor}",)
    else:
        status = "pass" if seen else "idle"
    return Result(property=name, status=status, seen=seen, floor=floor, findings=tuple(findings), doubts=tuple(doubts))
