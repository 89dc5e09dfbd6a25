"""The containers environment with real containers, around a target of one tiny service: ``make test-containers``.

It needs a container engine and both images, so that ``make test`` leaves it out, and says so.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import httpx
import pika
import psycopg
import pytest

from chaos.faults.server_log import ServerLog
from harness.environment import keeper
from harness.environment.boot import boot, down, leftovers
from harness.environment.broker_node import BrokerNode
from harness.environment.capabilities import Killable, Pausable, Restartable
from harness.environment.choice import VARIABLE
from harness.environment.containers import engine
from harness.environment.failures import EnvironmentFailed
from harness.environment.leftovers import end_leftovers
from harness.environment.leftovers import leftovers as left_behind
from harness.environment.stack import Stack, load_stack, stacks_of
from harness.environment.waiting import eventually
from harness.target import PROJECT_ROOT
from tests.test_environment_native import source_of_tiny_target, tiny_target

pytestmark = pytest.mark.containers

_OWNER = """
import sys
from pathlib import Path
from harness.environment.boot import boot
from tests.test_environment_native import tiny_target
root = Path(sys.argv[1])
with boot(tiny_target(), run_dir=root / sys.argv[2], name="main", source_root=root, environment="containers") as stack:
    print("up", flush=True)
    sys.stdin.read()
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return source_of_tiny_target(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def stack(root: Path) -> Iterator[Stack]:
    run_dir = root / "shared"
    with boot(tiny_target(), run_dir=run_dir, name="main", source_root=root, environment="containers") as booted:
        yield booted


def _containers_of(run_dir: Path) -> list[str]:
    """What the engine itself has of a run, whether it runs or not."""
    return [one.short_id for one in engine.containers(f"{engine.RUN}={run_dir.resolve()}")]


def _nothing_is_left(run_dir: Path) -> bool:
    return not _containers_of(run_dir) and not leftovers(run_dir)


def _owner(root: Path, run: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", _OWNER, str(root), run],
        cwd=PROJECT_ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _queue_with(stack: Stack, body: bytes | None = None) -> bytes | None:
    with pika.BlockingConnection(pika.URLParameters(stack.broker_url)) as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        channel.queue_declare("kept", durable=True)
        if body is not None:
            channel.basic_publish("", "kept", body, pika.BasicProperties(delivery_mode=2), mandatory=True)
        got: bytes | None = channel.basic_get("kept")[2]
        return got


def test_the_system_is_reached_through_its_edges_and_knows_where_its_servers_are(stack: Stack) -> None:
    told = httpx.get(stack.edge_url("client→web"), trust_env=False).json()
    with psycopg.connect(told["DATABASE_URL"]) as connection:
        assert connection.execute("SELECT current_user").fetchone() == ("web",)
    with pika.BlockingConnection(pika.URLParameters(told["BROKER_URL"])) as connection:
        assert connection.is_open


def test_servers_are_published_on_the_loopback_address_alone(stack: Stack) -> None:
    for process in (stack.database, stack.broker):
        container = process.record.container
        assert container is not None
        ports = engine.client().containers.get(container.id).attrs["NetworkSettings"]["Ports"]
        published = [one for bindings in ports.values() for one in bindings or ()]
        assert published == [{"HostIp": "127.0.0.1", "HostPort": str(container.published)}]


def test_a_container_can_do_all_that_a_fault_asks_of_a_process(stack: Stack) -> None:
    for process in (stack.database, stack.broker):
        assert isinstance(process, Killable)
        assert isinstance(process, Pausable)
        assert isinstance(process, Restartable)


def test_a_killed_database_comes_back_at_the_same_address_with_what_was_committed(stack: Stack) -> None:
    with psycopg.connect(stack.database_url, autocommit=True) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 1 AS one")
    stack.database.kill()
    assert not stack.database.alive
    assert stack.database.starts[-1].how == "killed"
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(stack.database_url, connect_timeout=2)
    stack.database.start()
    stack.database.await_ready()
    with psycopg.connect(stack.database_url) as connection:
        assert connection.execute("SELECT one FROM kept").fetchone() == (1,)


def test_a_killed_broker_comes_back_with_its_messages(stack: Stack) -> None:
    _queue_with(stack, b"before")
    stack.broker.kill()
    stack.broker.start()
    stack.broker.await_ready()
    assert _queue_with(stack) == b"before"


def test_a_paused_database_answers_nobody_and_goes_on_with_the_same_connections(stack: Stack) -> None:
    with psycopg.connect(stack.database_url, autocommit=True) as connection:
        stack.database.pause()
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(stack.database_url, connect_timeout=2)
        stack.database.resume()
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_a_paused_container_can_be_killed_and_asked_to_end(stack: Stack) -> None:
    stack.database.pause()
    stack.database.kill()
    stack.database.start()
    stack.database.await_ready()
    stack.database.pause()
    assert stack.database.terminate()
    stack.database.start()
    stack.database.await_ready()


def test_a_server_log_of_a_container_is_read_over_its_restart(stack: Stack) -> None:
    told = ServerLog(stack.database)
    with psycopg.connect(stack.database_url) as connection, pytest.raises(psycopg.Error):
        connection.execute("SELECT before_the_restart")
    stack.database.restart()
    with psycopg.connect(stack.database_url) as connection, pytest.raises(psycopg.Error):
        connection.execute("SELECT after_the_restart")
    eventually(lambda: told.count('column "after_the_restart"') == 1, within_s=5, describe="the error to be in the log")
    assert told.count('column "before_the_restart"') == 1


def test_the_broker_node_answers_in_its_container(stack: Stack) -> None:
    node = BrokerNode(stack.broker)
    node.set_memory_alarm(on=True)
    node.set_memory_alarm(on=False)
    assert not node.has_alarm()


@pytest.mark.parametrize("program", ["erl_call", "rabbitmqctl"])
def test_the_firehose_is_on_whoever_is_asked(stack: Stack, program: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if program == "rabbitmqctl":
        monkeypatch.setattr(type(stack.broker), "find_beside", lambda *_: None)
    told = BrokerNode(stack.broker).evaluate("length(element(2,application:get_env(rabbit,trace_vhosts)))")
    assert told == "1"


def test_a_clock_that_cannot_be_skewed_is_refused(stack: Stack) -> None:
    with pytest.raises(EnvironmentFailed, match="runs in a container"):
        stack.database.start(skew_s=10)


def test_a_container_that_ended_by_itself_is_noticed_and_no_verdict_is_given(root: Path) -> None:
    run_dir = root / "ended"
    with boot(tiny_target(), run_dir=run_dir, name="main", source_root=root, environment="containers") as stack:
        container = stack.broker.record.container
        assert container is not None
        stack.assert_standing()
        engine.client().containers.get(container.id).kill()
        with pytest.raises(EnvironmentFailed, match=r"the container of rabbitmq ended(.|\n)*the end of .*rabbitmq-1"):
            stack.assert_standing()


def test_a_boot_does_not_wait_for_services_whose_server_has_gone(tmp_path: Path) -> None:
    """They never come up without it, and would be waited for to the end."""
    root, run_dir = source_of_tiny_target(tmp_path, service="import signal; signal.pause()"), tmp_path / "run"

    def end_its_server(step: str) -> None:
        if step == "database has its schema":
            (server,) = engine.containers(f"{engine.RUN}={run_dir}", f"{engine.PROCESS}=postgres")
            server.kill()

    coming_up = boot(
        tiny_target(), run_dir=run_dir, name="main", source_root=root, environment="containers", on_step=end_its_server
    )
    with pytest.raises(EnvironmentFailed, match=r"the container of postgres ended \(exit code 137\)"), coming_up:
        pytest.fail("it came up")


def test_a_container_that_cannot_start_fails_the_boot_with_its_last_words(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.environment.postgres.SETTINGS", {"no_such_setting": "on"})
    failing = boot(tiny_target(), run_dir=root / "bad", name="main", source_root=root, environment="containers")
    with pytest.raises(EnvironmentFailed, match=r"(?s)postgres ended \(exit code 1\).*no_such_setting"), failing:
        pytest.fail("it came up")
    assert not _containers_of(root / "bad")


def test_owners_that_are_killed_interrupted_or_cut_short_leave_nothing(root: Path) -> None:
    killed, interrupted, early = (_owner(root, run) for run in ("killed", "interrupted", "early"))
    eventually(lambda: _containers_of(root / "early"), within_s=20, describe="a stack that is only half up")
    early.kill()
    early.communicate(timeout=30)
    for owner in (killed, interrupted):
        assert owner.stdout is not None
        assert owner.stdout.readline() == "up\n", owner.communicate()
    killed.kill()
    killed.communicate(timeout=30)
    interrupted.send_signal(signal.SIGINT)
    interrupted.communicate(timeout=30)
    for run in ("killed", "interrupted", "early"):
        eventually(partial(_nothing_is_left, root / run), within_s=20, describe=f"nothing of {run} to be left")


def test_a_kept_stack_stays_until_it_is_taken_down_also_without_its_run_directory(root: Path) -> None:
    run_dir = root / "kept"
    script = "from harness.environment.boot import up; from tests.test_environment_native import tiny_target; "
    script += "import sys; from pathlib import Path; root = Path(sys.argv[1]); "
    script += "up(tiny_target(), run_dir=root / 'kept', name='up', source_root=root)"
    environment = os.environ | {VARIABLE: "containers"}
    subprocess.run([sys.executable, "-c", script, str(root)], cwd=PROJECT_ROOT, env=environment, check=True, timeout=90)
    (kept,) = stacks_of(run_dir)
    kept.database.restart()
    assert len(_containers_of(run_dir)) == 2
    assert not [one for one in left_behind() if one.stack == kept.state_dir]
    shutil.rmtree(run_dir)
    assert down() == [kept.file]
    assert not _containers_of(run_dir)
    assert not kept.state_dir.exists()


def test_what_a_killed_keeper_left_is_told_of_and_swept(root: Path) -> None:
    owner = _owner(root, "abandoned")
    assert owner.stdout is not None
    assert owner.stdout.readline() == "up\n"
    (stack,) = stacks_of(root / "abandoned")
    for pid in keeper.tree([owner.pid]):
        if b"keeper.py" in Path(f"/proc/{pid}/cmdline").read_bytes():
            os.kill(pid, signal.SIGKILL)
    owner.kill()
    owner.communicate(timeout=20)
    mine = [one for one in left_behind() if one.stack == stack.state_dir]
    assert {one.kind for one in mine} == {"state folder", "process", "container"}
    end_leftovers()
    assert not [one for one in left_behind() if one.stack == stack.state_dir]
    assert not _containers_of(root / "abandoned")
    assert load_stack(stack.file).running() == {}
