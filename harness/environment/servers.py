"""Where the native servers are, and whether they are new enough. Looks at files; almost nothing is run."""

from __future__ import annotations

import mmap
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from harness.environment import allure, chromium, faketime
from harness.environment.failures import EnvironmentFailed, MissingServer, MissingServers
from harness.environment.folders import cache_folder

OLDEST_POSTGRES = (15,)
OLDEST_RABBITMQ = (3, 10)
OLDEST_TOXIPROXY = (2, 12)
TOXIPROXY_MODULE = "github.com/Shopify/toxiproxy/v2/cmd/server@v2.12.0"

PROXY = "GAUNTLET_PROXY"
_POSTGRES, _RABBITMQ, _TOXIPROXY = "GAUNTLET_POSTGRES_BIN", "GAUNTLET_RABBITMQ_BIN", "GAUNTLET_TOXIPROXY"

Version = tuple[int, ...]
ProxyServer = Literal["wire", "toxiproxy"]
"""``wire``: the fault proxy of this project. ``toxiproxy``: Toxiproxy's own server."""


@dataclass(frozen=True, slots=True)
class Found:
    """A place and the version that is there; none where it has none of its own."""

    version: Version
    place: Path


@dataclass(frozen=True, slots=True)
class Servers:
    """The programs that a native stack is made of."""

    postgres: Path
    postgres_version: Version
    rabbitmq: Path
    epmd: Path
    toxiproxy: Path | None
    """Needed only where GAUNTLET_PROXY asks for it, and by the tests that compare the fault proxy with it."""
    proxy_server: ProxyServer


@dataclass(frozen=True, slots=True)
class Program:
    """One program that a stack may be made of: where it is, or what is wrong with it, and the command that mends that.

    ``use``: what it is for here, and why this one. One that is not ``needed`` may be missing.
    """

    name: str
    found: Found | str
    remedy: str
    use: str
    needed: bool = True


def find_servers(*, all_of_them: bool = False) -> Servers:
    """Find those that are needed. Raises MissingServers with everything that is missing or too old, not just the first.

    ``all_of_them``: miss those as well that a stack could do without.
    """
    programs = look_around()
    missing = [
        MissingServer(name, one.found, one.remedy, one.needed)
        for name, one in programs.items()
        if isinstance(one.found, str) and (one.needed or all_of_them)
    ]
    if missing:
        raise MissingServers(missing)
    found = {name: one.found for name, one in programs.items() if not isinstance(one.found, str)}
    return Servers(
        postgres=found["postgresql"].place,
        postgres_version=found["postgresql"].version,
        rabbitmq=found["rabbitmq-server"].place / "rabbitmq-server",
        epmd=found["erlang-base"].place,
        toxiproxy=found["toxiproxy-server"].place if "toxiproxy-server" in found else None,
        proxy_server=chosen_proxy_server(),
    )


def look_around() -> dict[str, Program]:
    """Every program by the name of its package, whether it is there or not.

    GAUNTLET_POSTGRES_BIN and GAUNTLET_RABBITMQ_BIN (folders) and GAUNTLET_TOXIPROXY (a file) name a place instead.
    toxiproxy-server is needed where GAUNTLET_PROXY chooses it. Raises EnvironmentFailed if that makes no sense.
    """
    theirs = chosen_proxy_server() == "toxiproxy"
    epmd = shutil.which("epmd", path=f"{os.environ.get('PATH', '')}:/usr/bin:/usr/lib/erlang/bin")
    return {
        "postgresql": Program(
            "PostgreSQL",
            _newest(_POSTGRES, _postgres_folders(), _postgres_version, "PostgreSQL", OLDEST_POSTGRES),
            _apt_line("postgresql"),
            "the database server",
        ),
        "rabbitmq-server": Program(
            "RabbitMQ",
            _newest(_RABBITMQ, _rabbitmq_folders(), _rabbitmq_version, "RabbitMQ", OLDEST_RABBITMQ),
            _apt_line("rabbitmq-server"),
            "the message broker",
        ),
        "erlang-base": Program(
            "epmd",
            Found((), Path(epmd)) if epmd else "Erlang's epmd was not found",
            _apt_line("erlang-base"),
            "the port mapper of the broker",
        ),
        "toxiproxy-server": Program(
            "toxiproxy-server",
            _newest(_TOXIPROXY, _toxiproxy_files(), _toxiproxy_version, "toxiproxy-server", OLDEST_TOXIPROXY),
            toxiproxy_line(),
            f"the proxies, since {PROXY}=toxiproxy" if theirs else "only what tests compare the fault proxy with",
            needed=theirs,
        ),
        faketime.PACKAGE: Program(
            "libfaketime",
            Found((), clock) if (clock := faketime.library()) else "libfaketime was not found",
            faketime.apt_line(),
            "only the faults of a clock",
            needed=False,
        ),
        allure.PACKAGE: Program(
            "Allure Report",
            allure.missing() or Found(_numbers(allure.VERSION) or (), allure.program() or Path()),
            allure.remedy(),
            "only gauntlet report --allure",
            needed=False,
        ),
        chromium.PACKAGE: Program(
            "Chromium",
            Found((), browser) if (browser := chromium.program()) else "Chromium was not found",
            _apt_line(chromium.PACKAGE),
            "only what looks at the pages of runs: tests, and gauntlet demo-reports --screenshots",
            needed=False,
        ),
    }


def chosen_proxy_server() -> ProxyServer:
    """Ours, unless GAUNTLET_PROXY says otherwise. Raises EnvironmentFailed for what it cannot say."""
    match os.environ.get(PROXY) or "wire":
        case "wire":
            return "wire"
        case "toxiproxy":
            return "toxiproxy"
        case named:
            raise EnvironmentFailed(f"{PROXY}={named}: expected wire (the default) or toxiproxy")


def toxiproxy_line() -> str:
    """The command that installs toxiproxy-server where it is found."""
    folder = cache_folder("bin")
    return f"GOBIN={folder} go install {TOXIPROXY_MODULE} && mv {folder}/server {folder}/toxiproxy-server"


def _apt_line(package: str) -> str:
    return f"{'' if os.geteuid() == 0 else 'sudo '}apt-get install {package}"


def _newest(
    variable: str, places: Iterator[Path], version_of: Callable[[Path], Version | None], name: str, oldest: Version
) -> Found | str:
    """The newest of the places, or what is wrong with them."""
    found = [(version, place) for place in places if (version := version_of(place))]
    wanted = ".".join(map(str, oldest))
    if not found:
        named = f" where {variable} says ({os.environ[variable]})" if os.environ.get(variable) else ""
        return f"{name} {wanted} or newer was not found{named}"
    version, place = max(found)
    if version < oldest:
        return f"{name} {wanted} or newer is needed; {place} is {'.'.join(map(str, version))}"
    return Found(version, place)


def _postgres_folders() -> Iterator[Path]:
    if place := os.environ.get(_POSTGRES):
        yield Path(place)
        return
    yield from Path("/usr/lib/postgresql").glob("*/bin")
    if on_path := shutil.which("postgres"):
        yield Path(on_path).resolve().parent


def _postgres_version(folder: Path) -> Version | None:
    if not (folder / "initdb").exists() or not (folder / "postgres").exists():
        return None
    if folder.parent.parent == Path("/usr/lib/postgresql"):
        return _numbers(folder.parent.name)
    return _numbers(_said_by(folder / "postgres", "--version"))


def _rabbitmq_folders() -> Iterator[Path]:
    if place := os.environ.get(_RABBITMQ):
        yield Path(place)
        return
    for base in ("/usr/lib/rabbitmq/lib", "/opt", "/usr/local/lib"):
        yield from Path(base).glob("rabbitmq*/sbin")
    if on_path := shutil.which("rabbitmq-server"):
        yield Path(on_path).resolve().parent


def _rabbitmq_version(folder: Path) -> Version | None:
    """By the folder of the application itself. Debian's wrapper on the PATH has none beside it: it refuses users."""
    if not (folder / "rabbitmq-server").exists():
        return None
    return max((_numbers(place.name) or () for place in folder.parent.glob("plugins/rabbit-[0-9]*")), default=None)


def _toxiproxy_files() -> Iterator[Path]:
    if place := os.environ.get(_TOXIPROXY):
        yield Path(place)
        return
    if on_path := shutil.which("toxiproxy-server"):
        yield Path(on_path)
    yield cache_folder("bin") / "toxiproxy-server"


def _toxiproxy_version(file: Path) -> Version | None:
    """From what the Go linker wrote into the file: one that ``go install`` built calls its own version "git"."""
    if not os.access(file, os.X_OK):
        return None
    with file.open("rb") as handle, mmap.mmap(handle.fileno(), 0, prot=mmap.PROT_READ) as content:
        built = re.search(rb"\tgithub\.com/Shopify/toxiproxy/v2\tv([0-9.]+)", content)
        version = built[1].decode() if built else None
    return _numbers(version or _said_by(file, "-version"))


def _said_by(program: Path, option: str) -> str:
    try:
        return subprocess.run([program, option], capture_output=True, text=True, timeout=5, check=False).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ""


def _numbers(text: str) -> Version | None:
    found = re.search(r"\d+(\.\d+)*", text)
    return tuple(int(part) for part in found[0].split(".")) if found else None
