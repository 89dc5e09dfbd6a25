"""Following the log while it grows, from a given moment on: what tells a scenario that the system has come to rest."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from pathlib import Path

from harness.contract.log_lines import ContractViolation, Line, decode_line
from harness.evidence.clock import later


class LogTail:
    """Keeps the whole lines written to a folder's ``*.ndjson`` files since it was made, in ``lines``.

    Lines that break the contract are passed over here: judging reads the files again, from the beginning.
    """

    def __init__(self, folder: Path, *, skews_s: Callable[[], Mapping[str, float]] = dict) -> None:
        """``skews_s`` tells, by file name, whose clock was fast, and by how much: its lines are corrected."""
        self._folder, self._skews_s = folder, skews_s
        self._reading = threading.Lock()
        self.lines: list[Line] = []
        self._offsets = {path: path.stat().st_size for path in folder.glob("*.ndjson")}

    def read_on(self) -> list[Line]:
        """All lines so far, after reading what has been added. Files that appear later are read from their start."""
        with self._reading:  # several faults at once look for what they have hit
            for path in sorted(self._folder.glob("*.ndjson")):
                with path.open("rb") as file:
                    file.seek(self._offsets.get(path, 0))
                    whole, newline, _torn = file.read().rpartition(b"\n")
                self._offsets[path] = self._offsets.get(path, 0) + len(whole) + len(newline)
                new = _decoded(whole)
                if new and (skew_s := self._skews_s().get(path.name)):
                    for line in new:
                        line.ts = later(line.ts, -skew_s)
                self.lines += new
        return self.lines


def _decoded(block: bytes) -> list[Line]:
    lines = []
    for raw in block.splitlines():
        try:
            lines.append(decode_line(raw))
        except ContractViolation:
            continue
    return lines
