"""More than can be done, as the faults that it is: reason enough to be refused for now."""

from __future__ import annotations

from harness.evidence.clock import wall_at, wall_now
from harness.evidence.records import MACHINE, OVERLOAD, Fault
from harness.load.crowding import crowded, others_share
from harness.load.measurements import Observed
from harness.load.metrics import Span
from harness.load.records import LoadPlan


def asked_too_much(plan: LoadPlan, *, answered: int, failed: int) -> Fault:
    """To ask until it breaks is a fault of ours, from the beginning until all is worked off."""
    began = wall_at(plan.began_ns / 1e9)
    return Fault(
        kind=OVERLOAD, place="client", injected_at=began, effective_at=began, healing_at=wall_now(),
        healed_at=wall_now(), hits=answered, drawn=True,
        proof=f"{answered} requests in a rate that grew until it broke, {failed} refused",
    )  # fmt: skip


def machine_filled(seen: Observed) -> list[Fault]:
    """Whenever others left next to nothing of the machine to the system. It is nobody's fault, and explains as much."""
    return [
        Fault(
            kind=OVERLOAD, place=MACHINE, injected_at=wall_at(span.since_ns / 1e9),
            effective_at=wall_at(span.since_ns / 1e9), healing_at=wall_at(span.until_ns / 1e9),
            healed_at=wall_at(span.until_ns / 1e9), hits=0, drawn=True,
            proof=f"others filled the machine for {span.seconds:.0f} s",
        )
        for span in crowded(seen)
    ]  # fmt: skip


def doubt_instead(failure: AssertionError, seen: Observed, span: Span) -> str:
    """Why it proves nothing that something was not done in that time: others filled the machine. Raises the failure
    where they did not."""
    share = others_share(seen, span)
    if share is None:
        raise failure
    return f"{failure}; but others used {share:.0%} of this machine then"
