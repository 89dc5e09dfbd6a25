"""Where faults happen: what they act on, and where they write down what they did."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial

from chaos.proxy.client import FaultProxy
from harness.clients.broker import Broker
from harness.clients.database import Database
from harness.clients.sinks import Sinks
from harness.contract.log_lines import Line
from harness.environment.broker_node import BrokerNode
from harness.environment.capabilities import FaultableProcess
from harness.evidence.clock import wall_now
from harness.evidence.recording import Recording
from harness.evidence.records import Fault, TapMessage
from harness.target import Target


@dataclass(frozen=True, slots=True)
class FaultSite:
    """All that faults can reach in one stack."""

    proxy: FaultProxy
    database: Database
    broker: Broker
    recording: Recording
    node: BrokerNode
    """What an administrator of the broker can do that its clients cannot."""
    target: Target
    service: Callable[[str], FaultableProcess]
    """Any process of the stack by its name, those of the servers too."""
    log: Callable[[], list[Line]]
    """All lines of the scenario so far: the proof of what a fault has hit."""
    sinks: Sinks
    """Whoever is outside: receivers of webhooks, and the mail server."""
    published: Callable[[str], TapMessage | None]
    """The latest event of a type that the broker has seen published in this scenario."""
    look: Callable[[Fault], object] = lambda _: None
    """Called right before a fault is undone, with what is known of it: the last moment to see what it does."""
    drawn: bool = False
    """Faults come from a drawn schedule: nobody has aimed them, and one that hits nothing only proves less."""


@contextmanager
def injected(
    site: FaultSite, kind: str, place: str, *, effect: Callable[[], object], undo: Callable[[], object]
) -> Iterator[Attestation]:
    """A fault for the duration of a ``with`` block: undo is registered, then the effect happens, then it is undone.

    The block attests its hits; without any, the scenario's evidence does not suffice.
    """
    attestation = Attestation()
    with site.recording.broken(f"{kind} on {place}"), ExitStack() as undoing:
        undoing.callback(undo)
        injected_at = wall_now()
        effect()
        effective_at = wall_now()
        try:
            yield attestation
        finally:
            began_at = attestation.began_at
            fault = partial(
                Fault,
                kind=kind,
                place=place,
                injected_at=began_at or injected_at,
                effective_at=began_at or effective_at,
                drawn=site.drawn,
            )
            site.look(fault(healed_at=wall_now(), hits=0, proof=""))
            healing_at = wall_now()
            try:
                undoing.close()
            finally:  # what could not be undone has been done all the same
                site.recording.faults.append(
                    fault(
                        healing_at=healing_at,
                        healed_at=wall_now(),
                        hits=attestation.hits,
                        proof="; ".join(attestation.proofs) or "nothing attested",
                    )
                )


class Attestation:
    """Proof that a fault hit something in flight."""

    def __init__(self) -> None:
        self.hits = 0
        self.proofs: list[str] = []
        self.began_at: str | None = None
        """When its effect began, for a fault that waits for its moment; it explains nothing before that."""

    def add(self, hits: int, proof: str) -> None:
        self.hits += hits
        self.proofs.append(proof)
