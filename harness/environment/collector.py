"""Collecting the log of a system that is not ours into the run directory, where all else reads it.

One file for each start of a process, as our own stacks write them: a line's ``instance`` tells whose it is. Collecting
begins with the lines that are written from now on; the first number of each process is noted, so that what it wrote
before is not taken for lost.
"""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator, Sequence
from glob import glob
from pathlib import Path

import msgspec

from harness.audit.mapping import Mapping, load_mapping
from harness.contract.log_lines import ContractViolation
from harness.environment.processes import Start
from harness.environment.stack import Stack
from harness.target import LogSource

_LOOK_EVERY_S = 0.05
_END_WITHIN_S = 5.0


class _Head(msgspec.Struct):
    instance: str = ""
    seq: int = 0


class Collector:
    """A thread for each source. Close it after use: what it has started ends then."""

    def __init__(self, stack: Stack, sources: Sequence[LogSource]) -> None:
        self._stack = stack
        self._closing = threading.Event()
        self._writing = threading.Lock()
        self._files: dict[tuple[str, str], Path] = {}
        self._numbers: dict[Path, int] = {}
        self._commands: list[subprocess.Popen[bytes]] = []
        self._sources = [(source, load_mapping(Path(source.mapping)) if source.mapping else None) for source in sources]
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Begin. From here on no line is missed, as long as its file stays or grows."""
        for source, mapping in self._sources:
            lines = self._from_command(source) if source.command else self._from_files(source)
            thread = threading.Thread(target=self._collect, args=(source.service, mapping, lines), daemon=True)
            thread.start()
            self._threads.append(thread)

    def close(self) -> None:
        """Read what there is, and end."""
        self._closing.set()
        for command in self._commands:
            command.terminate()
        for thread in self._threads:
            thread.join(_END_WITHIN_S)
        for command in self._commands:
            command.kill()
            command.wait()

    def _from_files(self, source: LogSource) -> Iterator[bytes]:
        """Whole lines that are added to files of these names, also to files that appear later."""
        offsets = {path: path.stat().st_size for path in _matching(source)}
        return self._follow(source, offsets)

    def _follow(self, source: LogSource, offsets: dict[Path, int]) -> Iterator[bytes]:
        last_look = False
        while not last_look:
            last_look = self._closing.wait(_LOOK_EVERY_S)
            for path in _matching(source):
                if path.stat().st_size < offsets.get(path, 0):  # it was begun anew
                    offsets[path] = 0
                with path.open("rb") as file:
                    file.seek(offsets.get(path, 0))
                    whole, newline, _torn = file.read().rpartition(b"\n")
                offsets[path] = offsets.get(path, 0) + len(whole) + len(newline)
                yield from whole.splitlines()

    def _from_command(self, source: LogSource) -> Iterator[bytes]:
        """What a command prints, as ``kubectl logs --follow --since=1s …`` does."""
        command = subprocess.Popen(source.command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL)
        self._commands.append(command)
        assert command.stdout is not None
        return (raw.removesuffix(b"\n") for raw in command.stdout)

    def _collect(self, service: str, mapping: Mapping | None, lines: Iterator[bytes]) -> None:
        for raw in lines:
            if raw.strip():
                self._take(service, mapping, raw)

    def _take(self, service: str, mapping: Mapping | None, raw: bytes) -> None:
        if mapping is not None:
            try:
                line = mapping.decode_line(raw)
            except ContractViolation:  # it is written as it is, and judged as what it is
                line = None
            else:
                if line is None:
                    return
                raw = msgspec.json.encode(line)
        try:
            head = msgspec.json.decode(raw, type=_Head)
        except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError, RecursionError):
            head = _Head()
        with self._writing:
            file = self._file_of(service, head)
            if mapping is not None and not mapping.numbers_lines:
                raw = self._numbered(file, raw)
            with file.open("ab") as out:
                out.write(raw + b"\n")

    def _numbered(self, file: Path, raw: bytes) -> bytes:
        """Of a process that does not count its lines: then nobody can tell a lost line from a lost event."""
        number = self._numbers.get(file, 0)
        self._numbers[file] = number + 1
        fields = msgspec.json.decode(raw)
        return msgspec.json.encode(fields | {"seq": number}) if isinstance(fields, dict) else raw

    def _file_of(self, service: str, head: _Head) -> Path:
        """The file of this start of a process; a line that tells none belongs to the latest."""
        known = next((file for (of, _), file in reversed(self._files.items()) if of == service), None)
        if not head.instance and known is not None:
            return known
        key = (service, head.instance)
        if key not in self._files:
            starts = self._stack.records[service].starts
            self._files[key] = self._stack.log_dir / f"{service}-{len(starts) + 1}.ndjson"
            name = str(self._files[key].relative_to(self._stack.run_dir))
            starts.append(Start(file=name, pid=0, started_at="", first_seq=head.seq))
            self._stack.save()
        return self._files[key]


def _matching(source: LogSource) -> list[Path]:
    return sorted({Path(found) for pattern in source.files for found in glob(pattern)})
