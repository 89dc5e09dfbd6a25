"""A stack that is up, as a target file for somebody who has not booted it: how external systems are tried out."""

from __future__ import annotations

import json
import os
import shlex
from pathlib import Path
from urllib.parse import urlsplit

from harness.environment.stack import Stack

_DATABASE, _BROKER = "RUNNING_DATABASE_URL", "RUNNING_BROKER_URL"


def write_target_file(file: Path, stack: Stack, booted_as: Path) -> Path:
    """Write it, and beside it (mode 0600) the credentials for a shell to read; where those are."""
    tokens = {caller: f"RUNNING_TOKEN_{caller.upper()}" for caller in stack.tokens}
    file.write_text(_text(stack, booted_as, tokens), encoding="utf-8")
    values = {variable: stack.tokens[caller] for caller, variable in tokens.items()}
    values |= {_DATABASE: stack.database_url, _BROKER: stack.broker_url}
    credentials = file.with_suffix(".env")
    with os.fdopen(os.open(credentials, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as out:
        out.writelines(f"export {name}={shlex.quote(value)}\n" for name, value in values.items())
    return credentials


def _text(stack: Stack, booted_as: Path, tokens: dict[str, str]) -> str:
    urls = {service: stack.url(service) for service in stack.services}
    sinks = stack.url("sinks")
    reached = [*urls.values(), sinks, stack.database_url, stack.broker_url]
    hosts = [f"{parts.hostname}:{parts.port}" for parts in map(urlsplit, reached)]
    lines = [
        f"# Stack {stack.name!r} of {stack.run_dir}, as somebody sees it who has not booted it.",
        f"extends = {_quoted(booted_as)}",
        f'name = "{stack.target}, running"',
        'environment = "external"',
        "",
        "[external]",
        f"hosts = [{', '.join(map(_quoted, hosts))}]",
        f"database = {_quoted(_DATABASE)}",
        f"broker = {_quoted(_BROKER)}",
        "tap = true",
        f"sinks = {_quoted(sinks)}",
        "",
        "[external.urls]",
        *(f"{service} = {_quoted(url)}" for service, url in urls.items()),
        "",
        "[external.tokens]",
        *(f"{caller} = {_quoted(variable)}" for caller, variable in tokens.items()),
    ]
    for service in stack.services:
        files = _quoted(stack.log_dir / f"{service}-*.ndjson")
        lines += ["", "[[external.logs]]", f"service = {_quoted(service)}", f"files = [{files}]"]
    return "\n".join(lines) + "\n"


def _quoted(text: object) -> str:
    """A JSON string is one of TOML, too."""
    return json.dumps(str(text), ensure_ascii=False)
