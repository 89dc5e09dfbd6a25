"""What a process of the generator needs to know: whom to ask, when, what, and in whose clock that is written down.

The master makes it and sends it to its workers, so a worker on another machine needs nothing but the master's address.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

import msgspec
from msgspec import Struct, structs

from harness.load.records import Step
from scenarios.load.profiles import Arrivals, Kind, Profile, ProfileError, find_profile

ORDER, STACK = "GAUNTLET_LOAD_ORDER", "GAUNTLET_LOAD_STACK"
PROFILE, SEED, RATE = "GAUNTLET_LOAD_PROFILE", "GAUNTLET_LOAD_SEED", "GAUNTLET_LOAD_RATE"
PIPELINE, TOKEN, OUT = "GAUNTLET_PIPELINE_URL", "GAUNTLET_TOKEN", "GAUNTLET_LOAD_OUT"
BEGUN, DONE, STOP = "begun", "done", "stop"
"""Files in the folder for samples: the zero of the schedule; how many requests each process has sent, one a line; and
one that somebody makes who wants no more of them."""
CONNECTIONS = 512
_BOOT = Path("/proc/sys/kernel/random/boot_id")


Made = TypeVar("Made", bound=Struct)


class OrderError(Exception):
    """The generator does not know what to do. The message says what is missing, and how to give it."""


class Order(Struct, frozen=True, kw_only=True):
    """``out``: the folder for samples and operations, on the master's machine; empty: they are not kept.

    ``connections``: to each service, from each process, so many at most; what finds none waits, and that counts.
    ``begin_ns``: the zero of the schedule. ``part`` of ``parts``: which share of it. ``ahead_ns``: so much the wall
    clock was ahead of the monotonic clock on the machine that ``boot`` names.
    """

    profile: str
    crm: str
    pipeline: str
    token: str
    seed: int
    steps: tuple[Step, ...]
    arrivals: Arrivals
    mix: dict[Kind, float]
    out: str = ""
    operations: bool = True
    connections: int = CONNECTIONS
    begin_ns: int = 0
    part: int = 0
    parts: int = 1
    ahead_ns: int = 0
    boot: str = ""


def order_for(
    profile: Profile,
    *,
    crm: str,
    pipeline: str,
    token: str,
    seed: int,
    out: Path | None,
    operations: bool = True,
    connections: int = CONNECTIONS,
) -> Order:
    """What has to be done for a profile, all of it. ``out``: None if nothing is kept."""
    return Order(
        profile=profile.name, crm=crm, pipeline=pipeline, token=token, seed=seed, steps=profile.steps,
        arrivals=profile.arrivals, mix=profile.mix, out=str(out or ""), operations=operations,
        connections=connections,
        ahead_ns=time.time_ns() - time.monotonic_ns(), boot=_boot(),
    )  # fmt: skip


class Clock:
    """Unix time that never steps. On one machine, all processes and the harness's own clock agree to the nanosecond."""

    def __init__(self, order: Order) -> None:
        here = order.boot and order.boot == _boot()
        self._ahead_ns = order.ahead_ns if here else time.time_ns() - time.monotonic_ns()
        self._order_ahead_ns = order.ahead_ns

    def now_ns(self) -> int:
        return time.monotonic_ns() + self._ahead_ns

    def monotonic_ns(self, moment_ns: int) -> int:
        """A moment on the monotonic clock of the machine where the order was made."""
        return moment_ns - self._order_ahead_ns


def _boot() -> str:
    return _BOOT.read_text().strip() if _BOOT.exists() else ""


class _StackFile(Struct):
    edges: dict[str, str]
    tokens: dict[str, str]


def order_from(environment: Mapping[str, str], host: str | None) -> Order:
    """What plain ``locust`` is to do: from an order file, a stack's file, or single variables. Raises OrderError."""
    if file := environment.get(ORDER):
        return _read(Path(file), Order)
    crm, pipeline, token = host or "", environment.get(PIPELINE, ""), environment.get(TOKEN, "")
    if file := environment.get(STACK):
        stack = _read(Path(file), _StackFile)
        crm = crm or f"http://{stack.edges['client→crm']}"
        pipeline = pipeline or f"http://{stack.edges['client→pipeline']}"
        token = token or stack.tokens["alice"]
    given = {"--host (the CRM's URL)": crm, PIPELINE: pipeline, TOKEN: token}
    if missing := [name for name, value in given.items() if not value]:
        raise OrderError(
            f"the generator does not know {', '.join(missing)}: set {STACK} to the stack.json that gauntlet up has"
            f" written, or give --host and set {PIPELINE} and {TOKEN}"
        )
    try:
        rate = float(environment[RATE]) if RATE in environment else None
        profile = find_profile(environment.get(PROFILE, "smoke"), rate=rate)
        seed = int(environment.get(SEED, "0"))
    except (ProfileError, ValueError) as error:
        raise OrderError(f"{PROFILE}, {RATE} or {SEED}: {error}") from error
    out = Path(environment[OUT]) if OUT in environment else None
    return order_for(profile, crm=crm, pipeline=pipeline, token=token, seed=seed, out=out)


def _read(path: Path, kind: type[Made]) -> Made:
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except (OSError, msgspec.DecodeError, msgspec.ValidationError) as error:
        raise OrderError(f"{path}: expected {kind.__name__.strip('_')}: {error}") from error


def part_of(order: Order, part: int, parts: int, begin_ns: int) -> Order:
    return structs.replace(order, part=part, parts=parts, begin_ns=begin_ns)
