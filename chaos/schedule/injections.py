"""How a planned fault becomes one of ``chaos.faults``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from chaos.faults import broker
from chaos.faults.network import cut
from chaos.faults.receiver import receiver_answers
from chaos.faults.site import Attestation, FaultSite
from chaos.faults.toxic import toxic
from chaos.schedule.kind import Injection
from chaos.schedule.schedule import PlannedFault, Stream
from harness.contract.log_lines import CallCompleted
from harness.evidence.clock import monotonic_ns, wall_now


def _number(fault: PlannedFault, name: str) -> int:
    return int(fault.parameters[name])


@contextmanager
def cut_off(site: FaultSite, fault: PlannedFault) -> Iterator[Attestation]:
    """Attested by connections that were dropped, and by what was asked in vain meanwhile."""
    began, began_ns = wall_now(), monotonic_ns()
    near, _, far = fault.place.partition("→")
    with cut(site, fault.place) as attestation:
        yield attestation
        calls = [line for line in site.log() if isinstance(line, CallCompleted) and line.ts > began]
        vain = sum((call.service, call.peer, call.http_status) == (near, far, None) for call in calls)
        if near == "client":
            asked = [operation for operation in site.recording.operations if operation.returned_ns > began_ns]
            vain += sum(operation.outcome == "unknown" for operation in asked)
        attestation.add(vain, f"{vain} were asked in vain")


def poisoned(kind: str, **attributes: str | int) -> Injection:
    """By a toxic. Each of its attributes is the name of a parameter, or a value."""

    def inject(site: FaultSite, fault: PlannedFault) -> AbstractContextManager[Attestation]:
        values = {name: _number(fault, of) if isinstance(of, str) else of for name, of in attributes.items()}
        stream: Stream = "upstream" if fault.parameters["stream"] == "upstream" else "downstream"
        return toxic(site, fault.place, kind=kind, stream=stream, attributes=values)

    return inject


def at_its_place(how: Callable[[FaultSite, str], AbstractContextManager[Attestation]]) -> Injection:
    """By a fault that needs to know nothing but its place."""
    return lambda site, fault: how(site, fault.place)


def full(site: FaultSite, fault: PlannedFault) -> AbstractContextManager[Attestation]:
    """The work queue takes no more than so many."""
    return broker.queue_full(site, fault.place, max_length=_number(fault, "max_length"))


def answering(site: FaultSite, fault: PlannedFault) -> AbstractContextManager[Attestation]:
    """A receiver answers amiss for so many times."""
    numbers = {name: _number(fault, name) for name in ("status", "times", "delay_ms")}
    return receiver_answers(site, fault.place, **numbers)


def by_the_proxy(site: FaultSite, fault: PlannedFault) -> AbstractContextManager[Attestation]:
    """Not at all by us."""
    raise TypeError(f"{fault.kind} is not injected: the proxy does it to an event, see action")
