"""Which scenarios a run leaves out: the long ones, unless they are asked for, and those that cannot be run here.

They are deselected and told of, never skipped: what does not run must not look as if it had.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.environment import faketime
from harness.environment.capabilities import CLEAN_SLATE
from harness.environment.external import lacks
from harness.environment.servers import PROXY, chosen_proxy_server
from harness.target import Target, load_target
from scenarios.needs import needs_of

CANARY, CHAOS = "canary", "test_random_chaos.py"
NOT_APPLICABLE_TO = "not applicable to"
"""So begins the reason where it is the system itself that a scenario is not for."""
NIGHTLY, NEEDS_FAKETIME, NEEDS_WIRE_PROXY = "nightly", "needs_faketime", "needs_wire_proxy"
NEEDS_TRIAGE_COMMAND, NEEDS_CLEAN_SLATE = "needs_triage_command", "needs_clean_slate"


def choose(config: pytest.Config, items: list[pytest.Item]) -> dict[str, int]:
    """Take out of ``items`` what is not to be run. Why → how many."""
    left_out: dict[str, list[pytest.Item]] = {}
    target = load_target(Path(config.getoption("--target")))
    lacking = lacks(target, destructive=config.getoption("--allow-destructive"))
    for item in items:
        if why := _why_not(config, item, target, lacking):
            left_out.setdefault(why, []).append(item)
    for leavers in left_out.values():
        config.hook.pytest_deselected(items=leavers)
    gone = {item for leavers in left_out.values() for item in leavers}
    items[:] = [item for item in items if item not in gone]
    return {why: len(leavers) for why, leavers in left_out.items()}


def canaries_first(items: list[pytest.Item]) -> None:
    """They boot a stack of their own, as the workers do at the beginning; later they would be one stack too many."""
    items.sort(key=lambda item: item.get_closest_marker(CANARY) is None)


def likely_first(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Scenarios named with --first run before all others, in the order in which they were named."""
    named: list[str] = config.getoption("--first")
    places = {f"scenarios/{name}": place for place, name in enumerate(named)}

    def place(item: pytest.Item) -> int:
        return min(places.get(item.nodeid, len(named)), places.get(item.nodeid.partition("[")[0], len(named)))

    items.sort(key=place)


def _why_not(config: pytest.Config, item: pytest.Item, target: Target, lacking: dict[str, str]) -> str:
    if item.get_closest_marker(NIGHTLY) and not (config.getoption("--nightly") or _is_named(config)):
        return "nightly: gauntlet gate --nightly runs them too"
    if item.get_closest_marker(NEEDS_FAKETIME) and faketime.library() is None:
        return f"not applicable here, for libfaketime was not found: {faketime.apt_line()}"
    if item.get_closest_marker(NEEDS_WIRE_PROXY) and chosen_proxy_server() != "wire":
        return f"not applicable here, for only the wire-aware proxy can do it: {PROXY}=wire"
    if item.get_closest_marker(NEEDS_TRIAGE_COMMAND) and not target.triage:
        return f"{NOT_APPLICABLE_TO} {target.name}, which has no command for triage"
    if item.get_closest_marker(CANARY) and not (target.bugs and target.external is None):
        return f"canaries: no bug is planted into {target.name}"
    if lacking and (why := _beyond_reach(item, lacking)):
        return f"{NOT_APPLICABLE_TO} {target.name}: {why}"
    return ""


def _beyond_reach(item: pytest.Item, lacking: dict[str, str]) -> str:
    """What it needs that its system lacks, the first of it, and why that is so."""
    assert isinstance(item, pytest.Function)
    needs = set(needs_of(item.function))
    needs |= {CLEAN_SLATE} if item.get_closest_marker(NEEDS_CLEAN_SLATE) else set()
    return next((f"no {what} ({why})" for what, why in lacking.items() if what in needs), "")


def _is_named(config: pytest.Config) -> bool:
    """Whoever names scenarios means them, nightly or not."""
    by_name = config.getoption("keyword") or config.getoption("markexpr")
    return bool(by_name) or any("::" in argument for argument in config.args)
