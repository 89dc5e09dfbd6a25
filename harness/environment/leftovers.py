"""What earlier runs have left on this machine, and an end to it: state folders, processes and containers of this user.

There should be none: keepers see to that. A keeper that was itself killed, or an engine that was away for long, leaves
some. What belongs to a stack whose keeper lives, or which was asked to stay (``gauntlet up``), is none.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from harness.environment import keeper
from harness.environment.failures import EnvironmentFailed


@dataclass(frozen=True, slots=True)
class Leftover:
    """One thing that was left, and the stack that it was of (by its state folder)."""

    kind: Literal["state folder", "process", "container"]
    name: str
    stack: Path


def leftovers() -> list[Leftover]:
    """All of them. Containers only if the engine answers."""
    found = [*_folders(), *_processes(), *_containers()]
    return [one for one in found if not keeper.is_kept(one.stack)]


def kept_stacks() -> list[Path]:
    """Where the stacks are written down that were asked to stay."""
    return [Path(note.read_text(encoding="utf-8")) for note in keeper.state_folders(keeper.KEPT)]


def end_leftovers() -> list[Leftover]:
    """End and remove all of them; what there was."""
    found = leftovers()
    for stack in sorted({one.stack for one in found}):
        keeper.end_everything(stack)
        if any(one.kind == "container" and one.stack == stack for one in found):
            from harness.environment.containers.engine import remove_stack

            remove_stack(stack)
        keeper.remove(stack)
    return found


def _folders() -> Iterator[Leftover]:
    for folder in sorted({lock.parent for lock in keeper.state_folders(keeper.LOCK)}):
        yield Leftover("state folder", str(folder), folder)


def _processes() -> Iterator[Leftover]:
    marks = tuple(f"{keeper.STACK}={prefix}".encode() for prefix in keeper.state_folder_prefixes())
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = process.joinpath("environ").read_bytes().split(b"\0")
            command = process.joinpath("cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if found := next((word for word in words if word.startswith(marks)), None):
            stack = Path(os.fsdecode(found.partition(b"=")[2]))
            yield Leftover("process", f"{process.name} {command[:60].strip()}", stack)


def _containers() -> Iterator[Leftover]:
    from harness.environment.containers import engine

    try:
        found = engine.containers()
    except EnvironmentFailed:
        return
    for one in found:
        yield Leftover("container", f"{one.short_id} {one.labels[engine.PROCESS]}", Path(one.labels[engine.STACK]))
