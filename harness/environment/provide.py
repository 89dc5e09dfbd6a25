"""Install the servers that are missing, where that needs no password; otherwise say in one line what a person must run.

The packages are the distribution's own. Installing them tries to start them as services of the machine, which nobody
here wants: where there is no policy about that, one that forbids it is put in place for the moment.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from harness.environment import allure
from harness.environment.failures import EnvironmentFailed, MissingServer, MissingServers
from harness.environment.folders import cache_folder
from harness.environment.servers import TOXIPROXY_MODULE, Servers, find_servers

_POLICY = Path("/usr/sbin/policy-rc.d")
_FORBID = "#!/bin/sh\nexit 101\n"
_AGAIN_AFTER_S = 24 * 3600

OnStep = Callable[[str], None]


def provide(*, again: bool = False, on_step: OnStep | None = None) -> Servers:
    """Install what is missing, and find what is needed. Raises MissingServers with what is needed and still missing.

    What is only nice to have keeps nobody waiting twice: where installing it has failed within a day, that is said and
    not tried, unless it is to be tried ``again``.
    """
    say = on_step or (lambda step: None)
    try:
        return find_servers(all_of_them=True)
    except MissingServers as error:
        missing = error.missing
    packages = [one for one in missing if one.name not in _INSTALLED_OTHERWISE]
    if needed := [one for one in packages if one.needed]:
        _install_packages([one.name for one in needed], packages, say)
    for one in missing:
        if not one.needed:
            _install_spare(one, say, again=again)
        elif one.name in _INSTALLED_OTHERWISE:
            _install(one, say)
    return find_servers()


def _install_spare(one: MissingServer, say: OnStep, *, again: bool) -> None:
    """One that a stack can do without: who cannot have it should not wait for that each time."""
    failure = _Failure(cache_folder("not-provided") / one.name)
    if failure.is_recent and not again:
        say(f"going on without {one.name}: {failure}; to try it again: gauntlet servers --install --again")
        return
    try:
        _install(one, say)
    except MissingServers:  # nothing was tried
        say(f"going on without {one.name} ({one.problem}); to install it: {one.remedy}")
    except EnvironmentFailed as failed:
        failure.note(failed)
        say(f"going on without: {failed}")


def _install(one: MissingServer, say: OnStep) -> None:
    if one.name in _INSTALLED_OTHERWISE:
        _INSTALLED_OTHERWISE[one.name](say)
    else:
        _install_packages([one.name], [one], say)


class _Failure:
    """The last time that something could not be installed, kept in a file."""

    def __init__(self, file: Path) -> None:
        self._file = file

    @property
    def is_recent(self) -> bool:
        return self._file.exists() and time.time() - self._file.stat().st_mtime < _AGAIN_AFTER_S

    def note(self, failed: EnvironmentFailed) -> None:
        self._file.write_text(f"{failed}\n", encoding="utf-8")

    def __str__(self) -> str:
        at = datetime.fromtimestamp(self._file.stat().st_mtime).strftime("%Y-%m-%d %H:%M")
        return f"it could not be installed on {at} ({self._file} says why)"


def _install_packages(names: list[str], missing: list[MissingServer], say: OnStep) -> None:
    root = _as_root()
    if root is None or shutil.which("apt-get") is None:
        raise MissingServers(missing)
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    with _no_daemons():
        for action in (["update", "-q"], ["install", "-q", "-y", "--no-install-recommends", *names]):
            command = [*root, "apt-get", *action]
            say(" ".join(command))
            _run(command, environment)


def _install_toxiproxy(say: OnStep) -> None:
    if shutil.which("go") is None:
        return
    folder = cache_folder("bin")
    say(f"go install {TOXIPROXY_MODULE}")
    _run(["go", "install", TOXIPROXY_MODULE], os.environ | {"GOBIN": str(folder)})
    (folder / "server").rename(folder / "toxiproxy-server")


def _install_allure(say: OnStep) -> None:
    if allure.node() is None or shutil.which("npm") is None:
        return
    command = allure.install_command()
    say(" ".join(command))
    _run(command, dict(os.environ))


_INSTALLED_OTHERWISE = {"toxiproxy-server": _install_toxiproxy, allure.PACKAGE: _install_allure}
"""What is no package of the distribution. Each is left out where what installs it is not here: ``find_servers`` says
afterwards all that there is to say."""


def _as_root() -> list[str] | None:
    """The words to put before a command so that it runs as root; None where a password would be asked for."""
    if os.geteuid() == 0:
        return []
    sudo = shutil.which("sudo")
    if sudo is None:
        return None
    allowed = subprocess.run([sudo, "-n", "true"], stdin=subprocess.DEVNULL, capture_output=True, check=False)
    return [sudo, "-n", "env", "DEBIAN_FRONTEND=noninteractive"] if allowed.returncode == 0 else None


@contextmanager
def _no_daemons() -> Iterator[None]:
    if os.geteuid() != 0 or _POLICY.exists() or not _POLICY.parent.is_dir():
        yield
        return
    _POLICY.write_text(_FORBID, encoding="ascii")
    _POLICY.chmod(0o755)
    try:
        yield
    finally:
        _POLICY.unlink()


def _run(command: list[str], environment: dict[str, str]) -> None:
    done = subprocess.run(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    if done.returncode != 0:
        tail = b"\n".join(done.stdout.splitlines()[-15:]).decode(errors="replace")
        raise EnvironmentFailed(f"{' '.join(command)} failed with exit code {done.returncode}:\n{tail}")
