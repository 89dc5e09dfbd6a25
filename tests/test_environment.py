"""The parts of the native environment that need no server to run."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from harness.environment import faketime, keeper, provide
from harness.environment.failures import EnvironmentFailed, MissingServers
from harness.environment.leftovers import end_leftovers
from harness.environment.leftovers import leftovers as left_behind
from harness.environment.owner import Keeper
from harness.environment.ports import PortLease
from harness.environment.processes import ManagedProcess, ProcessRecord
from harness.environment.servers import find_servers
from harness.environment.waiting import Hopeless, NeverHappened, eventually
from harness.target import PROJECT_ROOT


def _as_script(source: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", source, *arguments],
        cwd=PROJECT_ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def _first_line(script: subprocess.Popen[str]) -> str:
    assert script.stdout is not None
    return script.stdout.readline().strip()


def _gone(state: Path) -> bool:
    return not state.exists() and not keeper.members(state)


# --- waiting ---------------------------------------------------------------------------------------------------------


def test_a_wait_in_vain_says_what_how_long_the_last_seen_and_the_log() -> None:
    with pytest.raises(NeverHappened, match=r"the moon to be full: not so after 0\.\d s .*last seen: 0; see /var/moon"):
        eventually(lambda: 0, within_s=0.05, describe="the moon to be full", log=Path("/var/moon"))


def test_a_probe_that_raises_means_not_yet() -> None:
    answers = iter(["", "", "ready"])

    def probe() -> str:
        if answer := next(answers):
            return answer
        raise ConnectionError("refused")

    assert eventually(probe, within_s=5, describe="readiness", every_s=0.001) == "ready"


def test_a_hopeless_probe_ends_the_wait_at_once() -> None:
    def probe() -> bool:
        raise Hopeless("it is dead")

    started = time.monotonic()
    with pytest.raises(Hopeless, match="it is dead"):
        eventually(probe, within_s=30, describe="a dead process to answer")
    assert time.monotonic() - started < 1


# --- ports -----------------------------------------------------------------------------------------------------------

_TAKE_THREE = """
import sys
from harness.environment.ports import PortLease
lease = PortLease([int(port) for port in sys.argv[1:]])
print(lease.take(), lease.take(), lease.take(), flush=True)
sys.stdin.read()
"""


def test_two_processes_never_hold_the_same_port() -> None:
    with closing(PortLease()) as scout:
        candidates = [scout.take() for _ in range(6)]
    scripts = [_as_script(_TAKE_THREE, *map(str, candidates)) for _ in range(2)]
    taken = [int(port) for script in scripts for port in _first_line(script).split()]
    for script in scripts:
        script.communicate()
    assert sorted(taken) == sorted(candidates)


def test_a_lease_lasts_as_long_as_a_process_that_inherited_it() -> None:
    with closing(PortLease()) as scout:
        candidates = [scout.take()]
    with closing(PortLease(candidates)) as lease:
        lease.take()
        heir = subprocess.Popen(["sleep", "60"], pass_fds=[lease.fileno()])
    try:
        with closing(PortLease(candidates)) as other, pytest.raises(EnvironmentFailed, match="no port is left"):
            other.take()
    finally:
        heir.kill()
        heir.wait()
    with closing(PortLease(candidates)) as other:
        assert other.take() == candidates[0]


def test_leased_ports_lie_outside_the_range_the_kernel_connects_from() -> None:
    low, high = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
    with closing(PortLease()) as lease:
        assert not any(low <= lease.take() <= high for _ in range(50))


# --- servers ---------------------------------------------------------------------------------------------------------


def test_everything_missing_is_named_at_once_with_the_command_that_mends_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for variable in ("GAUNTLET_POSTGRES_BIN", "GAUNTLET_RABBITMQ_BIN", "GAUNTLET_TOXIPROXY"):
        monkeypatch.setenv(variable, str(tmp_path / "nothing"))
    with pytest.raises(MissingServers) as failure:
        find_servers(all_of_them=True)
    said = str(failure.value)
    assert "PostgreSQL 15 or newer was not found" in said
    assert "apt-get install postgresql" in said
    assert "RabbitMQ 3.10 or newer was not found" in said
    assert "apt-get install rabbitmq-server" in said
    assert "toxiproxy-server 2.12 or newer was not found" in said
    assert "go install github.com/Shopify/toxiproxy/v2/cmd/server@v2.12.0" in said


def test_a_broker_that_is_too_old_counts_as_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("sbin/rabbitmq-server", "plugins/rabbit-3.9.27/ebin/rabbit.app"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).touch()
    monkeypatch.setenv("GAUNTLET_RABBITMQ_BIN", str(tmp_path / "sbin"))
    with pytest.raises(MissingServers, match=r"RabbitMQ 3\.10 or newer is needed; .* is 3\.9\.27") as failure:
        find_servers()
    assert [one.name for one in failure.value.missing] == ["rabbitmq-server"]


# --- processes and their keeper --------------------------------------------------------------------------------------

_OWN_A_SLEEPER = """
import os, subprocess, sys
from harness.environment import faketime, keeper, provide
from harness.environment.leftovers import end_leftovers
from harness.environment.leftovers import leftovers as left_behind
from harness.environment.owner import Keeper
watch = Keeper()
mark = {keeper.STACK: str(watch.state_dir), keeper.PROCESS: "sleeper", "PATH": os.environ["PATH"]}
deaf = "trap '' TERM; setsid sleep 60 & setsid sleep 60"  # daemons of a parent that does not want to end
subprocess.Popen(["sh", "-c", deaf], env=mark)
print(watch.state_dir, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def watch() -> Iterator[Keeper]:
    with closing(Keeper()) as keeper_of_this_test:
        yield keeper_of_this_test


def _process(watch: Keeper, folder: Path, script: str) -> ManagedProcess:
    record = ProcessRecord(
        name="thing",
        argv=("sh", "-c", script),
        environment={"PATH": os.environ["PATH"]},
        cwd=folder,
        ready="tcp://127.0.0.1:1",
    )
    return ManagedProcess(record, state_dir=watch.state_dir, run_dir=folder, log_dir=folder, journal=lambda: None)


def test_an_owner_killed_with_9_leaves_no_process_and_no_state_folder() -> None:
    owner = _as_script(_OWN_A_SLEEPER)
    state = Path(_first_line(owner))
    eventually(lambda: len(keeper.members(state)) == 3, within_s=5, describe="two daemons and their parent")
    owner.kill()
    owner.communicate()  # returns although the keeper lives on: it holds none of the owner's pipes
    eventually(lambda: _gone(state), within_s=10, describe="everything of the owner to be gone")


def test_the_keeper_does_not_listen_to_signals_meant_for_its_owner(watch: Keeper) -> None:
    pid = next(pid for pid in keeper.tree([os.getpid()]) if b"keeper.py" in Path(f"/proc/{pid}/cmdline").read_bytes())
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        os.kill(pid, number)
    assert watch.state_dir.exists()
    watch.close()
    assert not watch.state_dir.exists()


def test_a_process_that_ignores_a_polite_request_is_ended_by_force_and_accounted_so(
    watch: Keeper, tmp_path: Path
) -> None:
    process = _process(watch, tmp_path, "trap '' TERM; echo deaf; while :; do sleep 60; done")
    process.start()
    eventually(lambda: "deaf" in process.log.read_text(), within_s=5, describe="the process to be deaf")
    assert process.terminate(within_s=0.1) is False
    assert process.starts[-1].how == "forced"
    assert not keeper.members(watch.state_dir)


def test_an_end_that_nobody_ordered_is_accounted_as_a_crash(watch: Keeper, tmp_path: Path) -> None:
    process = _process(watch, tmp_path, "echo some last words; exit 3")
    process.start()
    with pytest.raises(EnvironmentFailed, match=r"(?s)exit code 3\).*\| some last words"):
        process.await_ready()
    assert [start.how for start in process.starts] == ["crashed"]


def test_a_pause_reaches_descendants_in_sessions_of_their_own(watch: Keeper, tmp_path: Path) -> None:
    process = _process(watch, tmp_path, "setsid sh -c 'while :; do echo; sleep 0.01; done'")
    process.start()
    eventually(lambda: process.log.stat().st_size > 3, within_s=5, describe="the descendant to write")
    process.pause()
    assert {keeper.state_of(pid) for pid in process.tree()} - {"Z"} == {"T"}
    process.resume()
    size = process.log.stat().st_size
    eventually(lambda: process.log.stat().st_size > size, within_s=5, describe="the descendant to write again")
    process.kill()
    assert not keeper.members(watch.state_dir)


def test_a_process_gets_a_clock_that_is_wrong_and_leaves_nothing_of_it_behind(watch: Keeper, tmp_path: Path) -> None:
    """Where libfaketime is installed; elsewhere the error says how."""
    process = _process(watch, tmp_path, "date +%s; exec sleep 60")
    if faketime.library() is None:
        with pytest.raises(EnvironmentFailed, match="apt-get install faketime"):
            process.start(skew_s=3600)
        return
    process.start(skew_s=3600)
    eventually(lambda: process.log.read_text().endswith("\n"), within_s=5, describe="the process to tell the time")
    assert abs(int(process.log.read_text()) - time.time() - 3600) < 60
    assert process.starts[-1].skew_s == 3600
    process.kill()
    assert not list(Path("/dev/shm").glob(f"*faketime*{process.starts[-1].pid}"))
    process.start()
    assert process.starts[-1].skew_s == 0
    eventually(lambda: process.log.read_text().endswith("\n"), within_s=5, describe="the process to tell the time")
    assert abs(int(process.log.read_text()) - time.time()) < 60


def test_another_stack_s_process_is_never_signalled(watch: Keeper, tmp_path: Path) -> None:
    bystander = subprocess.Popen(["sleep", "60"], cwd=watch.state_dir)
    try:
        keeper.send(bystander.pid, signal.SIGKILL, watch.state_dir)
        keeper.end_everything(watch.state_dir, grace_s=0)
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


# --- providing servers -----------------------------------------------------------------------------------------------

_FAKE_APT = """#!/bin/sh
echo "$@" >> {log}
test -x {policy} && echo "daemons forbidden" >> {log}
exit 0
"""


@pytest.fixture
def apt_log(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine without RabbitMQ, where apt-get only takes notes."""
    log, policy = tmp_path / "apt.log", tmp_path / "policy-rc.d"
    program = tmp_path / "apt-get"
    program.write_text(_FAKE_APT.format(log=log, policy=policy), encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("GAUNTLET_RABBITMQ_BIN", str(tmp_path / "nothing"))
    monkeypatch.setenv("GAUNTLET_LIBFAKETIME", __file__)
    monkeypatch.setenv("GAUNTLET_CHROMIUM", sys.executable)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(provide, "_POLICY", policy)
    monkeypatch.setattr(
        provide, "_INSTALLED_OTHERWISE", {name: lambda say: None for name in provide._INSTALLED_OTHERWISE}
    )
    return log


def test_missing_packages_are_installed_without_starting_them(apt_log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    with pytest.raises(MissingServers) as failure:  # this apt-get installs nothing, and that is noticed
        provide.provide()
    assert [one.name for one in failure.value.missing] == ["rabbitmq-server"]
    assert apt_log.read_text().splitlines() == [
        "update -q",
        "daemons forbidden",
        "install -q -y --no-install-recommends rabbitmq-server",
        "daemons forbidden",
    ]
    assert not (apt_log.parent / "policy-rc.d").exists()


def test_without_rights_nothing_is_tried_and_the_command_is_named(
    apt_log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(provide, "_as_root", lambda: None)
    with pytest.raises(MissingServers, match="apt-get install rabbitmq-server"):
        provide.provide()
    assert not apt_log.exists()


def test_libfaketime_is_installed_where_it_may_and_a_stack_comes_up_without(
    apt_log: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.delenv("GAUNTLET_RABBITMQ_BIN")
    monkeypatch.setenv("GAUNTLET_LIBFAKETIME", str(tmp_path / "nothing"))
    (tmp_path / "apt-get").write_text(f"#!/bin/sh\necho $@ >> {apt_log}\nexit 100\n", encoding="utf-8")
    said: list[str] = []
    assert provide.provide(on_step=said.append).rabbitmq.exists()
    assert "faketime" in apt_log.read_text() or "update" in apt_log.read_text()
    assert any("going on without" in one for one in said)


def test_what_a_killed_keeper_left_is_told_of_and_swept_and_what_lives_is_not(tmp_path: Path) -> None:
    alive, dead = Keeper(), Keeper()
    try:
        process = _process(dead, tmp_path, "sleep 60")
        process.start()
        assert not [one for one in left_behind() if one.stack in (alive.state_dir, dead.state_dir)]
        (keeper_pid,) = (pid for pid in keeper.tree([os.getpid()]) if _holds(pid, dead.state_dir / keeper.LOCK))
        os.kill(keeper_pid, signal.SIGKILL)
        eventually(lambda: not keeper.is_kept(dead.state_dir), within_s=5, describe="the keeper to be dead")
        assert {one.kind for one in left_behind() if one.stack == dead.state_dir} == {"state folder", "process"}
        end_leftovers()
        assert not dead.state_dir.exists()
        assert not process.alive
        assert alive.state_dir.exists()
    finally:
        alive.close()
        dead.close()


def _holds(pid: int, file: Path) -> bool:
    try:
        return any(link.readlink() == file for link in Path(f"/proc/{pid}/fd").iterdir())
    except OSError:
        return False


def test_one_that_is_nice_to_have_and_cannot_be_had_keeps_no_other_away(
    apt_log: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.delenv("GAUNTLET_RABBITMQ_BIN")
    for variable in ("GAUNTLET_LIBFAKETIME", "GAUNTLET_CHROMIUM"):
        monkeypatch.setenv(variable, str(tmp_path / "nothing"))
    unable = f"#!/bin/sh\necho $@ >> {apt_log}\ncase $* in *faketime) exit 100; esac\n"
    (tmp_path / "apt-get").write_text(unable, encoding="utf-8")
    assert provide.provide().rabbitmq.exists()
    assert "install -q -y --no-install-recommends chromium" in apt_log.read_text().splitlines()


def test_without_rights_it_is_said_what_could_be_had_with_them(
    apt_log: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("GAUNTLET_RABBITMQ_BIN")
    monkeypatch.setenv("GAUNTLET_CHROMIUM", str(tmp_path / "nothing"))
    monkeypatch.setattr(provide, "_as_root", lambda: None)
    said: list[str] = []
    for _ in range(2):  # it costs no time, and who has the right to install it by then gets it at once
        provide.provide(on_step=said.append)
    assert said[0] == said[1]
    assert re.fullmatch(
        r"going on without chromium \(Chromium was not found\); to install it: .*apt-get install chromium", said[0]
    )


@pytest.mark.parametrize("name", ["toxiproxy-server", "allure"])
def test_what_is_nice_to_have_and_could_not_be_had_is_not_tried_again_before_a_day_is_over(
    name: str, apt_log: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    tried: list[str] = []
    said: list[str] = []

    def unreachable(say: Callable[[str], None]) -> None:
        tried.append(name)
        raise EnvironmentFailed("its registry cannot be reached")

    monkeypatch.delenv("GAUNTLET_RABBITMQ_BIN")
    monkeypatch.setenv("GAUNTLET_TOXIPROXY", str(tmp_path / "nothing"))
    monkeypatch.setattr(provide, "_INSTALLED_OTHERWISE", {**provide._INSTALLED_OTHERWISE, name: unreachable})
    assert provide.provide(on_step=said.append).rabbitmq.exists()
    assert said == ["going on without: its registry cannot be reached"]
    provide.provide(on_step=said.append)
    assert tried == [name]
    assert re.fullmatch(rf"going on without {name}: .* --install --again", said[1])
    provide.provide(again=True)
    assert tried == [name, name]
    note = tmp_path / "cache" / "gauntlet" / "not-provided" / name
    assert "its registry cannot be reached" in note.read_text()
    os.utime(note, (time.time() - 86_500, time.time() - 86_500))
    provide.provide()
    assert tried == [name, name, name]
