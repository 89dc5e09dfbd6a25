"""Two witnesses contradict each other, or one has seen something go in that nobody saw come out."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Disagreement:
    """What each of them says, and between whom it was lost. ``lost``: nothing of it is left anywhere.

    ``in_doubt``: the service whose missing lines may explain it, for then it proves nothing.
    """

    says: str
    service: str
    edge: str
    entity: str | None = None
    correlation_id: str | None = None
    lost: bool = False
    in_doubt: str | None = None
    trace: tuple[str, ...] = ()
