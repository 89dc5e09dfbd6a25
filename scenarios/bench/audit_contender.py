"""One contender of ``make bench-audit``, in a process of its own: reads the files once, prints what it took as JSON.

``python -m scenarios.bench.audit_contender NAME FINDINGS FILE…``
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, cast

import msgspec

from harness.audit.span import peak_memory_kb


def main(name: str, findings: Path, files: Sequence[str]) -> None:
    """``lines`` and ``seconds`` of the work alone; ``memory_kb`` of the largest process that did it."""
    work = _CONTENDERS[name]
    began = time.perf_counter()
    lines, memory_kb = work(files, findings)
    seconds = time.perf_counter() - began
    memory_kb = max(memory_kb, peak_memory_kb())
    print(json.dumps({"lines": lines, "seconds": seconds, "memory_kb": memory_kb}))


def _decoded(
    files: Sequence[str], decode_lines: Callable[[bytes], list[object]], decode: Callable[[bytes], object]
) -> int:
    """Everything parsed, block by block; a block with a faulty line again, line by line."""
    lines = 0
    for block in _blocks(files):
        try:
            lines += len(decode_lines(block))
        except ValueError:
            lines += sum(_is_parsed(decode, raw) for raw in block.splitlines())
    return lines


def _is_parsed(decode: Callable[[bytes], object], raw: bytes) -> bool:
    try:
        decode(raw)
    except ValueError:
        return False
    return True


def _blocks(files: Sequence[str]) -> Iterator[bytes]:
    from harness.audit.blocks import blocks

    for name in files:
        with Path(name).open("rb", buffering=0) as file:
            for block in blocks(cast(BinaryIO, file), start=0, end=Path(name).stat().st_size):
                yield block.data


def _msgspec(files: Sequence[str], _: Path) -> tuple[int, int]:
    decoder = msgspec.json.Decoder()
    return _decoded(files, decoder.decode_lines, decoder.decode), 0


def _typed(files: Sequence[str], _: Path) -> tuple[int, int]:
    from harness.contract.log_lines import Line

    decoder: msgspec.json.Decoder[object] = msgspec.json.Decoder(Line)
    return _decoded(files, decoder.decode_lines, decoder.decode), 0


def _orjson(files: Sequence[str], _: Path) -> tuple[int, int]:
    import orjson

    def decode_lines(block: bytes) -> list[object]:
        return [orjson.loads(raw) for raw in block.splitlines()]

    return _decoded(files, decode_lines, orjson.loads), 0


def _duckdb(files: Sequence[str], _: Path) -> tuple[int, int]:
    import duckdb

    rows = duckdb.execute(
        "SELECT event, status, count(*), count(DISTINCT correlation_id) "
        "FROM read_json(?, format='newline_delimited', ignore_errors=true, columns={"
        "ts: 'VARCHAR', event: 'VARCHAR', service: 'VARCHAR', instance: 'VARCHAR', seq: 'BIGINT', level: 'VARCHAR', "
        "correlation_id: 'VARCHAR', event_id: 'VARCHAR', causation_id: 'VARCHAR', rule_id: 'VARCHAR', "
        "entity_type: 'VARCHAR', entity_id: 'VARCHAR', status: 'VARCHAR', span_id: 'VARCHAR', parent_span_id: 'VARCHAR'"
        "}) GROUP BY event, status",
        [list(files)],
    ).fetchall()
    return sum(int(row[2]) for row in rows), 0


def _audit(processes: int) -> Callable[[Sequence[str], Path], tuple[int, int]]:
    def run(files: Sequence[str], findings: Path) -> tuple[int, int]:
        from harness.audit.audit import Audit
        from harness.audit.engines import engine
        from harness.audit.sources import gather

        with engine("processes", processes) as workers, findings.open("wb") as out:
            report = Audit(gather(files, findings.parent, lambda size: None)).run(workers)
            for finding in report.findings:
                out.write(msgspec.json.encode(finding) + b"\n")
        return report.lines, report.memory_kb

    return run


_CONTENDERS: dict[str, Callable[[Sequence[str], Path], tuple[int, int]]] = {
    "msgspec": _msgspec, "orjson": _orjson, "typed": _typed, "duckdb": _duckdb, "audit-1": _audit(1),
    "audit-2": _audit(2),
}  # fmt: skip

if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3:])
