"""The page of all that can be configured: docs/reference-configuration.md, from the structs that read it."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import get_args, get_origin

import msgspec

from harness.target import Target

_HEAD = """\
# Configuration

Made by `make docs` from the code that reads it: do not edit.

## Environment variables

Nothing has to be set. What is set is only for finding things elsewhere, or for choosing another one.

| variable | says |
|---|---|"""

VARIABLES = {
    "GAUNTLET_POSTGRES_BIN": "the folder of PostgreSQL's programs (`postgres`, `initdb`), where it is not a usual one",
    "GAUNTLET_RABBITMQ_BIN": "the folder of RabbitMQ's scripts (`rabbitmq-server`), where it is not a usual one",
    "GAUNTLET_TOXIPROXY": "the `toxiproxy-server` to use",
    "GAUNTLET_PROXY": "which proxy stands on the edges: `wire` (ours, the default) or `toxiproxy`",
    "GAUNTLET_LIBFAKETIME": "the library of faketime, for the scenarios with a wrong clock",
    "GAUNTLET_CHROMIUM": "the browser that reads the pages of runs, in tests and for pictures",
    "GITHUB_ACTIONS": "`true`: a gate writes an annotation for each scenario that is not green",
    "GITHUB_STEP_SUMMARY": "the file to which a gate adds its summary",
    "GAUNTLET_ENVIRONMENT": "where stacks come up, as `--environment` says: `native`, `containers` or `auto`",
    "GAUNTLET_IMAGE_POSTGRES": "the image of the database server in containers (`postgres:17`)",
    "GAUNTLET_IMAGE_RABBITMQ": "the image of the message broker in containers (`rabbitmq:4`)",
    "GAUNTLET_IMAGE_TOXIPROXY": "the image of toxiproxy-server in containers (`ghcr.io/shopify/toxiproxy:2.12.0`)",
    "GAUNTLET_LOAD_STACK": "plain Locust: the `stack.json` that `gauntlet up` has written",
    "GAUNTLET_PIPELINE_URL": "plain Locust: the address of pipeline, where there is no `stack.json`",
    "GAUNTLET_TOKEN": "plain Locust: the bearer token, where there is no `stack.json`",
    "GAUNTLET_LOAD_PROFILE": "plain Locust: which profile (`smoke`)",
    "GAUNTLET_LOAD_RATE": "plain Locust: at most so many arrivals a second",
    "GAUNTLET_LOAD_SEED": "plain Locust: the seed of the schedule (`0`)",
    "GAUNTLET_LOAD_OUT": "plain Locust: a folder for samples and operations",
    "NO_COLOR": "anything: no colours in the terminal (https://no-color.org)",
    "RAY_ADDRESS": "the cluster of `gauntlet audit --engine ray`",
}
"""What a user may set, and what it says. A test looks for others in the code."""

_PLAIN: dict[object, str] = {str: "string", int: "integer", float: "number", bool: "boolean"}


def configuration_page() -> str:
    """The page in Markdown."""
    rows = [f"| `{name}` | {says} |" for name, says in VARIABLES.items()]
    return "\n".join([_HEAD, *rows, "", *_target_file()])


def _target_file() -> Iterator[str]:
    yield "## The target file\n"
    yield "What a system is: [targets/reference.toml](../targets/reference.toml) is a whole one, with comments."
    yield "Unknown names are refused, with the place and what would do."
    yield from _table(Target, "", set())


def _table(record: type[msgspec.Struct], path: str, told: set[type]) -> Iterator[str]:
    """One table of the file, then the tables within it, each once."""
    told.add(record)
    below: list[tuple[str, type[msgspec.Struct]]] = []
    title = f"### `[{path}]`" if path else "### At the top"
    yield f"\n{title}\n\n{inspect.getdoc(record)}\n\n| name | is | if absent |\n|---|---|---|"
    for field in msgspec.structs.fields(record):
        yield f"| `{field.encode_name}` | {_type_of(field.type)} | {_absent(field)} |"
        if (inner := _struct_in(field.type)) is not None:
            name = f"{path}.{field.encode_name}".lstrip(".")
            below.append((f"{name}.NAME" if _is_mapping(field.type) else name, inner))
    for name, inner in below:
        if inner not in told:
            yield from _table(inner, name, told)


def _absent(field: msgspec.structs.FieldInfo) -> str:
    if field.required:
        return "refused"
    value = field.default if field.default is not msgspec.NODEFAULT else field.default_factory()
    if isinstance(value, msgspec.Struct):
        return "its defaults"
    return {"": "empty", "None": "not judged"}.get(str(value), f"`{value}`") if value not in ((), {}) else "empty"


def _type_of(kind: object) -> str:
    """In the words of TOML."""
    arguments = get_args(kind)
    if _is_mapping(kind):
        return f"table of {_type_of(arguments[1])}"
    if get_origin(kind) is tuple:
        return f"list of {_type_of(arguments[0])}"
    if _struct_in(kind) is not None:
        return "table"
    return " or ".join(_PLAIN.get(one, str(one)) for one in arguments or (kind,) if one is not type(None))


def _is_mapping(kind: object) -> bool:
    return get_origin(kind) is dict


def _struct_in(kind: object) -> type[msgspec.Struct] | None:
    for one in (kind, *get_args(kind)):
        if isinstance(one, type) and issubclass(one, msgspec.Struct):
            return one
    return None
