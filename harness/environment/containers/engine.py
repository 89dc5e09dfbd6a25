"""The container engine: whether it answers, what it has of ours, and one word for whatever goes wrong with it.

Found as testcontainers finds it: DOCKER_HOST, the current context, or else the socket at its usual place.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import docker
import requests
from docker.errors import DockerException, ImageNotFound
from docker.models.containers import Container
from testcontainers.core.config import testcontainers_config
from testcontainers.core.docker_client import DockerClient, get_docker_host

from harness.environment.containers.remove import remove
from harness.environment.failures import EnvironmentFailed
from harness.environment.waiting import NeverHappened, eventually

STACK, RUN, PROCESS, OWNER = "gauntlet.stack", "gauntlet.run", "gauntlet.process", "gauntlet.owner"
"""Labels: the stack's state folder, its run directory, the process it is, and whose it is on which machine."""
PATIENCE_S = 60
_LOOK_S = 5
_GONE_WITHIN_S = 20
_USUAL = "unix:///var/run/docker.sock"

# The stack's keeper removes containers, also those of a stack that is to stay: Ryuk would end it with this process.
testcontainers_config.ryuk_disabled = True


class NoEngine(EnvironmentFailed):
    """The container engine did not do what it was asked, or is not there."""


@dataclass(frozen=True, slots=True)
class Engine:
    """An engine that answers."""

    host: str
    version: str
    storage: str


def owner() -> str:
    """Whose containers they are: the engine may serve other users, and other machines."""
    return f"{os.getuid()}@{socket.gethostname()}"


def host() -> str:
    """Where the engine is looked for."""
    return get_docker_host() or _USUAL


@cache
def client() -> docker.DockerClient:
    """The engine's client. Raises NoEngine if it does not answer now."""
    with asked("to answer"):
        made = DockerClient(timeout=PATIENCE_S).client
        made.ping()
    return made


def look() -> Engine:
    """The engine, if one answers at once. Raises NoEngine with what was tried and what to do."""
    with asked("to answer"):
        told: dict[str, Any] = DockerClient(timeout=_LOOK_S).client.info()
    return Engine(host(), str(told.get("ServerVersion", "")), str(told.get("Driver", "")))


@contextmanager
def asked(what: str) -> Iterator[None]:
    """Whatever the client raises inside becomes a NoEngine that says what the engine was asked for."""
    try:
        yield
    except (DockerException, requests.RequestException) as error:
        raise NoEngine(
            f"the container engine at {host()} was asked {what}: {_reason(error)}\n"
            f"      is it there?   docker info\n"
            f"      to start it:   sudo systemctl start docker   (or name another one: DOCKER_HOST=unix:///…)"
        ) from error


def has_image(name: str) -> bool:
    """Whether it need not be pulled."""
    with asked(f"for the image {name}"):
        try:
            client().images.get(name)
        except ImageNotFound:
            return False
    return True


def pull(name: str, *, variable: str) -> None:
    """Get an image from its registry. Raises NoEngine that names the variable by which another one can be chosen."""
    try:
        with asked(f"to pull {name}"):
            client().images.pull(name)
    except NoEngine as failure:
        raise NoEngine(
            f"{failure}\n      to use another: {variable}=NAME:TAG, an image that the engine has"
        ) from failure


def containers(*labels: str) -> list[Container]:
    """Every container of ours with these labels, whether it runs or not."""
    wanted = [f"{OWNER}={owner()}", *labels]
    with asked("for our containers"):
        found: list[Container] = client().containers.list(all=True, ignore_removed=True, filters={"label": wanted})
    return found


def remove_stack(state_dir: Path) -> None:
    """Remove all containers of a stack, at once, with all that is in them. Returns when they are gone."""
    what = f"to remove the containers of {state_dir}"

    def none_is_left() -> bool:
        with asked(what):
            return not remove(client(), f"{STACK}={state_dir}")

    try:
        eventually(none_is_left, within_s=_GONE_WITHIN_S, describe=f"the containers of {state_dir} to be gone")
    except NeverHappened as still_there:
        raise NoEngine(str(still_there)) from still_there


def _reason(error: Exception) -> str:
    """The end of the chain of causes, which is what a person can act on."""
    told = str(getattr(error, "explanation", None) or error)
    return told if len(told) < 400 else f"{told[:400]} …"
