"""A comparison of two contracts as a table, and whether the version's step allows it."""

from __future__ import annotations

from rich.table import Table

from harness.contract.diff import Change, ContractDiff, Step

_MOST_KINDS = 3
_STEPS: dict[Step, str] = {
    "none": "the version is the same",
    "minor": "the minor version rises",
    "major": "the major version rises",
    "back": "the version goes back",
}


def diff_table(compared: ContractDiff) -> Table:
    """A line for each change, those that break something first."""
    table = Table(title=f"{compared.old} → {compared.new}", title_justify="left")
    for heading in ("", "kind", "field", "change"):
        table.add_column(heading, overflow="fold")
    for change in compared.changes:
        table.add_row(change.effect, _kinds(change), change.field, change.says)
    return table


def diff_verdict(compared: ContractDiff) -> str:
    """The last line: what may be released as it is, or which version it needs."""
    additive = len(compared.changes) - compared.breaking
    counted = f"{compared.breaking} breaking, {additive} additive; {_STEPS[compared.step]}"
    if compared.compatible:
        return f"compatible: {counted}"
    needs = "a new major version" if compared.breaking else "a new minor version" if additive else "no step back"
    return f"NOT compatible: {counted}, and this needs {needs}"


def _kinds(change: Change) -> str:
    shown, more = change.kinds[:_MOST_KINDS], len(change.kinds) - _MOST_KINDS
    return ", ".join(shown) + (f" and {more} more" if more > 0 else "") if shown else "every kind"
