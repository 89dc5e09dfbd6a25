"""Drawing a schedule from a seed and a number, and from nothing else: the same bytes in any process, at any time.

Swarm testing (Groce et al., "Swarm testing", ISSTA 2012): each schedule has only a random part of all kinds of steps
and faults, for what is always there hides what would happen without it. Half of the later faults are aimed at what an
earlier one sets off.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from random import Random
from typing import Literal, TypeVar

from msgspec.structs import replace

from chaos.schedule import moments
from chaos.schedule.kind import Group, Kind
from chaos.schedule.kinds import HOOKS, KINDS
from chaos.schedule.schedule import FORMAT, OURS, Lane, Moment, PlannedFault, Schedule, Step, Version
from harness.sinks.inbox import MAIL
from harness.target import Target

Item = TypeVar("Item")

_FAULTS = (1, 1, 2, 2, 2, 3, 3)
_LANES = (1, 1, 2, 3)
_STEPS = (2, 3, 4, 5, 6)
"""Of a lane, besides making its lead and what brings traffic to the faults."""
_NTH = (1, 1, 1, 1, 2, 2, 3, 4)
_PAUSES_MS = (0, 0, 0, 0, 50, 200, 600)
_VERSIONS: tuple[Version, ...] = ("known", "known", "stale")
_WHEN: tuple[Literal["before", "after"], ...] = ("before", "after")
_AT_AN_EVENT = 0.5
_AIMED = 0.5
"""So many of the later faults are aimed at what an earlier one sets off."""
_TRIES = 4
"""A fault at a place that is taken is drawn again."""
_WITHOUT_TRAFFIC = ("client→automation",)
"""Edges that no step of a lane uses."""
_WEIGHTS: dict[Group, int] = {"network": 4, "process": 4, "broker": 3, "database": 3, "outside": 3, "wire": 4}
_TO_THE_END = 0.2
"""So many faults last until the lanes have come to their end."""


def draw(seed: int, number: int, target: Target, *, on_the_wire: bool) -> Schedule:
    """Schedule ``number`` of a seed. ``on_the_wire``: the fault proxy reads the wire, so events can be moments."""
    random = Random(f"gauntlet explore {seed} {number}")
    kinds = _swarm(random, [kind for kind in KINDS.values() if on_the_wire or not kind.needs_our_proxy])
    faults = _Faults(random, target, kinds, on_the_wire=on_the_wire).draw()
    lanes = _Lanes(random, target, faults).draw()
    placed = tuple(_at_a_step(random, fault, lanes) for fault in faults)
    return Schedule(format=FORMAT, seed=seed, number=number, lanes=lanes, faults=placed)


def _swarm(random: Random, all_of_them: Sequence[Item]) -> list[Item]:
    """Each is in it or not; at least one is."""
    chosen = [item for item in all_of_them if random.random() < 0.5]
    return chosen or [random.choice(all_of_them)]


# --- faults -----------------------------------------------------------------------------------------------------


def _at_a_step(random: Random, fault: PlannedFault, lanes: Sequence[Lane]) -> PlannedFault:
    """What is at no event comes somewhere in a lane, now that there are some: rather early, or it hits nothing."""
    if fault.at.on_the_wire or KINDS[fault.kind].group == "outside":
        return fault
    lane = random.randrange(len(lanes))
    steps = len(lanes[lane].steps)
    return replace(fault, at=Moment(step=min(random.randint(0, steps), random.randint(0, steps)), lane=lane + 1))


class _Faults:
    """Draws the faults; what comes at a step comes at the first, as long as there are no lanes."""

    def __init__(self, random: Random, target: Target, kinds: Sequence[Kind], *, on_the_wire: bool) -> None:
        self._random, self._target, self._on_the_wire = random, target, on_the_wire
        self._by_group: dict[Group, list[Kind]] = defaultdict(list)
        for kind in kinds:
            self._by_group[kind.group].append(kind)

    def draw(self) -> list[PlannedFault]:
        faults: list[PlannedFault] = []
        wanted = self._random.choice(_FAULTS)
        for _ in range(_TRIES * wanted):
            follow_up = self._follow_up(faults) if faults and self._random.random() < _AIMED else None
            fault = follow_up or self._any()
            if len(faults) < wanted and all(fault.place != other.place for other in faults):
                faults.append(fault)
        return faults

    def _any(self) -> PlannedFault:
        """A group, one of its kinds, one of its places: there are many toxics, but few kinds of crash."""
        kind = self._random.choice(self._by_group[self._group(self._by_group)])
        place = self._random.choice([place for place in kind.places(self._target) if self._may_be(kind, place)])
        events = self._events(kind, place)
        if events and (kind.on_the_wire or self._random.random() < _AT_AN_EVENT):
            return self._fault(kind, place, self._at(kind, self._random.choice(events), self._random.choice(_NTH)))
        return self._fault(kind, place, Moment(step=0))

    def _group(self, groups: Iterable[Group]) -> Group:
        names = sorted(groups)
        (group,) = self._random.choices(names, [_WEIGHTS[name] for name in names])
        return group

    def _may_be(self, kind: Kind, place: str) -> bool:
        return place not in _WITHOUT_TRAFFIC and bool(not kind.on_the_wire or self._events(kind, place))

    def _events(self, kind: Kind, place: str) -> list[Moment]:
        """Moments of a working day that are next to a place."""
        edges = moments.edges_at(self._target, place) if self._on_the_wire else []
        busy = [edge for edge in edges if edge not in _WITHOUT_TRAFFIC]
        return [moment for edge in busy for moment in moments.moments(self._target, edge) if kind.at(moment)]

    def _follow_up(self, faults: Sequence[PlannedFault]) -> PlannedFault | None:
        """A fault that strikes at what an earlier one sets off; None if they set off nothing that can be seen."""
        earlier = self._random.choice(faults)
        set_off = KINDS[earlier.kind].sets_off(self._target, earlier.place) if self._on_the_wire else []
        if not set_off:
            return None
        moment = self._random.choice(set_off)
        able: dict[Group, list[Kind]] = defaultdict(list)
        for group, kinds in self._by_group.items():
            able[group] += [kind for kind in kinds if kind.at(moment) and self._next_to(kind, moment)]
        if not any(able.values()):
            return None
        kind = self._random.choice(able[self._group(name for name in able if able[name])])
        return self._fault(kind, self._random.choice(self._next_to(kind, moment)), self._at(kind, moment, 1))

    def _next_to(self, kind: Kind, moment: Moment) -> list[str]:
        return [place for place in kind.places(self._target) if moment.edge in moments.edges_at(self._target, place)]

    def _at(self, kind: Kind, moment: Moment, nth: int) -> Moment:
        sides = [replace(moment, nth=nth, when=when) for when in _WHEN]
        return self._random.choice([side for side in sides if kind.at(side)])

    def _fault(self, kind: Kind, place: str, moment: Moment) -> PlannedFault:
        parameters = {name: self._random.choice(values) for name, values in kind.choices.items()}
        to_the_end = self._random.random() < _TO_THE_END
        lasts = None if to_the_end or not kind.lasts_ms else self._random.choice(kind.lasts_ms)
        return PlannedFault(kind=kind.name, place=place, at=moment, for_ms=lasts, parameters=parameters)


# --- lanes ------------------------------------------------------------------------------------------------------


class _Lanes:
    """Draws what clients do. Names are bundles, as in Hypothesis: a step takes what an earlier one has made."""

    def __init__(self, random: Random, target: Target, faults: Sequence[PlannedFault]) -> None:
        self._random, self._stages = random, target.stages
        closed = any(KINDS[fault.kind].in_the_broker(target, fault.place) for fault in faults)
        able = sorted(name for name in _FEATURES if not (closed and name in OURS))
        self._wanted = _wanted(faults)
        self._features = sorted({*_swarm(random, able), *self._wanted})
        self._leads: list[str] = []
        self._with_a_deal: set[str] = set()

    def draw(self) -> tuple[Lane, ...]:
        return tuple(self._lane() for _ in range(self._random.choice(_LANES)))

    def _lane(self) -> Lane:
        steps, own = [self._new_lead()], [self._leads[-1]]
        features = [self._random.choice(self._features) for _ in range(self._random.choice(_STEPS))]
        first = [] if len(self._leads) > 1 else self._wanted
        for feature in [*first, *features]:
            if feature == "new lead":
                steps.append(self._new_lead())
                own.append(self._leads[-1])
            else:
                lead = self._random.choice(self._leads if feature == "share" else own)
                steps += self._steps(feature, lead)
        return Lane(steps=tuple(steps))

    def _new_lead(self) -> Step:
        self._leads.append(f"lead-{len(self._leads) + 1}")
        return Step(do="create lead", on=self._leads[-1])

    def _steps(self, feature: str, lead: str) -> list[Step]:
        deal = lead.replace("lead", "deal")
        match feature:
            case "qualify":
                self._with_a_deal.add(lead)
                return [self._move(lead, "qualified")]
            case "deal by hand":
                self._with_a_deal.add(lead)
                return [self._step("create deal", deal)]
            case "win":
                first = [] if lead in self._with_a_deal else self._steps("qualify", lead)
                return [*first, self._move(deal, self._stages.terminal[0])]
            case "lose":
                return [self._move(lead, self._stages.terminal[-1])]
            case "contact":
                return [self._move(lead, "contacted")]
            case "walk" | "share":
                on = self._random.choice([lead, deal] if lead in self._with_a_deal else [lead])
                return [self._move(on, self._random.choice(self._stages.open))]
            case "conditional":
                to, version = self._random.choice(self._stages.open), self._random.choice(_VERSIONS)
                return [Step(do="move", on=lead, to=to, version=version, pause_ms=self._pause_ms())]
            case "poison":
                return [Step(do="poison", pause_ms=self._pause_ms())]
        return [self._step(feature, lead)]

    def _move(self, on: str, stage: str) -> Step:
        return Step(do="move", on=on, to=stage, pause_ms=self._pause_ms())

    def _step(self, do: str, on: str) -> Step:
        return Step(do=do, on=on, pause_ms=self._pause_ms())

    def _pause_ms(self) -> int:
        return self._random.choice(_PAUSES_MS)


_FEATURES = (
    "new lead", "qualify", "deal by hand", "win", "lose", "contact", "walk", "change", "read", "conditional", "share",
    *OURS,
)  # fmt: skip


def _wanted(faults: Sequence[PlannedFault]) -> list[str]:
    """What brings traffic to where the faults are: one that hits nothing proves nothing."""
    places = {fault.place for fault in faults} | {fault.at.edge for fault in faults}
    wanted = ["win"] if any(place == HOOKS or place.endswith("→webhook") for place in places) else []
    wanted += ["lose"] if any(place == MAIL or place.endswith("→mail") for place in places) else []
    return wanted
