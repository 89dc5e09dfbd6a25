"""The page of all properties: what each promises, and who has seen it red and green.

It rests on records, not on memory: what every property answered in each test of a whole test session
(``tests/conftest.py`` listens), and the verdicts of a whole gate.
"""

from __future__ import annotations

import ast
import importlib
import inspect
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType

import msgspec

from harness.checks import ALL
from harness.checks.judge import ScenarioVerdict
from harness.checks.verdict import Property, Result, Status
from harness.evidence.run_directory import EvidenceError, RunDirectory, read_json

Tested = dict[str, list[tuple[str, Status]]]
"""Test → what properties answered in it. Only tests that passed, so that every red was expected."""

LEAST_RED = 3
"""So many tests have to have seen a property red."""
ONLY_DOUBTS = ("evidence_sufficient",)
"""Properties that never fail: unknown is their red."""
_MOST_RED, _MOST_GREEN = 3, 2
_NOT_GREEN: tuple[Status, ...] = ("fail", "unknown")

FLOORS = {
    "one_deal_per_lead": "one deal or trigger, if a client was promised a deal or a change demands one",
    "stage_chain": "one row of history for each move that was answered 2xx and changed something",
    "commit_iff_event": "one row of the outbox for each creation that was answered 2xx",
    "message_conservation": "one event for each message that the harness planted",
    "effect_exactly_once": "one trigger or dead letter, if a committed change triggers a rule",
    "acknowledged_never_lost": "nothing: it speaks of what was acknowledged",
    "one_winner": "nothing: it speaks of clients that expected the same version",
    "dead_letter_accounting": "one dead letter for each that was announced or planted",
    "entity_event_order": "nothing: it speaks of events that were published or received",
    "trace_complete": "one flow for each correlation id that was answered",
    "log_contract": "one line",
    "no_leak": "one place to look at, if there is anything to hide",
    "errors_explained": "one answered request in the log, if a client was answered and no line was lost",
    "topology": "one queue",
    "evidence_sufficient": "one operation or planted message",
}
"""How much a property has to see at least, in words; without an entry the page quotes the code."""


def write_tested(file: Path, tested: Tested) -> None:
    """Keep what a whole test session has seen."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(msgspec.json.format(msgspec.json.encode(dict(sorted(tested.items()))), indent=1) + b"\n")


def read_tested(file: Path) -> Tested:
    """Raises EvidenceError where no whole test session has left its record."""
    try:
        return msgspec.json.decode(file.read_bytes(), type=Tested)
    except (OSError, msgspec.DecodeError, msgspec.ValidationError) as error:
        raise EvidenceError(
            f"{file}: expected what properties answered in tests (make test writes it): {error}"
        ) from error


def read_verdicts(run: RunDirectory) -> list[ScenarioVerdict]:
    """The verdicts of a finished run's scenarios. Raises EvidenceError."""
    return [read_json(scenario.verdict_file, ScenarioVerdict) for scenario in run.scenarios()]


def too_rarely_red(tested: Tested) -> list[str]:
    """Properties that not enough tests have seen red, each with their number."""
    counts = {prop.name: len(_seen(tested, prop.name, _red_of(prop))) for prop in ALL}
    return [
        f"{name} was seen red by {count} tests, expected {LEAST_RED}"
        for name, count in counts.items()
        if count < LEAST_RED
    ]


def properties_page(tested: Tested, verdicts: Sequence[ScenarioVerdict]) -> str:
    """The page in Markdown. The same records make the same bytes."""
    return "\n".join(_page(tested, verdicts)) + "\n"


def _page(tested: Tested, verdicts: Sequence[ScenarioVerdict]) -> Iterator[str]:
    yield "# Properties, and who has seen them red and green\n"
    yield "Made by `make docs` from the records of a whole `make test` and a whole `make gate`: do not edit. *Red*:"
    yield "tests that passed and in which the property failed. *Green*: scenarios on real stacks in which it passed.\n"
    yield "| property | promise | red in tests | unknown in tests | green in scenarios |\n|---|---|--:|--:|--:|"
    passed = {prop.name: _passed(verdicts, prop.name) for prop in ALL}
    for prop in ALL:
        red, doubted = (len(_seen(tested, prop.name, status)) for status in _NOT_GREEN)
        yield f"| [{prop.name}](#{prop.name}) | {prop.statement} | {red} | {doubted} | {len(passed[prop.name])} |"
    for prop in ALL:
        yield from _section(prop, tested, passed[prop.name])


def _section(prop: Property, tested: Tested, passed: Sequence[tuple[str, Result]]) -> Iterator[str]:
    yield f"\n## {prop.name}\n\n{inspect.getdoc(_module(prop))}\n"
    yield f"* reads: {', '.join(prop.reads)}"
    yield f"* has to see at least: {floor_text(prop)}"
    for status in _NOT_GREEN:
        names = _most_specific(_seen(tested, prop.name, status), tested, status)
        if names:
            told = ", ".join(f"`{name}`" for name in names[:_MOST_RED])
            yield f"* {'red' if status == 'fail' else status} in {told}{_more(names, _MOST_RED)}"
    if passed:
        told = ", ".join(f"`{name}` (saw {result.seen})" for name, result in passed[:_MOST_GREEN])
        yield f"* green in {told}{_more(passed, _MOST_GREEN)}"


def floor_text(prop: Property) -> str:
    """The property's floor in words, or as its code has it."""
    if prop.name in FLOORS:
        return FLOORS[prop.name]
    nodes = list(ast.walk(ast.parse(inspect.getsource(_module(prop)))))
    floors = [
        word.value for node in nodes if isinstance(node, ast.Call) for word in node.keywords if word.arg == "floor"
    ]
    named = {floor.id for floor in floors if isinstance(floor, ast.Name)}
    told = [ast.unparse(floor) for floor in floors if not isinstance(floor, ast.Name)]
    for node in nodes:
        if isinstance(node, ast.Assign | ast.AugAssign) and named & _assigned(node):
            told.append(ast.unparse(node))
    return ", ".join(f"`{floor}`" for floor in dict.fromkeys(told)) or "see its code"


def _assigned(node: ast.Assign | ast.AugAssign) -> set[str]:
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    return {target.id for target in targets if isinstance(target, ast.Name)}


def _module(prop: Property) -> ModuleType:
    return importlib.import_module(f"harness.checks.{prop.name}")


def _red_of(prop: Property) -> Status:
    return "unknown" if prop.name in ONLY_DOUBTS else "fail"


def _seen(tested: Mapping[str, Iterable[tuple[str, Status]]], name: str, status: Status) -> list[str]:
    return sorted(test for test, answers in tested.items() if (name, status) in answers)


def _most_specific(tests: Iterable[str], tested: Tested, status: Status) -> list[str]:
    """Tests in which few other properties answered likewise say most about this one; one name for all parameters."""

    def others(test: str) -> int:
        return sum(answer == status for _, answer in tested[test])

    ordered = sorted(tests, key=lambda test: (others(test), test))
    names = dict.fromkeys(test.removeprefix("tests/").partition("[")[0] for test in ordered)
    return list(names)


def _passed(verdicts: Iterable[ScenarioVerdict], name: str) -> list[tuple[str, Result]]:
    """The scenarios in which a property passed, those first in which it had most to judge."""
    results = [(v.scenario, result) for v in verdicts for result in v.results if result.property == name]
    return sorted(((s, r) for s, r in results if r.status == "pass"), key=lambda found: (-found[1].seen, found[0]))


def _more(found: Sequence[object], shown: int) -> str:
    return f" and {len(found) - shown} more" if len(found) > shown else ""
