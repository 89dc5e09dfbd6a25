"""What a scenario needs of its system, read from its source: from what it does with its world.

Of a stack of our own it has everything. A system that somebody else runs lacks some of it, and what needs that is not
applicable there. Whatever is not named here counts as a fault: too little is run rather than something that harms.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

from harness.environment.capabilities import CLEAN_SLATE

_FREE = (
    "crm", "pipeline", "automation", "new_lead", "new_leads", "known_leads", "move_all", "settled", "rested", "target",
    "until_logged", "until_received", "attempts_of", "unanswered_calls", "lines", "ready", "until_ready", "recording",
    "until_unready", "seconds_until", "crm_client", "pipeline_client", "name", "seed", "stack.tokens", "stack.edge_url",
    "stack.url", "site.log",
)  # fmt: skip
"""Done as a client, or read from the log."""
_NEEDS = {
    "database.rows": {"database"}, "database.unsent_events": {"database"}, "executions_of": {"database"},
    "leads_with_a_deal": {"database"}, "published": {"tap"}, "latest_event_of": {"tap"}, "sinks.received": {"sinks"},
    "sinks.behave": {"sinks", CLEAN_SLATE}, "operator": {CLEAN_SLATE}, "add_rule": {"database", CLEAN_SLATE},
    "broker.plant": {"broker", "tap", CLEAN_SLATE}, "deliver_again": {"broker", "tap", CLEAN_SLATE},
    "automation.for_all": {CLEAN_SLATE},
}  # fmt: skip
_EVERYTHING = frozenset({"faults"})


def needs_of(scenario: Callable[..., Any]) -> frozenset[str]:
    """Names as in ``Stack.lacks``. Functions of its module that it uses are looked into as well."""
    functions = _functions(Path(inspect.getsourcefile(scenario) or ""))
    return frozenset(_needs(functions, scenario.__name__, set()))


@cache
def _functions(file: Path) -> dict[str, ast.FunctionDef]:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    return {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}


def _needs(functions: dict[str, ast.FunctionDef], name: str, seen: set[str]) -> Iterator[str]:
    seen.add(name)
    of_an_attribute: set[ast.AST] = set()
    for node in ast.walk(functions[name]):
        if isinstance(node, ast.Attribute) and (path := _path(node)) and not isinstance(node.value, ast.Call):
            of_an_attribute |= set(ast.walk(node)) - {node}
            if node not in of_an_attribute:
                yield from _of(path)
        elif isinstance(node, ast.Call) and not _stays_here(node, functions):
            yield from _EVERYTHING
        elif isinstance(node, ast.Name) and node.id in functions and node.id not in seen:
            yield from _needs(functions, node.id, seen)


def _path(node: ast.Attribute) -> str:
    """``world.database.rows`` → ``database.rows``; nothing, if it is not the world's."""
    names: list[str] = []
    at: ast.expr = node
    while isinstance(at, ast.Attribute):
        names.insert(0, at.attr)
        at = at.value
    return ".".join(names) if isinstance(at, ast.Name) and at.id == "world" else ""


def _of(path: str) -> frozenset[str]:
    first, _, _ = path.partition(".")
    two = ".".join(path.split(".")[:2])
    for known in (two, first):
        if known in _NEEDS:
            return frozenset(_NEEDS[known])
    return frozenset() if {first, two} & set(_FREE) else _EVERYTHING


def _stays_here(call: ast.Call, functions: dict[str, ast.FunctionDef]) -> bool:
    """Who gives the world away to another module may do anything with it there."""
    arguments = [*call.args, *(keyword.value for keyword in call.keywords)]
    if not any(isinstance(argument, ast.Name) and argument.id == "world" for argument in arguments):
        return True
    called = call.func.id if isinstance(call.func, ast.Name) else ""
    if called == "partial":
        called = call.args[0].id if isinstance(call.args[0], ast.Name) else ""
    return called in functions
