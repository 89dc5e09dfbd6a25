"""What can go wrong before a scenario has begun. Each error says what was tried, what was seen and what to do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.environment.waiting import Hopeless

_TAIL_LINES = 15


class EnvironmentFailed(Hopeless):
    """The environment did not come up. Quotes the end of the log that explains it, where there is one."""

    def __init__(self, what: str, *, log: Path | None = None) -> None:
        self.what = what
        self.log = log
        super().__init__(f"{what}\n{_tail(log)}" if log else what)


@dataclass(frozen=True, slots=True)
class MissingServer:
    """One server that is not there, or too old, and the command that mends it. A stack may do without it if it is not
    ``needed``."""

    name: str
    problem: str
    remedy: str
    needed: bool = True


class MissingServers(EnvironmentFailed):
    """Servers that cannot be used: all of them at once."""

    def __init__(self, missing: Sequence[MissingServer]) -> None:
        self.missing = tuple(missing)
        lines = "\n".join(f"  {one.problem}\n      to install it: {one.remedy}" for one in missing)
        super().__init__(f"a stack cannot be booted here, {len(missing)} of its servers missing:\n{lines}")


def _tail(log: Path) -> str:
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        return f"  (no log to show: {error})"
    shown = "\n".join(f"  | {line[:300]}" for line in lines[-_TAIL_LINES:]) or "  | (empty)"
    return f"  the end of {log}:\n{shown}"
