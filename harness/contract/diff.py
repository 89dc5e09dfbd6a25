"""What changed between two versions of the contract, and whether the step of its version allows it.

Additive is what only adds: a kind, a value of a closed list, a field that may be absent. Who reads lines has to live
with those after a minor step. Everything else is breaking: it refuses what was valid (a field that has to be there, a
value or a kind less, a narrower type), or no longer promises what was promised (a wider type, a field that may be
absent now).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

import msgspec
from msgspec import UNSET

from harness.contract.exported import Contract, NoContract, SchemaNode, target_of

Effect = Literal["additive", "breaking"]
Step = Literal["none", "minor", "major", "back"]
_VERSION_FIELDS = ("schema", "schema_version")
"""They say the version itself: that it changes is no change of what it is the version of."""
_LIMITS = (
    "minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum", "minLength", "maxLength", "pattern",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Change:
    """One change: which kinds it touches (none: the contract as a whole), at which field, and what it does."""

    effect: Effect
    kinds: tuple[str, ...]
    field: str
    says: str


@dataclass(frozen=True, slots=True)
class ContractDiff:
    """All changes between two versions of one contract."""

    old: str
    new: str
    step: Step
    changes: tuple[Change, ...]

    @property
    def breaking(self) -> int:
        return sum(change.effect == "breaking" for change in self.changes)

    @property
    def compatible(self) -> bool:
        """Does the step of the version allow these changes?"""
        if self.step == "back":
            return False
        return not self.changes or self.step == "major" or (self.step == "minor" and not self.breaking)


def diff(old: Contract, new: Contract) -> ContractDiff:
    """Compare two versions of one contract. Raises NoContract if they are two contracts."""
    if old.name != new.name:
        raise NoContract(f"{old.title} and {new.title} are two contracts: expected two versions of one")
    changes = sorted(_gathered(_changes(old, new), set(old.kinds) & set(new.kinds)), key=_worst_first)
    return ContractDiff(old.title, new.title, _step(old.version, new.version), tuple(changes))


def _step(old: tuple[int, int], new: tuple[int, int]) -> Step:
    if new < old:
        return "back"
    return "none" if new == old else "minor" if new[0] == old[0] else "major"


def _worst_first(change: Change) -> tuple[bool, tuple[str, ...], str, str]:
    return change.effect == "additive", change.kinds, change.field, change.says


def _changes(old: Contract, new: Contract) -> Iterator[Change]:
    for kind in sorted(old.kinds.keys() - new.kinds.keys()):
        yield Change("breaking", (kind,), "", "the kind is gone")
    for kind in sorted(new.kinds.keys() - old.kinds.keys()):
        yield Change("additive", (kind,), "", "the kind is new")
    for kind in sorted(old.kinds.keys() & new.kinds.keys()):
        for found in _Comparison(old, new).of(old.kinds[kind], new.kinds[kind], ""):
            if found.field not in _VERSION_FIELDS:
                yield Change(found.effect, (kind,), found.field, found.says)


def _gathered(changes: Iterable[Change], shared: set[str]) -> Iterator[Change]:
    """A change of the envelope is one change, not one for each kind. All kinds are written as none."""
    kinds: dict[tuple[Effect, str, str], list[str]] = {}
    for change in changes:
        kinds.setdefault((change.effect, change.field, change.says), []).extend(change.kinds)
    for (effect, field, says), touched in kinds.items():
        everywhere = bool(field) and len(shared) > 1 and set(touched) == shared
        yield Change(effect, () if everywhere else tuple(touched), field, says)


@dataclass(frozen=True, slots=True)
class _Found:
    effect: Effect
    field: str
    says: str


@dataclass(frozen=True, slots=True)
class _Comparison:
    """Walks two schemas side by side, each with the contract that its references are looked up in."""

    old: Contract
    new: Contract

    def of(self, old: SchemaNode, new: SchemaNode, field: str) -> Iterator[_Found]:
        before, after = _alternatives(old, self.old), _alternatives(new, self.new)
        gone, came = before.keys() - after.keys(), after.keys() - before.keys()
        if gone and came:
            yield _Found("breaking", field, f"was {_any_of(before)}, is {_any_of(after)}")
        elif gone:
            yield _Found("breaking", field, f"may no longer be {_any_of(gone)}")
        elif came:
            yield _Found("breaking", field, f"may now also be {_any_of(came)}")
        for name in sorted(before.keys() & after.keys()):
            yield from self._of_one_type(before[name], after[name], field)

    def _of_one_type(self, old: SchemaNode, new: SchemaNode, field: str) -> Iterator[_Found]:
        yield from _values(old, new, field)
        yield from _limits(old, new, field)
        yield from self._properties(old, new, field)
        yield from self._inner(
            old.additionalProperties, new.additionalProperties, f"{field}.*".lstrip("."), "other fields"
        )
        yield from self._inner(old.items, new.items, f"{field}[]", "items")
        rules_before, rules_after = ({msgspec.json.encode(rule) for rule in node.allOf} for node in (old, new))
        if rules_before != rules_after:
            yield _Found("breaking", field, "the rules of which fields go together have changed")

    def _properties(self, old: SchemaNode, new: SchemaNode, field: str) -> Iterator[_Found]:
        for name in sorted(old.properties.keys() | new.properties.keys()):
            place = f"{field}.{name}".lstrip(".")
            if name not in new.properties:
                yield _Found("breaking", place, "the field is gone")
            elif name not in old.properties:
                optional = name not in new.required
                says = "the field is new and may be absent" if optional else "the field is new and has to be there"
                yield _Found("additive" if optional else "breaking", place, says)
            else:
                yield from self.of(old.properties[name], new.properties[name], place)
                if (name in old.required) != (name in new.required):
                    says = "may be absent now" if name in old.required else "has to be there now"
                    yield _Found("breaking", place, says)

    def _inner(self, old: object, new: object, field: str, what: str) -> Iterator[_Found]:
        if isinstance(old, SchemaNode) and isinstance(new, SchemaNode):
            yield from self.of(old, new, field)
        elif old != new:
            yield _Found("breaking", field, f"which {what} there may be has changed")


def _alternatives(node: SchemaNode, contract: Contract) -> dict[str, SchemaNode]:
    """A field's types: ``null``, ``string``, a closed list … → what is said of each."""
    if node.ref:
        return _alternatives(contract.defs[target_of(node)], contract)
    if node.anyOf:
        return {name: part for option in node.anyOf for name, part in _alternatives(option, contract).items()}
    if node.enum or node.const is not UNSET:
        return {"one of a closed list": node}
    return {node.type or "anything": node}


def _any_of(names: Iterable[str]) -> str:
    return " or ".join(sorted(names))


def _values(old: SchemaNode, new: SchemaNode, field: str) -> Iterator[_Found]:
    before, after = _listed(old), _listed(new)
    for value in sorted(before - after):
        yield _Found("breaking", field, f"may no longer be {value}")
    for value in sorted(after - before):
        yield _Found("additive", field, f"may now also be {value}")


def _listed(node: SchemaNode) -> set[str]:
    values = node.enum if node.const is UNSET else [node.const]
    return {msgspec.json.encode(value).decode() for value in values}


def _limits(old: SchemaNode, new: SchemaNode, field: str) -> Iterator[_Found]:
    for name in _LIMITS:
        before, after = getattr(old, name), getattr(new, name)
        if before != after:
            told = (
                "none" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
                for value in (before, after)
            )
            yield _Found("breaking", field, f"{name} was {next(told)}, is {next(told)}")
