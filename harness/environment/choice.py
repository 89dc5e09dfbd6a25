"""Which environment a stack comes up in: what --environment or GAUNTLET_ENVIRONMENT says, or what there is.

It is chosen once for a run; whatever the run starts is told by the variable.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

from harness.environment.external import check_allowed
from harness.environment.failures import EnvironmentFailed, MissingServers
from harness.environment.foundation import EnvironmentName, Foundation
from harness.environment.native import NativeServers
from harness.environment.servers import chosen_proxy_server, find_servers
from harness.target import Target

VARIABLE = "GAUNTLET_ENVIRONMENT"
AUTO = "auto"
NAMES: tuple[EnvironmentName, ...] = ("native", "containers")


@dataclass(frozen=True, slots=True)
class Choice:
    """An environment, and why this one."""

    name: EnvironmentName
    why: str


class NoEnvironment(EnvironmentFailed):
    """Neither can be had: says of both what is missing."""


def is_named(name: EnvironmentName) -> bool:
    """Whether somebody has asked for this one."""
    return os.environ.get(VARIABLE) == name


def choose_environment(target: Target | None = None) -> Choice:
    """The target's own, or one that was named, or native if its servers are there, or containers if an engine answers.

    Raises NoEnvironment if there is neither, EnvironmentFailed for a name that there is not. One that was named is not
    looked for.
    """
    if target is not None and target.environment == "external":
        return Choice("external", "the target says so")
    named = os.environ.get(VARIABLE) or AUTO
    for name in NAMES:
        if name == named:
            return Choice(name, f"--environment or {VARIABLE} says so")
    if named != AUTO:
        raise EnvironmentFailed(f"{VARIABLE}={named}: expected {AUTO}, {' or '.join(NAMES)}")
    try:
        find_servers()
    except MissingServers as missing:
        return _containers_since(missing)
    return Choice("native", "its servers are all here")


def provide_for_a_run(on_step: Callable[[str], None], target: Target | None = None) -> Choice:
    """Choose, get ready what can be got ready before anything runs, and tell it to all that this process starts.

    Raises EnvironmentFailed; TargetError for an external system that may not be spoken to.
    """
    choice = choose_environment(target)
    if target is not None and choice.name == "external":
        check_allowed(target)
        return choice
    if choice.name == "containers":
        from harness.environment.containers.servers import get_images

        get_images(on_step)
    else:
        find_servers()
    os.environ[VARIABLE] = choice.name
    return choice


def foundation(name: EnvironmentName | None = None) -> Foundation:
    """What a stack is built on: the environment of that name, or the chosen one. Raises EnvironmentFailed."""
    if (name or choose_environment().name) == "native":
        return NativeServers(find_servers())
    from harness.environment.containers import engine  # whoever needs no container need not wait for its import
    from harness.environment.containers.servers import ContainerServers, images

    engine.client()
    return ContainerServers(images(), chosen_proxy_server())


def _containers_since(missing: MissingServers) -> Choice:
    from harness.environment.containers import engine

    try:
        found = engine.look()
    except engine.NoEngine as absent:
        raise NoEnvironment(f"{missing}\n  and containers cannot take their place:\n  {absent}") from absent
    names = ", ".join(one.name for one in missing.missing)
    return Choice("containers", f"{names} missing here, and the engine at {found.host} answers")
