"""What a stack would be made of here, what is missing, and what there is to mend: looked at, never changed.

Every finding of the doctor is a ``Sign``: one that is fatal says that no gate could run here as things are.
"""

from __future__ import annotations

import platform
import resource
import shutil
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Literal

import msgspec

from harness.environment import keeper, leftovers
from harness.environment.choice import Choice, choose_environment
from harness.environment.failures import EnvironmentFailed
from harness.environment.ports import PortLease, outside_the_kernels_range
from harness.environment.servers import Program, ProxyServer, chosen_proxy_server, look_around

_PACKAGES = ("docker", "msgspec", "pika", "psycopg", "pytest", "testcontainers", "toxiproxy-python")
_OPEN_FILES, _MEMORY_GIB, _DISK_GIB = 1024, 1.0, 1.0
"""What two stacks need of each, generously."""

Area = Literal["servers", "containers", "machine", "python"]


class Sign(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that was looked at: what it is, how it is (a version, a number, "missing"), and what that means.

    ``remedy``: the command that mends it, for what is not as it should be; ``fatal``: without that no gate can run.
    """

    area: Area
    name: str
    value: str
    says: str
    remedy: str = ""
    fatal: bool = False


class Diagnosis(msgspec.Struct, frozen=True, kw_only=True):
    """All signs, and which environment a stack would come up in; none, where it could not, and ``why`` says why."""

    environment: str | None
    why: str
    proxies: ProxyServer
    signs: tuple[Sign, ...]
    kept: tuple[str, ...]
    """Stacks that were asked to stay up."""
    left_behind: tuple[str, ...]
    """What no living run accounts for."""

    @property
    def ready(self) -> bool:
        """Whether a gate could run."""
        return self.environment is not None and not any(sign.fatal for sign in self.signs)


def examine() -> Diagnosis:
    """Look at everything. Raises EnvironmentFailed for a variable that makes no sense, and for nothing else."""
    proxies = chosen_proxy_server()
    try:
        choice: Choice | EnvironmentFailed = choose_environment()
    except EnvironmentFailed as none:
        choice = none
    name = choice.name if isinstance(choice, Choice) else None
    return Diagnosis(
        environment=name,
        why=choice.why if isinstance(choice, Choice) else str(choice).partition("\n")[0],
        proxies=proxies,
        signs=(
            *(_program(one, fatal=one.needed and name != "containers") for one in look_around().values()),
            *_containers(chosen=name == "containers"),
            *_machine(),
            *_python(),
        ),
        kept=tuple(map(str, leftovers.kept_stacks())),
        left_behind=tuple(f"{one.kind} {one.name}" for one in leftovers.leftovers()),
    )


def _program(one: Program, *, fatal: bool) -> Sign:
    if isinstance(one.found, str):
        says = f"{one.use}: {one.found}"
        return Sign(area="servers", name=one.name, value="missing", says=says, remedy=one.remedy, fatal=fatal)
    found = ".".join(map(str, one.found.version))
    return Sign(area="servers", name=one.name, value=found, says=f"{one.use}: {one.found.place}")


def _containers(*, chosen: bool) -> Iterator[Sign]:
    from harness.environment.containers import engine
    from harness.environment.containers.servers import images

    use = "runs the servers in containers" if chosen else "only --environment containers"
    try:
        found = engine.look()
    except engine.NoEngine:
        yield Sign(
            area="containers", name="engine", value="missing", says=f"{use}: none answers at {engine.host()}",
            remedy="sudo apt-get install docker.io && sudo systemctl start docker", fatal=chosen,
        )  # fmt: skip
        return
    yield Sign(area="containers", name="engine", value=found.version, says=f"{use}: {found.host} ({found.storage})")
    for process, image in images().items():
        here = engine.has_image(image.name)
        yield Sign(
            area="containers", name=image.name, value="here" if here else "absent",
            says=f"the image of {process}; {image.variable} chooses another",
            remedy="" if here else f"docker pull {image.name}   (a run does so itself)",
        )  # fmt: skip


def _machine() -> Iterator[Sign]:
    yield _ports()
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield _enough("open files", soft, _OPEN_FILES, "", "that a process may have", "ulimit -n 4096")
    yield _enough("memory", _memory_gib(), _MEMORY_GIB, " GiB", "to be had; a stack takes half of one", _FEWER_STACKS)
    for place in dict.fromkeys((keeper.state_home(), Path.cwd())):
        free = shutil.disk_usage(place).free / 2**30
        yield _enough(f"disk {place}", free, _DISK_GIB, " GiB", "free", "gauntlet doctor --sweep; rm -r runs/…")
    yield Sign(area="machine", name="inotify", value="n/a", says="nothing here watches files")


def _memory_gib() -> float:
    """What programs could have without swapping (proc(5), MemAvailable)."""
    told = Path("/proc/meminfo").read_text(encoding="ascii")
    return int(told.partition("MemAvailable:")[2].split()[0]) / 2**20


def _ports() -> Sign:
    lease = PortLease()
    try:
        lease.take()
    except EnvironmentFailed as none:
        return Sign(area="machine", name="ports", value="none", says=str(none), remedy=_PORT_RANGE, fatal=True)
    finally:
        lease.close()
    count = str(len(outside_the_kernels_range()))
    return Sign(area="machine", name="ports", value=count, says="that the kernel gives to nobody; a stack takes 30")


_FEWER_STACKS = "gauntlet gate -n 1"
_PORT_RANGE = "sudo sysctl net.ipv4.ip_local_port_range='32768 60999'"


def _enough(name: str, amount: float, wanted: float, unit: str, says: str, remedy: str) -> Sign:
    value = f"{amount:.1f}{unit}" if unit else str(amount)
    scarce = amount < wanted
    return Sign(area="machine", name=name, value=value, says=says, remedy=remedy if scarce else "", fatal=scarce)


def _python() -> Iterator[Sign]:
    yield Sign(area="python", name="Python", value=platform.python_version(), says=sys.executable)
    for package in _PACKAGES:
        yield Sign(area="python", name=package, value=version(package), says="from requirements.lock")
