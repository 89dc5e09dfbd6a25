"""Faults in a process, of a service or of a server: SIGKILL, SIGTERM or both ends of a restart; SIGSTOP of its tree.

Each attests what the process had in hand, and what was asked of it in vain. A scenario may add what it knows better.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from chaos.faults.felt import connections_to, in_vain
from chaos.faults.in_flight import in_flight
from chaos.faults.site import Attestation, FaultSite, injected
from harness.environment.capabilities import FaultableProcess
from harness.evidence.clock import wall_now


@contextmanager
def killed(site: FaultSite, place: str) -> Iterator[Attestation]:
    """SIGKILL a process for the duration of the block, then start it again."""
    process = site.service(place)
    with _felt(site, "SIGKILL", place, process.kill, partial(_start_again, process)) as attestation:
        yield attestation


@contextmanager
def stopped(site: FaultSite, place: str) -> Iterator[Attestation]:
    """End a process properly for the duration of the block, then start it again."""
    process = site.service(place)
    with _felt(site, "SIGTERM", place, process.terminate, partial(_start_again, process)) as attestation:
        yield attestation


@contextmanager
def restarted(site: FaultSite, place: str) -> Iterator[Attestation]:
    """End a process properly and start it at once: the block meets it on its way up, and it is ready at the end."""
    process = site.service(place)

    def restart() -> None:
        process.terminate()
        process.start()

    with _felt(site, "restart", place, restart, partial(_start_again, process)) as attestation:
        yield attestation


@contextmanager
def paused(site: FaultSite, place: str) -> Iterator[Attestation]:
    """Freeze a process, with its connections open, for the duration of the block."""
    process = site.service(place)
    with _felt(site, "SIGSTOP", place, process.pause, process.resume) as attestation:
        yield attestation


@contextmanager
def _felt(
    site: FaultSite, kind: str, place: str, effect: Callable[[], object], undo: Callable[[], object]
) -> Iterator[Attestation]:
    connections, began = connections_to(site, place), wall_now()
    with injected(site, kind, place, effect=effect, undo=undo) as attestation:
        yield attestation
        if place in site.target.services:
            count = in_flight(site.log(), [place], since=began)
            attestation.add(count, f"{place} had {count} requests, calls, deliveries and events in hand")
            attestation.add(*in_vain(site, place, since=began))
        else:
            attestation.add(*connections)


def _start_again(process: FaultableProcess) -> None:
    """Harmless if it runs: it is only waited for then."""
    if not process.alive:
        process.start()
    process.await_ready()
