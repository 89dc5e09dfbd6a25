"""The documentation says what is so: generated pages are up to date, and every command in it exists."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

import cli
from harness.checks import ALL
from harness.checks.judge import ScenarioVerdict
from harness.checks.verdict import Result, Status
from harness.environment.keeper import PROCESS, STACK, STOP_SIGNAL
from harness.target import PROJECT_ROOT
from reports.command_page import command_page
from reports.configuration_page import VARIABLES, configuration_page
from reports.readiness_page import load_items, readiness_page
from scenarios.boot_turns import VARIABLE as BOOTING

PAGES = [PROJECT_ROOT / "README.md", *sorted((PROJECT_ROOT / "docs").glob("*.md"))]
_FENCED = re.compile(r"^```[a-z]*\n(.*?)^```", re.DOTALL | re.MULTILINE)
_INLINE = re.compile(r"`([^`\n]+)`")
_COMMAND = re.compile(r"^(?:\$ )?(?:\.venv/bin/)?(gauntlet|make) +(\S.*)$")


def commands_in(page: Path) -> Iterator[tuple[str, str]]:
    """(program, the rest of its line) of everything that a reader is told to type."""
    text = page.read_text(encoding="utf-8")
    told = [line for block in _FENCED.findall(text) for line in block.splitlines()]
    told += _INLINE.findall(_FENCED.sub("", text))
    for line in told:
        if found := _COMMAND.match(line.strip()):
            yield found[1], found[2]


def command_of(words: list[str]) -> tuple[click.Command, list[str]]:
    command: click.Command = cli.gauntlet
    while isinstance(command, click.Group) and words and words[0] in command.commands:
        command, words = command.commands[words[0]], words[1:]
    return command, words


def unknown_options(line: str) -> list[str]:
    """What it does not know of a command line of its. Brackets, bars and what follows a # are notation."""
    plain = re.sub(r"[\[\]|]", " ", line.split(" #")[0])
    command, words = command_of(shlex.split(plain))
    if isinstance(command, click.Group) and (not words or not words[0].startswith("-")):
        return [] if words and words[0] in ("…", "COMMAND") else [f"no command {' '.join(words)!r}"]
    known = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
    known |= {"-h", "--help"}
    words = words[: words.index("--")] if "--" in words else words
    return [word for word in words if re.match(r"--?[a-z]", word) and word.partition("=")[0] not in known]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_in_the_docs_exists_with_all_its_options(page: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (PROJECT_ROOT / "Makefile").read_text(), re.MULTILINE))
    wrong = []
    for program, line in commands_in(page):
        if program == "make":
            named = re.match(r"[a-z-]+", line)
            wrong += [] if named is None or named[0] in targets else [f"make {line}: no such target"]
        else:
            wrong += [f"gauntlet {line}: {problem}" for problem in unknown_options(line)]
    assert wrong == []


def test_a_command_that_does_not_exist_would_be_noticed() -> None:
    assert unknown_options("gate --no-such-thing") == ["--no-such-thing"]
    assert unknown_options("gates") == ["no command 'gates'"]
    assert unknown_options("gate [-n N] [-k 'a or b'] -- --outage-s 30") == []


def test_the_generated_references_are_up_to_date() -> None:
    for name, page in (("cli", command_page(cli.gauntlet)), ("configuration", configuration_page())):
        file = PROJECT_ROOT / "docs" / f"reference-{name}.md"
        assert file.read_text(encoding="utf-8") == page, f"{file.name} is not what the code says: make docs"


def test_every_variable_that_the_code_reads_is_in_the_reference() -> None:
    sources = [
        file for folder in ("chaos", "cli", "harness", "scenarios") for file in (PROJECT_ROOT / folder).rglob("*.py")
    ]
    named = {name for file in sources for name in re.findall(r"\bGAUNTLET_[A-Z_]+\b", file.read_text(encoding="utf-8"))}
    told_by_ourselves = {STACK, PROCESS, STOP_SIGNAL, BOOTING, "GAUNTLET_LOAD_ORDER"}
    assert named - told_by_ourselves == {name for name in VARIABLES if name.startswith("GAUNTLET_")}


# --- the checklist ----------------------------------------------------------------------------------------------


def judged(scenario: str, **said: Status) -> ScenarioVerdict:
    results = tuple(Result(property=name, status=status, seen=1, floor=0) for name, status in said.items())
    return ScenarioVerdict(scenario=scenario, verdict="pass", results=results)


def row(page: str, says: str) -> str:
    return next(line for line in page.splitlines() if says in line)


def test_every_item_of_the_checklist_rests_on_properties_and_scenarios_that_exist() -> None:
    names = {prop.name for prop in ALL}
    files = sorted((PROJECT_ROOT / "scenarios").glob("test_*.py"))
    scenarios = [f"{file.name}::{name}" for file in files for name in re.findall(r"def (test_\w+)", file.read_text())]
    for item in load_items():
        assert set(item.properties) <= names, item
        assert item.properties, item
        for pattern in item.scenarios.split("|"):
            assert any(re.search(pattern, name) for name in scenarios), f"{item.says}: nothing is {pattern}"


def test_all_properties_are_on_the_checklist_but_those_about_ourselves() -> None:
    listed = {name for item in load_items() for name in item.properties}
    assert {prop.name for prop in ALL} - listed == {"evidence_sufficient"}


def test_an_item_is_as_good_as_the_worst_that_was_said_of_it() -> None:
    says = "Moments have a time zone"
    good, bad, silent = (judged(f"test_{s}.py::t", schema=s) for s in ("pass", "fail", "idle"))
    for verdicts, mark, seen in (([good], "✓", 1), ([good, bad], "✗", 2), ([silent], "·", 0), ([], "·", 0)):
        cells = [cell.strip() for cell in row(readiness_page(verdicts, judged_at="today"), says).split("|")]
        assert (cells[1], cells[5]) == (mark, str(seen))


def test_only_the_scenarios_that_put_it_to_the_test_count() -> None:
    elsewhere, there = judged("test_x.py::t", one_winner="fail"), judged("test_races.py::t", one_winner="pass")
    assert row(readiness_page([elsewhere, there], judged_at="today"), "nine are told so").startswith("| ✓ |")
