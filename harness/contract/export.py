"""The contract for those who do not read Python: JSON Schema 2020-12, made from the structs.

One document for log lines and one for events, the same bytes each time, so that a change of the contract is a change of
a file. Names are in alphabetical order throughout: the order of fields in a struct says nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from harness.contract.events import Event
from harness.contract.log_lines import KINDS, SCHEMA_VERSION, Envelope

Node = dict[str, Any]

EVENT_VERSION = "crm.event/1.0"
_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_TIMESTAMP = "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}[.][0-9]{6}Z$"
_BY_HTTP_STATUS: tuple[tuple[Node, tuple[str, ...]], ...] = (
    ({"type": "null"}, ("connection_error", "timeout")),
    ({"exclusiveMaximum": 400, "type": "integer"}, ("ok",)),
    ({"exclusiveMaximum": 500, "minimum": 400, "type": "integer"}, ("client_error",)),
    ({"minimum": 500, "type": "integer"}, ("server_error",)),
)


@dataclass(frozen=True, slots=True)
class Difference:
    """Where the schema and the decoder that judges do not agree, with a line's field that shows it."""

    says: str
    field: str
    json: str
    accepted_by: str


DIFFERENCES = (
    Difference(
        "To JSON Schema `7.0` is an integer; the decoder wants it without a fraction.", "seq", "7.0", "schema"
    ),
    Difference(
        "The decoder refuses half of a surrogate pair; to a schema's reader it may be a character.",
        "instance", '"\\ud800"', "schema",
    ),
)  # fmt: skip


def log_schema() -> Node:
    """The schema of a log line: one of all kinds, told apart by ``event``."""
    return _document(
        SCHEMA_VERSION,
        "A log line: one JSON object. Null means that a field does not apply; a field that is missing is an error.",
        {str(kind.__struct_config__.tag): kind for kind in KINDS},
    )


def event_schema() -> Node:
    """The schema of a message body on the events exchange."""
    return _document(EVENT_VERSION, "The body of a message on the events exchange.", {"event": Event})


def envelope() -> Node:
    """What holds of every line, whatever its kind: the types that kinds narrow."""
    fields: Node = _document("envelope", "", {"envelope": Envelope})["$defs"]["envelope"]["properties"]
    return fields


def schema_of(name: str) -> Node | None:
    """Today's schema by the name before its version (``crm.log``), or None."""
    return next((schema for schema in (log_schema(), event_schema()) if name_of(schema)[0] == name), None)


def name_of(schema: Node) -> tuple[str, str]:
    """``("crm.log", "1.0")``. Raises ValueError for a document that is titled otherwise."""
    name, slash, version = str(schema.get("title", "")).partition("/")
    if not (name and slash and version):
        raise ValueError("its title is not NAME/MAJOR.MINOR")
    return name, version


def file_name(schema: Node) -> str:
    """``crm.log-1.0.schema.json``"""
    return "{}-{}.schema.json".format(*name_of(schema))


def values_of(node: Node) -> list[str]:
    """The closed list of a field, null left out; empty if it is none."""
    parts: list[Any] = node.get("anyOf", [node])
    return [
        str(value) for part in parts for value in (*part.get("enum", ()), *([part["const"]] if "const" in part else []))
    ]


def encoded(schema: Node) -> bytes:
    """The schema as it stands in a file."""
    return msgspec.json.format(msgspec.json.encode(schema), indent=2) + b"\n"


def _document(version: str, description: str, kinds: Mapping[str, type[msgspec.Struct]]) -> Node:
    _, parts = msgspec.json.schema_components(kinds.values(), ref_template="#/$defs/{name}")
    by_tag = {kind.__name__: tag for tag, kind in kinds.items()}
    defs = {by_tag.get(name, name): _canonical(part) for name, part in parts.items()}
    for tag in kinds:
        defs[tag] = _shaped(defs[tag])
    return {
        "$schema": _DIALECT,
        "$id": f"urn:gauntlet:contract:{version.replace('/', ':')}",
        "title": version,
        "description": description,
        "oneOf": [{"$ref": f"#/$defs/{tag}"} for tag in sorted(kinds)],
        "$defs": dict(sorted(defs.items())),
    }


def _canonical(node: Any) -> Any:
    """Sorted, without titles, a list of one value as ``const``."""
    if isinstance(node, list):
        return [_canonical(item) for item in node]
    if not isinstance(node, dict):
        return node
    told = {key: _canonical(value) for key, value in sorted(node.items()) if key != "title" or isinstance(value, dict)}
    if isinstance(told.get("required"), list):
        told["required"] = sorted(told["required"])
    if isinstance(values := told.get("enum"), list):
        told |= {"const": told.pop("enum")[0]} if len(values) == 1 else {"enum": sorted(values)}
    return told


def _shaped(kind: Node) -> Node:
    """What holds beyond the types: the form of ``ts``, and which fields have to go together."""
    fields = kind["properties"]
    if "ts" in fields:
        fields["ts"] = fields["ts"] | {"pattern": _TIMESTAMP}
    rules = [*_entity_rule(fields), *_http_rule(fields)]
    return kind | ({"allOf": rules} if rules else {})


def _entity_rule(fields: Mapping[str, Node]) -> Iterable[Node]:
    """entity_type and entity_id: both or neither, where they may be null at all."""
    if all("anyOf" in fields.get(name, {}) for name in ("entity_type", "entity_id")):
        none: Node = {"properties": {name: {"type": "null"} for name in ("entity_id", "entity_type")}}
        both: Node = {"properties": {name: {"type": "string"} for name in ("entity_id", "entity_type")}}
        yield {"anyOf": [none, both]}


def _http_rule(fields: Mapping[str, Node]) -> Iterable[Node]:
    """The status that belongs to an HTTP status, of those that the kind knows."""
    if "http_status" in fields:
        known = set(values_of(fields["status"]))
        yield {
            "anyOf": [
                {"properties": {"http_status": http_status, "status": {"enum": [*statuses]}}}
                for http_status, statuses in _BY_HTTP_STATUS
                if known.issuperset(statuses)
            ]
        }
