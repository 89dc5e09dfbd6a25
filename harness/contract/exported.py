"""An exported contract, read back: the part of JSON Schema that an export uses, and nothing beside it."""

from __future__ import annotations

import re
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from harness.contract.export import Node, encoded, schema_of


class NoContract(Exception):
    """A file is no schema that ``gauntlet contract export`` wrote. ``str()`` says why."""


class SchemaNode(msgspec.Struct, forbid_unknown_fields=True, rename={"ref": "$ref"}):
    """The part of JSON Schema that an export uses: another keyword could hide a change, so it is refused."""

    ref: str = ""
    type: str = ""
    const: Any = UNSET
    enum: list[Any] = []
    anyOf: list[SchemaNode] = []
    allOf: list[SchemaNode] = []
    properties: dict[str, SchemaNode] = {}
    required: list[str] = []
    additionalProperties: bool | SchemaNode = True
    minimum: float | None = None
    exclusiveMinimum: float | None = None
    maximum: float | None = None
    exclusiveMaximum: float | None = None
    minLength: int | None = None
    maxLength: int | None = None
    pattern: str | None = None
    items: bool | SchemaNode | UnsetType = UNSET
    default: Any = None
    description: str = ""
    title: str = ""


class Contract(msgspec.Struct, rename={"defs": "$defs"}):
    """An exported schema, read back."""

    title: str
    oneOf: list[SchemaNode]
    defs: dict[str, SchemaNode]

    @property
    def name(self) -> str:
        return self.title.partition("/")[0]

    @property
    def version(self) -> tuple[int, int]:
        major, _, minor = self.title.partition("/")[2].partition(".")
        return int(major), int(minor)

    @property
    def kinds(self) -> dict[str, SchemaNode]:
        return {target_of(node): self.defs[target_of(node)] for node in self.oneOf}


def read_contract(content: bytes) -> Contract:
    """An exported schema. Raises NoContract."""
    try:
        contract = msgspec.json.decode(content, type=Contract)
    except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError, RecursionError) as error:
        raise NoContract(str(error)) from None
    if not re.fullmatch(r"[^/]+/[0-9]+[.][0-9]+", contract.title):
        raise NoContract(f"title {contract.title!r}: expected NAME/MAJOR.MINOR")
    _check_references(contract)
    return contract


def todays(name: str) -> Contract:
    """The contract of that name as the structs say it now. Raises NoContract for a name that there is none of."""
    schema: Node | None = schema_of(name)
    if schema is None:
        raise NoContract(f"there is no contract named {name!r} here")
    return read_contract(encoded(schema))


def target_of(node: SchemaNode) -> str:
    """The name that a reference leads to."""
    return node.ref.removeprefix("#/$defs/")


def _check_references(contract: Contract) -> None:
    """Every reference leads somewhere, none in a circle: a contract has no recursive types."""
    for name, node in contract.defs.items():
        _follow(node, contract, (name,))
    for node in contract.oneOf:
        _follow(node, contract, ())
        if not node.ref:
            raise NoContract("oneOf: expected a $ref for each kind")


def _follow(node: SchemaNode, contract: Contract, on_the_way: tuple[str, ...]) -> None:
    if node.ref:
        name = target_of(node)
        if name not in contract.defs or name in on_the_way:
            raise NoContract(f"$ref {node.ref!r}: leads nowhere, or in a circle")
        _follow(contract.defs[name], contract, (*on_the_way, name))
    inner = [*node.anyOf, *node.allOf, *node.properties.values(), node.additionalProperties, node.items]
    for part in inner:
        if isinstance(part, SchemaNode):
            _follow(part, contract, on_the_way)
