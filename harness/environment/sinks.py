"""The process of the sinks: where webhooks and mail of the target end up."""

from __future__ import annotations

import sys

from harness.environment.processes import ProcessRecord, plain_environment
from harness.environment.stack import Stack
from harness.target import PROJECT_ROOT

NAME = "sinks"
SECRET = "webhook"
"""The name under which the stack keeps the key that webhooks are signed with."""


def record(stack: Stack) -> ProcessRecord:
    """How to run it. It is ready when its control door answers, which opens last."""
    ports = {end: stack.addresses[end].rpartition(":")[2] for end in (NAME, "webhook", "mail")}
    return ProcessRecord(
        name=NAME,
        argv=(sys.executable, "-m", "harness.sinks"),
        environment=plain_environment(stack.state_dir)
        | {
            "CONTROL_PORT": ports[NAME],
            "WEBHOOK_PORT": ports["webhook"],
            "MAIL_PORT": ports["mail"],
            "WEBHOOK_SECRET": stack.passwords[SECRET],
        },
        cwd=PROJECT_ROOT,
        ready=f"http://{stack.addresses[NAME]}/",
    )
