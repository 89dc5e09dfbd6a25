"""Faults in a process: SIGKILL or SIGTERM and the start that undoes it; SIGSTOP of the whole tree and SIGCONT."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from chaos.faults.site import Attestation, FaultSite, injected
from harness.environment.capabilities import FaultableProcess


@contextmanager
def killed(site: FaultSite, service: str) -> Iterator[Attestation]:
    """SIGKILL a service for the duration of the block, then start it again. The block attests what it hit."""
    process = site.service(service)
    undo = partial(_start_again, process)
    with injected(site, "SIGKILL", service, effect=process.kill, undo=undo) as attestation:
        yield attestation


@contextmanager
def stopped(site: FaultSite, service: str) -> Iterator[Attestation]:
    """End a service properly for the duration of the block, then start it again. The block attests what waited."""
    process = site.service(service)
    undo = partial(_start_again, process)
    with injected(site, "SIGTERM", service, effect=process.terminate, undo=undo) as attestation:
        yield attestation


@contextmanager
def paused(site: FaultSite, service: str) -> Iterator[Attestation]:
    """Freeze a service, with its connections open, for the duration of the block. The block attests what it hit."""
    process = site.service(service)
    with injected(site, "SIGSTOP", service, effect=process.pause, undo=process.resume) as attestation:
        yield attestation


def _start_again(process: FaultableProcess) -> None:
    process.start()
    process.await_ready()
