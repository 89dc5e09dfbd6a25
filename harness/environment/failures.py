"""What can go wrong before a scenario has begun. Each error says what was tried, what was seen and what to do."""

from __future__ import annotations

from pathlib import Path

from harness.environment.waiting import Hopeless

_TAIL_LINES = 15


class EnvironmentFailed(Hopeless):
    """The environment did not come up. Quotes the end of the log that explains it, where there is one."""

    def __init__(self, what: str, *, log: Path | None = None) -> None:
        self.what = what
        self.log = log
        super().__init__(f"{what}\n{_tail(log)}" if log else what)


class MissingServers(EnvironmentFailed):
    """Servers that are not installed, or too old: all of them at once, each with the command that mends it."""

    def __init__(self, missing: dict[str, str]) -> None:
        self.missing = missing
        lines = "\n".join(f"  {what}\n      {remedy}" for what, remedy in missing.items())
        super().__init__(f"{len(missing)} of the servers that a stack needs cannot be used here:\n{lines}")


def _tail(log: Path) -> str:
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        return f"  (no log to show: {error})"
    shown = "\n".join(f"  | {line[:300]}" for line in lines[-_TAIL_LINES:]) or "  | (empty)"
    return f"  the end of {log}:\n{shown}"
