"""Moments as Allure has them: milliseconds since 1970."""

from __future__ import annotations

from datetime import datetime

from harness.evidence.records import ScenarioRecord


def epoch_ms(moment: str) -> int:
    """0 for what is no moment: the beginning and the end of all time are texts that are none."""
    try:
        return round(datetime.fromisoformat(moment).timestamp() * 1000)
    except ValueError:
        return 0


def operation_ms(scenario: ScenarioRecord, monotonic_ns: int) -> int:
    """Of a moment on the clock of operations; the end of the scenario where nobody compared the clocks."""
    if scenario.clock is None:
        return epoch_ms(scenario.until)
    wall, at_ns = scenario.clock
    return epoch_ms(wall) + (monotonic_ns - at_ns) // 1_000_000
