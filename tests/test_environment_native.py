"""The native environment with its real servers, around a target of one tiny service."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import httpx
import pika
import psycopg
import pytest
from msgspec.structs import replace
from pika.exceptions import AMQPError

from harness.clients.broker import Broker
from harness.clients.tap_to_file import TapToFile
from harness.environment.boot import boot, down, leftovers, sweep
from harness.environment.broker_node import BrokerNode
from harness.environment.capabilities import Killable, Pausable, Restartable
from harness.environment.failures import EnvironmentFailed
from harness.environment.renewal import renew
from harness.environment.stack import Stack, load_stack, stacks_of
from harness.environment.waiting import eventually
from harness.evidence.evidence import process_starts
from harness.evidence.recording import Recording
from harness.evidence.records import BindingRow, ConsumerRow, ExchangeRow, QueueRow, TapMessage
from harness.evidence.run_directory import RunDirectory, read_records
from harness.target import PROJECT_ROOT, Target, load_target

_LOOPBACK = ("0100007F", "00000000000000000000000001000000")  # as the kernel writes 127.0.0.1 and ::1
_SCHEMA = "CREATE ROLE web LOGIN; CREATE SCHEMA web AUTHORIZATION web;"
_SERVICE = """
import http.server, json, os
class Web(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(dict(os.environ)).encode())
    def log_message(self, *_):
        pass
print('{"event": "started"}', flush=True)
http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Web).serve_forever()
"""
_WRITER = """
import sys
from pathlib import Path
from harness.environment.stack import load_stack
stack = load_stack(Path(sys.argv[1]))
for _ in range(300):
    stack.save()
"""
_OWNER = """
import sys
from pathlib import Path
from harness.environment.boot import boot
from tests.test_environment_native import tiny_target
root = Path(sys.argv[1])
with boot(tiny_target(), run_dir=root / sys.argv[2], name="main", source_root=root) as stack:
    print("up", flush=True)
    sys.stdin.read()
"""


def tiny_target() -> Target:
    """The reference target with one service in place of all of its own."""
    reference = load_target()
    web = replace(
        reference.services["crm"],
        command=("${python}", "web.py"),
        ready="/ready",
        environment={
            "PORT": "${port}",
            "DATABASE_URL": "postgresql://web:${password web}@${edge web→database}/${database}",
            "BROKER_URL": "amqp://${broker_user}:${broker_password}@${edge web→broker}/${vhost}",
            "ACCESS_TOKENS": "${tokens}",
        },
    )
    return replace(
        reference,
        name="tiny",
        edges=("client→web", "web→database", "web→broker"),
        database=replace(reference.database, name="tiny", roles=("web",), schema=("web.sql",), transient=()),
        services={"web": web},
    )


def source_of_tiny_target(folder: Path, *, service: str = _SERVICE) -> Path:
    """The source tree of the tiny target."""
    (folder / "web.sql").write_text(_SCHEMA, encoding="utf-8")
    (folder / "web.py").write_text(service, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return source_of_tiny_target(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def stack(root: Path) -> Iterator[Stack]:
    with boot(tiny_target(), run_dir=root / "shared", name="main", source_root=root) as booted:
        yield booted


def _environment_of(stack: Stack) -> dict[str, str]:
    seen: dict[str, str] = httpx.get(stack.edge_url("client→web"), trust_env=False).json()
    return seen


def _owner(root: Path, run: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", _OWNER, str(root), run],
        cwd=PROJECT_ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _nothing_is_left(run_dir: Path) -> bool:
    """Looks wider than the code under test does: at every command line of the machine."""
    folders = [str(stack.state_dir) for stack in stacks_of(run_dir)]
    assert folders, f"no stack was ever written down in {run_dir}"
    commands = [file.read_bytes().decode(errors="replace") for file in Path("/proc").glob("[0-9]*/cmdline")]
    mentions = [command for command in commands for folder in folders if folder in command]
    if mentions or leftovers(run_dir) or any(Path(folder).exists() for folder in folders):
        raise AssertionError(f"still there: {mentions} {leftovers(run_dir)}")
    return True


# --- what is up ------------------------------------------------------------------------------------------------------


def test_a_service_reaches_its_database_and_its_broker_through_the_proxies(stack: Stack) -> None:
    given = _environment_of(stack)
    assert stack.edges["web→database"] in given["DATABASE_URL"]
    with psycopg.connect(given["DATABASE_URL"]) as connection:
        assert connection.execute("SELECT current_user, current_database()").fetchone() == ("web", "tiny")
    assert stack.edges["web→broker"] in given["BROKER_URL"]
    pika.BlockingConnection(pika.URLParameters(given["BROKER_URL"])).close()
    listed = httpx.get(f"{stack.proxies_url}/proxies", trust_env=False).json()
    assert {name: proxy["listen"] for name, proxy in listed.items()} == {
        stack.proxies[edge]: address for edge, address in stack.edges.items()
    }


def test_the_administrator_s_way_leads_past_the_proxies(stack: Stack) -> None:
    assert stack.addresses["database"] in stack.database_url
    with psycopg.connect(stack.database_url) as connection:
        is_superuser = "SELECT usesuper FROM pg_user WHERE usename = current_user"
        assert connection.execute(is_superuser).fetchone() == (True,)
        assert connection.execute("SHOW synchronous_commit").fetchone() == ("on",)
    assert stack.addresses["broker"] in stack.broker_url


def test_a_wrong_password_opens_neither_the_database_nor_the_broker(stack: Stack) -> None:
    for role in ("web", "gauntlet_admin"):
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            psycopg.connect(f"postgresql://{role}:wrong@{stack.addresses['database']}/tiny")
    with pytest.raises(pika.exceptions.ProbableAuthenticationError):
        pika.BlockingConnection(pika.URLParameters(f"amqp://guest:guest@{stack.addresses['broker']}/gauntlet"))


def test_nothing_listens_to_the_outside(stack: Stack) -> None:
    started = [address for name, address in stack.addresses.items() if name not in stack.replicas]
    ours = {int(address.rpartition(":")[2]) for address in (*started, *stack.edges.values())}
    listening = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in Path(table).read_text().splitlines()[1:]:
            local, state = line.split()[1], line.split()[3]
            host, port = local.split(":")
            if state == "0A" and int(port, 16) in ours:
                assert host in _LOOPBACK, f"port {int(port, 16)} listens on {host}"
                listening.add(int(port, 16))
    assert listening == ours


def test_every_process_offers_what_faults_ask_for(stack: Stack) -> None:
    assert set(stack.processes) == {"postgres", "rabbitmq", "epmd", "proxies", "sinks", "web", "web-b"}
    for process in stack.processes.values():
        assert isinstance(process, Killable)
        assert isinstance(process, Pausable)
        assert isinstance(process, Restartable)


def test_the_file_that_holds_the_credentials_is_private(stack: Stack) -> None:
    assert stat.S_IMODE(stack.file.stat().st_mode) == 0o600
    assert load_stack(stack.file) == stack


def test_two_processes_may_write_it_down_at_once(stack: Stack) -> None:
    writers = [subprocess.Popen([sys.executable, "-c", _WRITER, stack.file], cwd=PROJECT_ROOT) for _ in range(2)]
    assert [writer.wait(timeout=30) for writer in writers] == [0, 0]
    assert load_stack(stack.file) == stack
    assert [file.name for file in stack.file.parent.iterdir() if file.suffix == ".tmp"] == []


# --- what can be done to it ------------------------------------------------------------------------------------------


def test_each_start_has_its_own_file_and_the_account_says_how_it_ended(stack: Stack) -> None:
    web = stack.processes["web"]
    before = len(web.starts)
    web.kill()
    web.start()
    web.await_ready()
    os.kill(web.starts[-1].pid, signal.SIGKILL)
    eventually(lambda: not web.alive, within_s=5, describe="the service to be gone")
    web.restart()
    written = load_stack(stack.file).records["web"].starts[before - 1 :]
    assert [start.how for start in written] == ["killed", "crashed", "running"]
    assert all((stack.run_dir / start.file).read_text() == '{"event": "started"}\n' for start in written)
    assert len({start.file for start in written}) == 3


def test_another_command_can_end_and_start_a_process(stack: Stack) -> None:
    elsewhere = load_stack(stack.file)
    elsewhere.processes["web"].kill()
    assert not stack.processes["web"].alive
    elsewhere.processes["web"].restart()
    assert _environment_of(stack)["PORT"]
    elsewhere.processes["web"].kill()
    stack.processes["web"].restart()


def test_a_paused_database_answers_no_session_until_it_is_resumed(stack: Stack) -> None:
    answered = threading.Event()

    def ask(connection: psycopg.Connection[tuple[object, ...]]) -> None:
        connection.execute("SELECT 1")
        answered.set()

    with psycopg.connect(stack.database_url) as connection:
        stack.database.pause()
        question = threading.Thread(target=ask, args=[connection])
        question.start()
        assert not answered.wait(0.3)
        stack.database.resume()
        assert answered.wait(5)
        question.join()


def test_a_killed_database_comes_back_with_what_was_committed(stack: Stack) -> None:
    with psycopg.connect(stack.database_url) as connection:
        connection.execute("CREATE TABLE web.kept AS SELECT 42 AS answer")
    stack.database.kill()
    stack.database.start()
    stack.database.await_ready()
    with psycopg.connect(stack.database_url) as connection:
        assert connection.execute("SELECT answer FROM web.kept").fetchone() == (42,)


def test_a_second_replica_starts_when_it_is_asked_for_and_is_of_its_service(stack: Stack) -> None:
    second = stack.processes["web-b"]
    assert not second.alive
    second.start()
    second.await_ready()
    assert httpx.get(f"{stack.url('web-b')}/ready").json()["PORT"] == stack.addresses["web-b"].rpartition(":")[2]
    starts = process_starts(RunDirectory(stack.run_dir), stack.name)
    assert [start.service for start in starts if start.file.startswith("web-b")] == ["web"]
    assert second.terminate()


def test_the_firehose_copies_what_is_published_and_hides_no_unroutable_message(stack: Stack) -> None:
    with pika.BlockingConnection(pika.URLParameters(stack.broker_url)) as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        channel.queue_declare("tap", durable=True, arguments={"x-queue-type": "quorum"})
        channel.queue_bind("tap", "amq.rabbitmq.trace", "publish.#")
        channel.queue_declare("work", durable=True, arguments={"x-queue-type": "quorum"})
        properties = pika.BasicProperties(message_id="m-1", headers={"attempt": 1})
        channel.basic_publish("", "work", b"routed", properties, mandatory=True)
        with pytest.raises(pika.exceptions.UnroutableError):
            channel.basic_publish("amq.topic", "nowhere", b"lost", properties, mandatory=True)
        copies = [next(channel.consume("tap", auto_ack=True, inactivity_timeout=5)) for _ in range(2)]
        routed = {body: copy.headers["routed_queues"] for _, copy, body in copies}
        assert routed == {b"routed": ["work"], b"lost": []}
        assert {copy.headers["properties"]["message_id"] for _, copy, _ in copies} == {"m-1"}


def test_what_the_tap_saw_is_written_down_while_it_is_seen(stack: Stack, tmp_path: Path) -> None:
    file, bodies = tmp_path / "tap.ndjson", [f"{number} {'x' * (number * 40_000)}" for number in range(8)]
    with closing(Broker(stack.broker_url, tiny_target(), Recording(), tap="written down")) as broker:
        broker.open_tap(lasting=False)
        with (
            TapToFile(broker, file) as tap,
            pika.BlockingConnection(pika.URLParameters(stack.broker_url)) as connection,
        ):
            channel = connection.channel()
            for number, body in enumerate(bodies):
                channel.basic_publish("amq.topic", f"key.{number}", body.encode())
                eventually(lambda: len(tap.latest()) > number, within_s=5, describe="it to be seen")  # noqa: B023
        written = read_records(file, TapMessage)
        assert [(one.routing_key, one.body) for one in written] == [(f"key.{n}", body) for n, body in enumerate(bodies)]
        assert os.listdir(tmp_path) == ["tap.ndjson"]
        broker.close_tap()


def test_a_tap_that_nobody_may_empty_is_told_of(stack: Stack) -> None:
    with (
        closing(Broker(stack.broker_url, tiny_target(), Recording(), tap="nowhere")) as broker,
        pytest.raises(AMQPError, match="NOT_FOUND"),
    ):
        broker.consume_tap()
    wrong = stack.broker_url.replace("://gauntlet:", "://gauntlet:not")
    with closing(Broker(wrong, tiny_target(), Recording())) as broker, pytest.raises((AMQPError, OSError)):
        broker.consume_tap()


def test_what_is_made_anew_has_other_code_and_nothing_of_before(stack: Stack, root: Path, tmp_path: Path) -> None:
    other = source_of_tiny_target(tmp_path, service=_SERVICE.replace("dict(os.environ)", '"other code"'))
    with psycopg.connect(stack.database_url) as session:
        session.execute("CREATE TABLE web.left_over ()")
    with pika.BlockingConnection(pika.URLParameters(stack.broker_url)) as connection:
        connection.channel().queue_declare("left over", durable=True)
    try:
        since = renew(stack, tiny_target(), other)
        assert httpx.get(stack.url("web")).json() == "other code"
        assert since < stack.processes["web"].starts[-1].started_at
        with psycopg.connect(stack.database_url) as session:
            assert session.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'web'").fetchone() == (0,)
        with pika.BlockingConnection(pika.URLParameters(stack.broker_url)) as connection:
            with pytest.raises(pika.exceptions.ChannelClosedByBroker, match="NOT_FOUND"):
                connection.channel().queue_declare("left over", passive=True)
            channel = connection.channel()
            channel.queue_declare("tap")
            channel.queue_bind("tap", "amq.rabbitmq.trace", "publish.#")
            channel.basic_publish("", "tap", b"copied")
            eventually(
                lambda: channel.queue_declare("tap", passive=True).method.message_count == 2, within_s=5, describe="it"
            )
    finally:
        renew(stack, tiny_target(), root)
    assert set(httpx.get(stack.url("web")).json()) > {"PORT"}


def test_many_ask_the_broker_node_at_once_and_each_is_answered(stack: Stack) -> None:
    node = BrokerNode(stack.broker)
    with ThreadPoolExecutor(4) as several:
        assert list(several.map(lambda _: node.has_alarm(), range(40))) == [False] * 40


@pytest.mark.parametrize("program", ["erl_call", "rabbitmqctl"])
def test_the_broker_node_knows_its_topology(stack: Stack, program: str, monkeypatch: pytest.MonkeyPatch) -> None:
    node, which = BrokerNode(stack.broker), shutil.which
    monkeypatch.setattr(shutil, "which", lambda name, **where: which(name, **where) if name == program else None)
    arguments = {"x-queue-type": "quorum", "x-message-ttl": 500, "x-single-active-consumer": True}
    with pika.BlockingConnection(pika.URLParameters(stack.broker_url)) as connection:
        channel = connection.channel()
        channel.exchange_declare("known", "topic", durable=True)
        channel.queue_declare("known.lasting", durable=True, arguments=arguments)
        channel.queue_declare("known.passing", exclusive=True)
        channel.queue_bind("known.lasting", "known", "lead.#")
        channel.basic_qos(prefetch_count=7)
        channel.basic_consume("known.lasting", lambda *_: None, consumer_tag="a consumer with a name that is long")
        node.limit_queue("known.lasting", max_length=3)
        known = node.topology()
        node.unlimit("known.lasting")
        channel.queue_delete("known.lasting")
        channel.exchange_delete("known")
    queues = {queue.name: queue for queue in known.queues if queue.name.startswith("known")}
    in_force = {"queue-type": "quorum", "message-ttl": 500, "single-active-consumer": True}
    in_force |= {"max-length": 3, "overflow": "reject-publish"}
    assert queues["known.lasting"] == QueueRow("known.lasting", True, False, in_force)
    assert queues["known.passing"] == QueueRow("known.passing", False, True, {})
    assert ExchangeRow("known", True) in known.exchanges
    assert BindingRow("known", "lead.#", "known.lasting") in known.bindings
    consumer = ConsumerRow("known.lasting", "a consumer with a name that is long", True, 7)
    assert consumer in known.consumers


def test_a_killed_broker_comes_back_with_its_messages_and_its_firehose(stack: Stack) -> None:
    def tapped(body: bytes) -> bool:
        """Publish into one queue and say whether the tap saw it."""
        with pika.BlockingConnection(pika.URLParameters(stack.broker_url)) as connection:
            channel = connection.channel()
            channel.confirm_delivery()
            for queue in ("kept", "copies"):
                channel.queue_declare(queue, durable=True, arguments={"x-queue-type": "quorum"})
            channel.queue_bind("copies", "amq.rabbitmq.trace", "publish.#")
            channel.basic_publish("", "kept", body, mandatory=True)
            _, _, copy = next(channel.consume("copies", auto_ack=True, inactivity_timeout=1))
            return bool(copy == body)

    assert tapped(b"before")
    # The broker itself forgets a quorum queue that it declared within the last three seconds before a kill -9.
    (registry,) = stack.state_dir.glob("rabbitmq/data/gauntlet@localhost/quorum/*/names.dets")
    eventually(lambda: b"copies" in registry.read_bytes(), within_s=10, describe="the queue to be on disk")
    stack.broker.kill()
    stack.broker.start()
    stack.broker.await_ready()
    # A copy that is made before the tap's queue has elected its leader is lost, so more than one may be needed.
    eventually(lambda: tapped(b"after"), within_s=10, describe="the firehose to copy again")
    with pika.BlockingConnection(pika.URLParameters(stack.broker_url)) as connection:
        assert connection.channel().basic_get("kept", auto_ack=True)[2] == b"before"


# --- how it ends -----------------------------------------------------------------------------------------------------


def test_owners_that_are_killed_interrupted_or_cut_short_leave_nothing(root: Path) -> None:
    """Four owners at once, so that this is also about stacks beside each other: none may hurt another."""
    killed, interrupted, clean, early = (_owner(root, run) for run in ("killed", "interrupted", "clean", "early"))
    eventually(lambda: leftovers(root / "early"), within_s=20, describe="a stack that is only half up")
    early.send_signal(signal.SIGINT)
    _, said = early.communicate(timeout=20)
    assert "KeyboardInterrupt" in said
    eventually(
        lambda: _nothing_is_left(root / "early"), within_s=1, describe="nothing of a half started stack to be left"
    )

    for owner in (killed, interrupted, clean):
        assert owner.stdout is not None
        assert owner.stdout.readline() == "up\n", owner.communicate()
    ports = [address for run in ("killed", "interrupted", "clean") for address in _addresses(root / run)]
    assert len(set(ports)) == len(ports)

    killed.kill()
    killed.communicate(timeout=20)
    interrupted.send_signal(signal.SIGINT)
    interrupted.communicate(timeout=20)
    eventually(lambda: _nothing_is_left(root / "interrupted"), within_s=1, describe="nothing to be left after Ctrl-C")
    eventually(lambda: _nothing_is_left(root / "killed"), within_s=10, describe="nothing to be left after kill -9")

    assert {*leftovers(root / "clean").values()} >= {"main/postgres", "main/rabbitmq", "main/proxies", "main/web"}
    clean.communicate(timeout=20)
    assert clean.returncode == 0
    assert _nothing_is_left(root / "clean")
    (ended,) = stacks_of(root / "clean")
    assert ended.ended
    assert [start.how for start in ended.records["web"].starts] == ["stopped"]


def _addresses(run_dir: Path) -> list[str]:
    (stack,) = stacks_of(run_dir)
    return [*stack.addresses.values(), *stack.edges.values()]


def _kept(root: Path, run: str) -> Stack:
    script = _OWNER.replace("import boot", "import up").replace("with boot(", "up(").replace(") as stack:\n", ")\n")
    script = script.split("    print")[0]
    subprocess.run([sys.executable, "-c", script, str(root), run], cwd=PROJECT_ROOT, check=True, timeout=60)
    (stack,) = stacks_of(root / run)
    return stack


def test_what_was_started_and_not_written_down_is_ended_all_the_same(root: Path) -> None:
    """Its owner was killed in between; of the first start after its birth, or of a later one."""
    stack = _kept(root, "in-between")
    stack.records["web"].starts.clear()
    stack.records["rabbitmq"].starts[-1].how = "killed"
    stack.save()
    assert sweep(root / "in-between") == [stack.file]
    assert _nothing_is_left(root / "in-between")
    (ended,) = stacks_of(root / "in-between")
    assert (ended.records["web"].starts, ended.records["rabbitmq"].starts[-1].how) == ([], "killed")


def test_a_kept_stack_stays_until_it_is_taken_down_and_twice_is_harmless(root: Path) -> None:
    run_dir = root / "kept"
    stack = _kept(root, "kept")
    assert _environment_of(stack)["PORT"]
    stack.processes["web"].restart()
    assert down(run_dir) == [stack.file]
    assert _nothing_is_left(run_dir)
    assert down(run_dir) == []
    assert sweep(run_dir) == []


def test_a_service_that_cannot_start_fails_the_boot_with_its_last_words_and_leaves_nothing(tmp_path: Path) -> None:
    source = source_of_tiny_target(tmp_path, service="raise SystemExit('no settings, no service')")
    failing = boot(tiny_target(), run_dir=tmp_path / "run", name="main", source_root=source)
    with pytest.raises(EnvironmentFailed, match=r"(?s)web ended \(exit code 1\).*no settings, no service"), failing:
        pytest.fail("it came up")
    assert _nothing_is_left(tmp_path / "run")
