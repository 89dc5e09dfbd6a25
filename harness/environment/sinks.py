"""The sinks of a stack as a process: whoever receives the system's webhooks and mail."""

from __future__ import annotations

import sys
from pathlib import Path

from harness.clients.sinks.behaviour import KEY_VARIABLE
from harness.environment.processes import ProcessRecord, plain_environment
from harness.target import PROJECT_ROOT

NAME = "sinks"
KEY = "webhook"
"""Whose password signs webhooks."""


def record(*, state_dir: Path, ports: dict[str, int], key: str) -> ProcessRecord:
    """How to run it. ``ports``: of ``webhook``, ``mail`` and ``door``."""
    arguments = [word for name, port in ports.items() for word in (f"--{name}-port", str(port))]
    return ProcessRecord(
        name=NAME,
        argv=(sys.executable, "-m", "harness.clients.sinks.server", *arguments),
        environment=plain_environment(state_dir) | {KEY_VARIABLE: key},
        cwd=PROJECT_ROOT,
        ready=f"http://127.0.0.1:{ports['door']}/",
    )
