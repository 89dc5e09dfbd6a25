"""A gate in a process of its own, for as long as somebody watches it. Nothing of it stays."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from harness.environment.boot import sweep
from harness.evidence.run_directory import RunDirectory
from harness.target import PROJECT_ROOT

OUTPUT = "output.txt"
"""In its run directory: what it says."""
_END_WITHIN_S = 20.0


@contextmanager
def child(command: Sequence[str], run: RunDirectory) -> Iterator[subprocess.Popen[bytes]]:
    """It is ended with the block, if it has not ended by then, and so are all stacks of its run."""
    run.root.mkdir(parents=True, exist_ok=True)
    environment = os.environ | {"PYTHONPATH": str(PROJECT_ROOT)}
    with (run.root / OUTPUT).open("wb") as output:
        # a session of its own: Ctrl-C reaches this process alone, which ends what it has started
        process = subprocess.Popen(
            command, cwd=PROJECT_ROOT, env=environment, stdout=output, stderr=output, start_new_session=True
        )
        try:
            yield process
        finally:
            _end(process)
            sweep(run.root)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Whatever it managed itself, its stacks are swept afterwards."""
    if process.poll() is not None:
        return
    process.terminate()
    try:
        process.wait(_END_WITHIN_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
