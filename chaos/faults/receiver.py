"""Faults of whoever is outside: a receiver of webhooks, or the mail server, that fails or is slow for a few times."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from chaos.faults.site import Attestation, FaultSite, injected
from harness.evidence.clock import wall_now


@contextmanager
def receiver_answers(
    site: FaultSite, place: str, *, status: int, times: int, delay_ms: int = 0
) -> Iterator[Attestation]:
    """The next ``times`` are answered so, at a path of the receiver or by the mail server. Hits: who got that answer.

    Bounded by its times rather than by the block: whoever fails for all attempts of an event lets it die.
    """
    began = wall_now()
    with injected(
        site,
        f"answers {status}" + (f" after {delay_ms} ms" if delay_ms else ""),
        place,
        effect=lambda: site.sinks.behave(place, status, times=times, delay_ms=delay_ms),
        undo=lambda: site.sinks.behave(place, status, times=0),
    ) as attestation:
        yield attestation
        got = [item for item in site.sinks.received(place) if item.received_at > began and item.status == status]
        attestation.add(len(got), f"{len(got)} were answered {status}")
