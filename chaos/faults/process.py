"""Faults in a process: SIGKILL, and the restart that undoes it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from chaos.faults.site import Attestation, FaultSite, injected


@contextmanager
def killed(site: FaultSite, service: str) -> Iterator[Attestation]:
    """SIGKILL a service for the duration of the block, then start it again. The block attests what it hit."""
    process = site.service(service)

    def start_again() -> None:
        process.start()
        process.await_ready()

    with injected(site, "SIGKILL", service, effect=process.kill, undo=start_again) as attestation:
        yield attestation
