"""The target's own services as processes: their commands and variables, filled in from what the stack knows."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from harness.environment import rabbitmq, sinks
from harness.environment.processes import ProcessRecord, plain_environment
from harness.environment.stack import Stack
from harness.target import Target, fill

FAR_FROM_UTC = "<-0930>+09:30"
"""The time zone that services run in: whoever writes or compares local time is hours wrong, not right by chance."""


def records(target: Target, stack: Stack) -> dict[str, ProcessRecord]:
    """How to run each service. The ready path is asked directly, so that a fault on an edge does not hide it."""
    shared = _known(target, stack)
    home = Path(os.environ.get("HOME", stack.state_dir))  # where a user's own Python packages are
    made = {}
    for name, service in [*((name, name) for name in stack.services), *stack.replicas.items()]:
        spec, address = target.services[service], stack.addresses[name]
        known = shared | {"port": address.rpartition(":")[2]}
        own = {key: fill(text, known) for key, text in spec.environment.items()}
        made[name] = ProcessRecord(
            name=name,
            argv=tuple(fill(word, known) for word in spec.command),
            environment=plain_environment(home) | {"TZ": FAR_FROM_UTC} | own,
            cwd=stack.source_root,
            ready=f"http://{address}{spec.ready}",
            output="ndjson",
            preload=target.preload if _is_module(spec.command) else (),
        )
    return made


def _is_module(command: tuple[str, ...]) -> bool:
    return len(command) > 2 and command[:2] == ("${python}", "-m")


def _known(target: Target, stack: Stack) -> dict[str, str]:
    tokens = {stack.tokens[name]: {"name": name, "role": role} for name, role in target.tokens.items()}
    return {
        "python": sys.executable,
        "database": target.database.name,
        "broker_user": rabbitmq.USER,
        "broker_password": stack.passwords[rabbitmq.USER],
        "vhost": rabbitmq.VHOST,
        "webhook_secret": stack.passwords[sinks.SECRET],
        "tokens": json.dumps(tokens),
        **{f"edge {edge}": listen for edge, listen in stack.edges.items()},
        **{f"password {role}": password for role, password in stack.passwords.items()},
        **{f"token {name}": token for name, token in stack.tokens.items()},
    }
