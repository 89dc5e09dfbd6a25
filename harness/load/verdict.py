"""What everybody says of a load run: ``RUN/load/verdict.json``."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct

from harness.checks.judge import Verdict, worst
from harness.load.gates import Status

_AS_VERDICT: dict[Status, Verdict] = {"pass": "pass", "fail": "fail", "inconclusive": "unknown"}


class LoadVerdict(Struct, frozen=True, kw_only=True):
    """``properties``: of the evidence, None where none was written down. ``audit``: of the whole log, None where
    processes were killed, which an audit knows nothing of. ``doubts``: why the run itself proves less than it should.
    """

    gates: Status
    properties: Verdict | None
    audit: Verdict | None
    doubts: tuple[str, ...] = ()

    @property
    def verdict(self) -> Verdict:
        """The worst of all: what is not asked counts for nothing."""
        return worst(self._said())

    def _said(self) -> Iterator[Verdict]:
        yield _AS_VERDICT[self.gates]
        yield from (said for said in (self.properties, self.audit) if said is not None)
        if self.doubts:
            yield "unknown"
