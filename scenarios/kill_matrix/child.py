"""A gate in a process of its own, for as long as somebody watches it. Nothing of it stays."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
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
    process: subprocess.Popen[bytes] | None = None
    try:
        with (run.root / OUTPUT).open("wb") as output, _undivided():
            # a session of its own: Ctrl-C reaches this process alone, which ends what it has started
            process = subprocess.Popen(
                command, cwd=PROJECT_ROOT, env=environment, stdout=output, stderr=output, start_new_session=True
            )
        yield process
    finally:
        if process:
            _end(process)
        sweep(run.root)


@contextmanager
def _undivided() -> Iterator[None]:
    """Ctrl-C, or what is as good, waits for the end of the block: who is born meanwhile would be known to nobody."""
    if threading.current_thread() is not threading.main_thread():  # which no signal interrupts
        yield
        return
    came: list[int] = []
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, lambda number, _: came.append(number)) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    for missed in came[:1]:
        signal.raise_signal(missed)


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
