"""The contract as a page to read, made from the structs by way of their JSON Schema."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator, Mapping

from harness.contract.events import Event
from harness.contract.export import (
    DIFFERENCES,
    Node,
    encoded,
    envelope,
    event_schema,
    file_name,
    log_schema,
    name_of,
    values_of,
)
from harness.contract.log_lines import KINDS, Envelope

_ENVELOPE = ("event", *(name for name in Envelope.__struct_fields__ if name != "event"))


def contract_page() -> str:
    """Both schemas in Markdown: the envelope, a section for each kind, events, and what no schema can say."""
    return "\n".join(_page()) + "\n"


def artifacts() -> dict[str, bytes]:
    """Every file that ``gauntlet contract export`` writes: its name and its content."""
    schemas = {file_name(schema): encoded(schema) for schema in (log_schema(), event_schema())}
    return schemas | {"{}-{}.md".format(*name_of(log_schema())): contract_page().encode()}


def _page() -> Iterator[str]:
    logs, events = log_schema(), event_schema()
    yield f"# The contract `{logs['title']}`, field by field\n"
    yield "Made from `harness/contract/` by `gauntlet contract export`: do not edit. What the fields mean, and which"
    yield "line has to follow which, stands in [contract.md](../contract.md). For machines:"
    yield f"[{file_name(logs)}]({file_name(logs)}) and [{file_name(events)}]({file_name(events)})."
    yield from _envelope()
    yield from _overview(logs)
    yield from (text for kind in KINDS for text in _kind(kind, logs))
    yield f"\n## Events on the wire: `{events['title']}`\n\n{inspect.getdoc(Event)}\n"
    yield from _fields(Event.__struct_fields__, events["$defs"]["event"], events["$defs"])
    yield from _differences()


def _envelope() -> Iterator[str]:
    yield "\n## The envelope: on every line\n"
    yield "Each field has to be there, and no others; where it does not apply it is null. `entity_type` and"
    yield "`entity_id` are null together. Kinds narrow these types further: their sections say so.\n"
    yield "| field | type |\n|---|---|"
    fields = envelope()
    for name in _ENVELOPE:
        text = "the kind" if name == "event" else "a closed list for each kind" if name == "status" else None
        yield f"| `{name}` | {text or type_text(fields[name], {})} |"


def _overview(logs: Node) -> Iterator[str]:
    yield "\n## All kinds\n\n| kind | written by | further fields | `status` |\n|---|---|---|---|"
    for kind in KINDS:
        fields = logs["$defs"][_tag(kind)]["properties"]
        further = ", ".join(name for name in kind.__struct_fields__ if name not in _ENVELOPE)
        services, statuses = (", ".join(values_of(fields[name])) for name in ("service", "status"))
        yield f"| [`{_tag(kind)}`](#{_tag(kind).replace('.', '')}) | {services} | {further} | {statuses} |"


def _kind(kind: type[Envelope], logs: Node) -> Iterator[str]:
    """Its own fields, and those of the envelope of which it says more than the envelope does."""
    schema, every_line = logs["$defs"][_tag(kind)], envelope()
    yield f"\n## `{_tag(kind)}`\n\n{inspect.getdoc(kind)}\n"
    fields = schema["properties"]
    own = [name for name in kind.__struct_fields__ if name not in _ENVELOPE]
    narrowed = [name for name in _ENVELOPE if name != "event" and fields[name] != every_line[name]]
    yield from _fields([*own, *narrowed], schema, logs["$defs"])
    for rule in schema.get("allOf", ()):
        if set(own).intersection(*(branch["properties"] for branch in rule["anyOf"])):
            yield "\nThey go together so:\n"
            yield from (f"* {_branch(branch, logs['$defs'])}" for branch in rule["anyOf"])


def _branch(branch: Node, defs: Mapping[str, Node]) -> str:
    return "; ".join(f"`{name}`: {type_text(node, defs)}" for name, node in branch["properties"].items())


def _fields(names: Iterable[str], schema: Node, defs: Mapping[str, Node]) -> Iterator[str]:
    yield "| field | type |\n|---|---|"
    for name in names:
        absent = "" if name in schema["required"] else " (may be absent)"
        yield f"| `{name}` | {type_text(schema['properties'][name], defs)}{absent} |"


def _differences() -> Iterator[str]:
    yield "\n## Where schema and judge differ\n"
    yield "A line is judged by `decode_line`, which is many times as fast as a schema. They agree but for this:\n"
    yield from (f"* {difference.says}" for difference in DIFFERENCES)
    yield "* A name that stands twice in one object: the decoder takes the last, a schema's reader whichever it likes."


def type_text(node: Node, defs: Mapping[str, Node]) -> str:
    """A field's type in words: ``whole number, at least 0, or null``."""
    if "$ref" in node:
        target = defs[node["$ref"].removeprefix("#/$defs/")]["properties"]
        return f"object of {', '.join(f'{name} ({type_text(part, defs)})' for name, part in target.items())}"
    if "anyOf" in node:
        return " or ".join(type_text(part, defs) for part in node["anyOf"])
    if "const" in node or "enum" in node:
        return " \\| ".join(f"`{value}`" for value in values_of(node))
    return ", ".join([_NAMES.get(node.get("type", ""), "anything"), *_limits(node, defs)])


_NAMES = {
    "string": "text", "integer": "whole number", "number": "number", "boolean": "true or false", "null": "null",
    "object": "object",
}  # fmt: skip


def _limits(node: Node, defs: Mapping[str, Node]) -> Iterator[str]:
    least, most = node.get("minLength"), node.get("maxLength")
    if "pattern" in node:
        yield "`YYYY-MM-DDTHH:MM:SS.ffffffZ`"
    elif least is not None and least == most:
        yield f"{least} characters"
    elif least is not None:
        yield "not empty" if least == 1 else f"at least {least} characters"
    if "minimum" in node:
        yield f"at least {node['minimum']}"
    if "exclusiveMaximum" in node:
        yield f"below {node['exclusiveMaximum']}"
    if isinstance(values := node.get("additionalProperties"), dict) and values:
        yield f"each value: {type_text(values, defs)}"


def _tag(kind: type[Envelope]) -> str:
    return str(kind.__struct_config__.tag)
