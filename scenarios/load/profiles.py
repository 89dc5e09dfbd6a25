"""Profiles: how much load, when, and in which mixture. Data in ``profiles.toml``, or a file of your own."""

from __future__ import annotations

import tomllib
from difflib import get_close_matches
from pathlib import Path
from typing import Literal

import msgspec
from msgspec import Struct, structs

from harness.load.records import Step

PROFILES = Path(__file__).with_name("profiles.toml")
Kind = Literal["create", "engage", "qualify", "read", "conflict", "race"]
Arrivals = Literal["poisson", "constant"]
MIX: dict[Kind, float] = {"create": 30, "engage": 25, "qualify": 20, "read": 20, "conflict": 5}
MOST_ARRIVALS = 5_000_000
"""So many fit into memory, with what is written of them."""


class ProfileError(Exception):
    """There is no such profile, or its file says something impossible. The message names the file and the place."""


class _Step(Struct, frozen=True, forbid_unknown_fields=True):
    """As people write it: without ``from_rate`` the rate stays as it is."""

    seconds: float
    to_rate: float
    from_rate: float | None = None

    def __post_init__(self) -> None:
        if self.seconds <= 0:
            raise ValueError(f"seconds = {self.seconds:g}: expected more than 0")
        if self.to_rate < 0 or (self.from_rate or 0) < 0:
            raise ValueError("a rate cannot be less than 0")

    @property
    def step(self) -> Step:
        from_rate = self.to_rate if self.from_rate is None else self.from_rate
        return Step(seconds=self.seconds, from_rate=from_rate, to_rate=self.to_rate)


class Outage(Struct, frozen=True, forbid_unknown_fields=True):
    """A service is ended properly so long after the beginning, and started again after so long."""

    service: str
    after_s: float
    for_s: float


class Stop(Struct, frozen=True, forbid_unknown_fields=True):
    """Nothing more is asked when the system has broken: when so large a share of the latest answers was not meant, or
    so many messages are queued."""

    error_ratio: float
    queued: int


class _Written(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    says: str
    arrivals: Arrivals
    warm_up_s: float
    steps: tuple[_Step, ...]
    drain_s: float = 60.0
    mix: dict[Kind, float] = msgspec.field(default_factory=MIX.copy)
    outage: Outage | None = None
    stops_at: Stop | None = None

    def __post_init__(self) -> None:
        if not any(step.to_rate or step.from_rate for step in self.steps):
            raise ValueError("steps: nobody ever arrives; expected at least one step with a rate above 0")
        if not self.mix or min(self.mix.values()) < 0 or not sum(self.mix.values()):
            raise ValueError("mix: expected weights of 0 and more, and not all of them 0")
        lasts_s = sum(step.seconds for step in self.steps)
        if not 0 <= self.warm_up_s < lasts_s:
            raise ValueError(f"warm_up_s = {self.warm_up_s:g}: expected less than the {lasts_s:g} s that it lasts")


class Profile(Struct, frozen=True, kw_only=True):
    """What a run asks of the system. ``drain_s``: so long it may take until all is worked off afterwards."""

    name: str
    says: str
    arrivals: Arrivals
    warm_up_s: float
    steps: tuple[Step, ...]
    drain_s: float
    mix: dict[Kind, float]
    outage: Outage | None
    stops_at: Stop | None

    @property
    def lasts_s(self) -> float:
        return sum(step.seconds for step in self.steps)

    @property
    def top_rate(self) -> float:
        return max(max(step.from_rate, step.to_rate) for step in self.steps)


def load_profiles(path: Path = PROFILES) -> dict[str, Profile]:
    """All profiles of a file, by name. Raises ProfileError."""
    try:
        written = msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), dict[str, _Written])
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise ProfileError(f"{path}: {error}") from error
    return {name: _profile(name, one) for name, one in written.items()}


def find_profile(name: str, *, rate: float | None = None, for_s: float | None = None, path: Path = PROFILES) -> Profile:
    """A profile, at its top rate or another one, for its time or another one. Raises ProfileError.

    The shape stays: all rates, and all times, are stretched alike.
    """
    profiles = load_profiles(path)
    if name not in profiles:
        near = get_close_matches(name, profiles, n=1)
        hint = f"did you mean {near[0]}?" if near else f"there are: {', '.join(profiles)}"
        raise ProfileError(f"no profile {name!r} in {path}; {hint}")
    profile = profiles[name]
    faster = 1.0 if rate is None else rate / profile.top_rate
    longer = 1.0 if for_s is None else for_s / profile.lasts_s
    steps = tuple(
        Step(seconds=step.seconds * longer, from_rate=step.from_rate * faster, to_rate=step.to_rate * faster)
        for step in profile.steps
    )
    expected = sum(step.seconds * (step.from_rate + step.to_rate) / 2 for step in steps)
    if expected > MOST_ARRIVALS:
        raise ProfileError(
            f"{name} at {rate or profile.top_rate:g}/s for {for_s or profile.lasts_s:g} s makes {expected:,.0f}"
            f" arrivals; at most {MOST_ARRIVALS:,} fit into one run: give a lower --rate, or less --for"
        )
    outage = profile.outage and structs.replace(
        profile.outage, after_s=profile.outage.after_s * longer, for_s=profile.outage.for_s * longer
    )
    return structs.replace(profile, steps=steps, warm_up_s=profile.warm_up_s * longer, outage=outage)


def _profile(name: str, one: _Written) -> Profile:
    return Profile(
        name=name,
        says=one.says,
        arrivals=one.arrivals,
        warm_up_s=one.warm_up_s,
        steps=tuple(step.step for step in one.steps),
        drain_s=one.drain_s,
        mix=one.mix,
        outage=one.outage,
        stops_at=one.stops_at,
    )
