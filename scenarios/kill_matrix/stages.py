"""What is run against a planted bug, and in which order: the likely first, so that a bug dies soon if it can.

A survivor has met all there is: the scenarios of a gate, a sweep of crashes, the nightly scenarios and chaos at random.
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from chaos.seeded_bugs.catalogue import Bug
from harness.target import DEFAULT_TARGET, PROJECT_ROOT, Target

CANARIES = "scenarios/test_canary.py"
_EXPLORE = ("--for", "2m", "--shrink-for", "1s")


@dataclass(frozen=True, slots=True)
class Stage:
    """One command that runs scenarios, without what says where its evidence goes and which code it runs on.

    ``narrow``: it is one scenario of many. What is red there for a wrong reason may be red elsewhere for a right one.
    """

    name: str
    words: tuple[str, ...]
    narrow: bool = False

    def command(self, *, run_dir: Path, source_root: Path, seed: int, target: Path = DEFAULT_TARGET) -> list[str]:
        """All of it, on one stack."""
        common = [f"--run-dir={run_dir}", f"--source-root={source_root}", f"--seed={seed}", f"--target={target}"]
        return [sys.executable, "-m", *self.words, *common]


def stages(bug: Bug, known: Mapping[str, Bug], target: Target) -> Iterator[Stage]:
    """The scenario that the bug names, if there is one, then all others. ``known``: bugs whose killers are known."""
    hinted = bug.scenario if is_scenario(bug.scenario) else ""
    if hinted:
        yield Stage("likely", _pytest(f"scenarios/{hinted}"), narrow=True)
    sweeps = [_sweep(service) for service in _touched(bug, target)]
    asked_for_chaos = {"crash sweep": sweeps, "explore": [_explore()]}
    first = next((found for name, found in asked_for_chaos.items() if bug.scenario.startswith(name)), [])
    yield from first
    yield Stage("gate", _pytest("scenarios", *_first(bug, known), f"--deselect={CANARIES}", *_deselected(hinted)))
    yield from (sweep for sweep in sweeps if sweep not in first)
    yield Stage("nightly", _pytest("scenarios", "-m", "nightly"))
    yield from [] if first == [_explore()] else [_explore()]


def whole_gate(bug: Bug, known: Mapping[str, Bug]) -> Stage:
    """Every scenario of a gate, the likely ones first."""
    return Stage("gate", _pytest("scenarios", *_first(bug, known), f"--deselect={CANARIES}"))


def each_in_its_own(sources: Mapping[str, Path]) -> Stage:
    """Some scenarios, each meeting the code of a folder of its own."""
    planted = [f"--planted={scenario}={source}" for scenario, source in sources.items()]
    return Stage("together", _pytest(*(f"scenarios/{scenario}" for scenario in sources), *planted))


def is_scenario(name: str) -> bool:
    """Whether there is a scenario of this name, as ``test_crashes.py::test_x[broker]``."""
    file, _, test = name.partition("::")
    path = PROJECT_ROOT / "scenarios" / file
    if not re.fullmatch(r"test_\w+\.py", file) or not path.is_file():
        return False
    return not test or f"def {test.partition('[')[0]}(" in path.read_text(encoding="utf-8")


def likely(bug: Bug, known: Mapping[str, Bug]) -> list[str]:
    """Scenarios that kill other bugs: those of bugs in the same files first, then those that kill most."""
    own = {edit.file for edit in bug.edit}
    found = [other for other in known.values() if is_scenario(other.scenario) and other.scenario != bug.scenario]
    near = {other.scenario for other in found if own & {edit.file for edit in other.edit}}
    kills = Counter(other.scenario for other in found)
    return sorted(kills, key=lambda scenario: (scenario not in near, -kills[scenario], scenario))


def _first(bug: Bug, known: Mapping[str, Bug]) -> list[str]:
    return [f"--first={scenario}" for scenario in likely(bug, known)]


def _deselected(hinted: str) -> list[str]:
    return [f"--deselect=scenarios/{hinted}"] if hinted else []


def _pytest(*words: str) -> tuple[str, ...]:
    unneeded = ("cacheprovider", "xdist", "hypothesispytest", "anyio")  # hypothesis's would cost every process a second
    return ("pytest", *words, "-q", *(word for plugin in unneeded for word in ("-p", f"no:{plugin}")))


def _touched(bug: Bug, target: Target) -> list[str]:
    """The services in whose own code the bug is; all of them, if it is in what they share."""
    found = [name for name in target.services if any(f"/{name}" in edit.file for edit in bug.edit)]
    return found or list(target.services)


def _sweep(service: str) -> Stage:
    return Stage(f"crash-sweep-{service}", ("cli", "crash-sweep", "-n", "1", "--times", "1", "--service", service))


def _explore() -> Stage:
    return Stage("explore", ("cli", "explore", "-n", "1", *_EXPLORE))
