"""What a load run writes down while it goes on. Each is one line of a file in ``RUN/load/``.

::

    plan.json                  LoadPlan
    samples-PROCESS.ndjson     Sample, as each process of the generator made them
    operations-PROCESS.ndjson  Operation (harness.evidence.records), the same requests as the properties read them
    observed.ndjson            Observation, some a second
    load.json                  LoadResult: what all this comes to

Moments are Unix time in nanoseconds of a clock that never steps: each process takes the wall clock once, and adds what
its monotonic clock has counted since.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct


class Sample(Struct, frozen=True, array_like=True):
    """One request. Its latency is ``ended_ns - intended_ns``: who begins late has made somebody wait.

    ``endpoint``: ``PATCH /leads/{lead_id}/stage``. ``status``: 0 for no answer. ``meant``: the answer is of the kind
    that was asked for, also where that is a refusal (a conflict on purpose). ``flow``: what has to come of it later,
    ``deal`` where this request is to end in one, else empty.
    """

    endpoint: str
    intended_ns: int
    began_ns: int
    ended_ns: int
    status: int
    meant: bool
    correlation_id: str
    flow: Literal["", "deal"] = ""


class Usage(Struct, frozen=True):
    """Of one process with its children: CPU seconds since its start, and resident memory in bytes."""

    cpu_s: float
    rss_bytes: int


class Observation(Struct, frozen=True, kw_only=True):
    """What could be seen of the system at one moment.

    ``oldest_unsent_s``: the age of the oldest outbox row that is not sent, 0.0 if there is none. ``depths``: messages
    ready in each queue. ``usage``: by process of the stack, and ``generator`` for all processes of the generator.
    ``machine_cpu``: the share of all cores that was busy since the last observation, 0.0 to 1.0.
    """

    at_ns: int
    unsent: int
    oldest_unsent_s: float
    depths: dict[str, int]
    dead_letters: int
    usage: dict[str, Usage]
    machine_cpu: float


class Step(Struct, frozen=True, kw_only=True):
    """One stretch of a profile: the rate goes evenly from ``from_rate`` to ``to_rate`` (arrivals a second)."""

    seconds: float
    from_rate: float
    to_rate: float


class LoadPlan(Struct, frozen=True, kw_only=True):
    """What was to be done, and when it was. ``began_ns``: the zero of the schedule. ``ended_ns``: the last arrival is
    answered. ``drained_ns``: outbox and queues were empty after that; None if they never were."""

    profile: str
    seed: int
    arrivals: Literal["poisson", "constant"]
    steps: tuple[Step, ...]
    warm_up_s: float
    processes: int
    scheduled: int
    cores: int = 0
    """Of the machine on which all this ran; 0 where nobody counted them."""
    began_ns: int = 0
    ended_ns: int = 0
    drained_ns: int | None = None
