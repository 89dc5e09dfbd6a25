"""GitHub's annotations: an error at the line of each scenario that is not green.

https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-commands#setting-an-error-message
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from reports.results import ScenarioResult

MOST, MOST_CHARACTERS = 10, 4_000
"""GitHub shows no more of a step, and of a message not much more."""


def error_annotations(results: Sequence[ScenarioResult]) -> Iterator[str]:
    """A line for each, to be written on stdout."""
    for result in [one for one in results if one.kind != "pass"][:MOST]:
        place = {"file": result.file, "line": str(result.line or "")} if result.file else {}
        place |= {"title": f"{result.kind}: {result.name.rpartition('::')[2]}"}
        told = ",".join(f"{key}={_property(value)}" for key, value in place.items() if value)
        yield f"::error {told}::{_message((result.text or result.kind)[:MOST_CHARACTERS])}"


def _message(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _message(text).replace(":", "%3A").replace(",", "%2C")
