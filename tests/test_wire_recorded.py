"""What real clients and real servers say to each other, as the proxy between them tells it."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pika
import psycopg
import pytest
from psycopg import errors

from chaos.proxy.client import FaultProxy
from chaos.proxy.triggers import Trigger
from harness.environment.boot import boot
from harness.environment.servers import PROXY
from harness.environment.stack import Stack
from harness.environment.waiting import eventually
from tests.test_environment_native import tiny_target

_SCHEMA = """
CREATE ROLE web LOGIN; CREATE SCHEMA web AUTHORIZATION web; GRANT CREATE, USAGE ON SCHEMA web TO web;
CREATE TABLE web.leads (id int, name text); CREATE TABLE web.outbox (id int);
ALTER TABLE web.leads OWNER TO web; ALTER TABLE web.outbox OWNER TO web;
"""
_SERVICE = """
import os, uvicorn
async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    while (await receive()).get("more_body"):
        pass
    if scope["path"].startswith("/env"):
        body = [os.environ["DATABASE_URL"].encode(), b" ", os.environ["BROKER_URL"].encode()]
    else:
        body = [b"x" * 10_000] * 20
    status = 204 if scope["path"] == "/nothing" else 200
    headers = [(b"content-type", b"text/plain")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    for part in body if status == 200 else []:
        await send({"type": "http.response.body", "body": part, "more_body": True})
    await send({"type": "http.response.body", "body": b""})
print('{"event": "started"}', flush=True)
uvicorn.run(app, host="127.0.0.1", port=int(os.environ["PORT"]), log_level="critical")
"""


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    root = tmp_path_factory.mktemp("recorded")
    (root / "web.sql").write_text(_SCHEMA, encoding="utf-8")
    (root / "web.py").write_text(_SERVICE, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(PROXY, "wire")
        with boot(tiny_target(), run_dir=root / "run", name="main", source_root=root) as booted:
            yield booted


@pytest.fixture(scope="module")
def urls(stack: Stack) -> list[str]:
    """Of the database and of the broker, through their proxies."""
    return httpx.get(f"{stack.edge_url('client→web')}/env", trust_env=False).text.split()


@pytest.fixture(scope="module")
def proxy(stack: Stack) -> FaultProxy:
    return FaultProxy(stack.proxies_url)


@pytest.fixture(autouse=True)
def nothing_turned_opaque(stack: Stack, proxy: FaultProxy) -> Iterator[None]:
    proxy.record()
    yield
    for edge in ("client→web", "web→database", "web→broker"):
        seen = proxy.seen(edge)
        assert (seen.upstream.opaque, seen.downstream.opaque) == (None, None)


@pytest.fixture
def told(proxy: FaultProxy) -> Callable[..., list[str]]:
    """The events on an edge so far; upstream alone, or downstream alone, or both as they came."""

    def so_far(edge: str, stream: str = "", *, without: tuple[str, ...] = ()) -> list[str]:
        return [
            f"{one.name} {one.detail}".strip()
            for one in proxy.events()
            if one.edge == edge and one.stream.startswith(stream) and one.name not in without
        ]

    return so_far


Told = Callable[..., list[str]]
_OPENED = ("startup", "authenticated")


# --- PostgreSQL ------------------------------------------------------------------------------------------------------


def test_a_transaction_of_psycopg(urls: list[str], told: Told) -> None:
    with psycopg.connect(urls[0], autocommit=True) as connection:
        with connection.transaction():
            connection.execute("INSERT INTO web.leads VALUES (%s, %s)", [1, "x" * 100_000])
            with connection.transaction(force_rollback=True):
                connection.execute("DELETE FROM web.leads")
            with connection.transaction():
                connection.execute("WITH s AS (INSERT INTO web.outbox VALUES (%s)) SELECT pg_notify('wake', '')", [1])
        connection.execute("UPDATE web.outbox SET id = 2")
        assert connection.execute("SELECT length(name) FROM web.leads").fetchone() == (100_000,)
    wrote = "INSERT web.leads, INSERT web.outbox"
    assert told("web→database", without=_OPENED) == [
        "begin", "result", "statement INSERT web.leads", "result INSERT web.leads",
        "statement SAVEPOINT", "result SAVEPOINT", "statement DELETE web.leads", "result DELETE web.leads",
        "statement ROLLBACK", "result ROLLBACK", "statement RELEASE", "result RELEASE",
        "statement SAVEPOINT", "result SAVEPOINT", "statement INSERT web.outbox", "result INSERT web.outbox",
        "statement RELEASE", "result RELEASE", f"commit {wrote}", f"committed {wrote}",
        "commit UPDATE web.outbox", "committed UPDATE web.outbox",
        "statement SELECT web.leads", "result SELECT web.leads",
    ]  # fmt: skip


def test_a_statement_that_psycopg_has_prepared(urls: list[str], told: Told) -> None:
    with psycopg.connect(urls[0], autocommit=True) as connection:
        for number in range(8):
            connection.execute("INSERT INTO web.leads VALUES (%s)", [number])
    assert told("web→database", "up", without=_OPENED).count("commit INSERT web.leads") == 8
    assert "statement PREPARE" in told("web→database", "up")


def test_what_goes_wrong_in_a_transaction(urls: list[str], told: Told) -> None:
    with psycopg.connect(urls[0]) as connection:
        connection.execute("INSERT INTO web.leads VALUES (1)")
        with pytest.raises(errors.UndefinedColumn):
            connection.execute("SELECT nothing FROM web.leads")
        with pytest.raises(errors.InFailedSqlTransaction):
            connection.execute("SELECT 1")
        connection.commit()
        with pytest.raises(errors.SyntaxError):
            connection.execute("SELEKT")
    assert told("web→database", "down", without=_OPENED) == [
        "result", "result INSERT web.leads", "error 42703", "error 25P02", "rolled back INSERT web.leads",
        "result", "error 42601", "rolled back",
    ]  # fmt: skip


def test_rows_that_are_copied_and_a_pipeline_of_psycopg(urls: list[str], told: Told) -> None:
    with psycopg.connect(urls[0], autocommit=True) as connection:
        with connection.cursor() as cursor, cursor.copy("COPY web.leads FROM STDIN") as rows:
            for number in range(1000):
                rows.write_row((number, "name" * 100))
        with connection.cursor() as cursor, cursor.copy("COPY web.leads TO STDOUT") as rows:
            assert sum(1 for _ in rows) >= 1000
        with connection.pipeline() as pipeline:
            connection.execute("INSERT INTO web.outbox VALUES (%s)", [1])
            read = connection.execute("SELECT count(*) FROM web.leads WHERE id > %s", [10])
            pipeline.sync()
            connection.execute("DELETE FROM web.outbox")
        assert read.fetchone() is not None
        connection.execute("SELECT 1")
    assert told("web→database", "down", without=_OPENED) == [
        "committed COPY web.leads", "result COPY", "committed INSERT web.outbox", "committed DELETE web.outbox",
        "result SELECT",
    ]  # fmt: skip


def test_a_session_that_listens_and_one_that_is_cancelled(urls: list[str], told: Told) -> None:
    with psycopg.connect(urls[0], autocommit=True) as listening, psycopg.connect(urls[0], autocommit=True) as other:
        listening.execute("LISTEN wake")
        other.execute("NOTIFY wake")
        assert [one.channel for one in listening.notifies(timeout=5, stop_after=1)] == ["wake"]
        canceller = threading.Timer(0.1, other.cancel_safe)
        canceller.start()
        with pytest.raises(errors.QueryCanceled):
            other.execute("SELECT pg_sleep(10)")
        canceller.join()
    events = told("web→database", without=_OPENED)
    assert {"statement LISTEN wake", "result LISTEN wake", "notification wake", "cancel", "error 57014"} <= set(events)


def test_several_sessions_of_asyncio_at_once(urls: list[str], told: Told) -> None:
    async def work(number: int) -> None:
        async with await psycopg.AsyncConnection.connect(urls[0]) as connection:
            for _ in range(10):
                await connection.execute("INSERT INTO web.leads VALUES (%s)", [number])
                await connection.commit()

    async def together() -> None:
        await asyncio.gather(*(work(number) for number in range(5)))

    asyncio.run(together())
    assert told("web→database", "down").count("committed INSERT web.leads") == 50


# --- AMQP ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def channel(urls: list[str]) -> Iterator[Any]:
    """One with confirms, and a queue."""
    with pika.BlockingConnection(pika.URLParameters(urls[1])) as connection:
        channel = connection.channel()
        channel.queue_declare("work", durable=True)
        channel.confirm_delivery()
        channel.queue_purge("work")
        yield channel


def _consume(channel: Any, count: int) -> list[tuple[int, bytes]]:
    """Delivery tags and bodies."""
    taken: list[tuple[int, bytes]] = []
    for method, _, body in channel.consume("work", inactivity_timeout=10):
        assert method is not None, f"only {len(taken)} of {count} came"
        taken.append((method.delivery_tag, body))
        if len(taken) == count:
            return taken
    raise AssertionError("unreachable")


def test_messages_there_and_back(channel: Any, told: Told) -> None:
    bodies = [b"", b"{}", b"x" * 1_000_000]
    for body in bodies:
        channel.basic_publish("", "work", body, mandatory=True)
    with pytest.raises(pika.exceptions.UnroutableError):
        channel.basic_publish("amq.topic", "nowhere", b"lost", mandatory=True)
    taken = _consume(channel, 3)
    assert [body for _, body in taken] == bodies
    channel.basic_ack(taken[1][0], multiple=True)
    channel.basic_reject(taken[2][0], requeue=False)
    channel.cancel()
    assert channel.basic_get("work") == (None, None, None)
    said, heard = (
        [one for one in told("web→broker", stream) if "." not in one.split()[0]] for stream in ("up", "down")
    )
    assert said[-6:] == [*["publish /work"] * 3, "publish amq.topic/nowhere", "ack /work", "reject /work"]
    came_back = ["return amq.topic/nowhere", "confirm amq.topic/nowhere"]
    assert heard[-8:] == [*["confirm /work"] * 3, *came_back, *["deliver /work"] * 3]
    assert told("web→broker", "down")[-1] == "basic.get-empty"


def test_a_message_that_is_sent_twice_is_confirmed_once_and_so_are_all_behind_it(
    channel: Any, proxy: FaultProxy
) -> None:
    """pika itself raises for a confirm of what it has not published, or has seen confirmed."""
    again = Trigger(stream="upstream", event="publish", action="duplicate", nth=2, times=2)
    armed = proxy.arm("web→broker", again)
    for number in range(4):
        channel.basic_publish("", "work", b"%d" % number, mandatory=True)
    with pytest.raises(pika.exceptions.UnroutableError):
        channel.basic_publish("amq.topic", "nowhere", b"lost", mandatory=True)
    armed.disarm()
    for number in (4, 5):
        channel.basic_publish("", "work", b"%d" % number, mandatory=True)
    assert len(armed.fired()) == 2
    assert [body for _, body in _consume(channel, 8)] == [b"0", b"1", b"1", b"2", b"2", b"3", b"4", b"5"]


def test_a_confirm_that_is_delayed_comes_late(channel: Any, proxy: FaultProxy) -> None:
    late = Trigger(stream="downstream", event="confirm", detail="/work", action="delay", delay_ms=300)
    armed = proxy.arm("web→broker", late)
    started = time.monotonic()
    channel.basic_publish("", "work", b"late", mandatory=True)
    assert time.monotonic() - started >= 0.3
    assert len(armed.fired()) == 1
    armed.disarm()


def test_a_confirm_that_is_dropped_never_comes(urls: list[str], proxy: FaultProxy) -> None:
    """The publisher waits for it until its connection ends, though the message has arrived."""
    armed = proxy.arm("web→broker", Trigger(stream="downstream", event="confirm", action="drop"))
    ended: list[BaseException] = []

    def publish() -> None:
        try:
            publishing.basic_publish("", "work", b"unknown", mandatory=True)
        except pika.exceptions.AMQPError as error:
            ended.append(error)

    publishing = pika.BlockingConnection(pika.URLParameters(urls[1])).channel()
    publishing.queue_declare("work", durable=True)
    publishing.queue_purge("work")
    publishing.confirm_delivery()
    publisher = threading.Thread(target=publish)
    publisher.start()
    assert len(armed.fired(within_s=5)) == 1
    assert ended == []
    proxy.cut("web→broker")
    publisher.join(timeout=10)
    assert len(ended) == 1
    armed.disarm()
    proxy.restore("web→broker")
    with pika.BlockingConnection(pika.URLParameters(urls[1])) as connection:
        assert connection.channel().basic_get("work", auto_ack=True)[2] == b"unknown"


# --- HTTP ------------------------------------------------------------------------------------------------------------


def test_requests_over_one_connection(stack: Stack, told: Told) -> None:
    with httpx.Client(base_url=stack.edge_url("client→web"), trust_env=False) as client:
        assert len(client.get("/big?x=1").content) == 200_000
        client.head("/big")
        client.post("/leads/17/notes", content=b"x" * 300_000)
        client.put("/nothing", content=iter([b"in", b"chunks"]))
    expected = ["GET /big 200", "HEAD /big 200", "POST /leads/{id}/notes 200", "PUT /nothing 204"]
    assert told("client→web", "down") == [f"response {one}" for one in expected]
    assert told("client→web", "up") == [f"request {one.rpartition(' ')[0]}" for one in expected]


def test_the_answer_of_a_request_that_is_dropped_never_comes(stack: Stack, proxy: FaultProxy, told: Told) -> None:
    drop = Trigger(stream="downstream", event="response", detail="POST /leads 200", action="drop")
    armed = proxy.arm("client→web", drop)
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(f"{stack.edge_url('client→web')}/leads", trust_env=False, timeout=0.5)
    assert [one.detail for one in armed.fired()] == ["POST /leads 200"]
    armed.disarm()
    armed = proxy.arm("client→web", Trigger(stream="upstream", event="request", action="duplicate"))
    assert httpx.post(f"{stack.edge_url('client→web')}/leads", trust_env=False).status_code == 200
    eventually(lambda: len(armed.fired()) == 1, within_s=5, describe="the request to be sent twice")
    armed.disarm()


@pytest.mark.parametrize(
    ("stream", "event", "when", "written"),
    [
        ("upstream", "commit", "before", 0),
        ("upstream", "commit", "after", 1),
        ("downstream", "committed", "before", 1),
    ],
)
def test_a_connection_is_cut_at_the_byte_and_so_it_is_known_what_was_written(
    urls: list[str], proxy: FaultProxy, stream: Any, event: str, when: Any, written: int
) -> None:
    cut = Trigger(stream=stream, event=event, detail="*web.outbox", action="cut", when=when)
    with psycopg.connect(urls[0], autocommit=True) as connection:
        connection.execute("TRUNCATE web.outbox")
        armed = proxy.arm("web→database", cut)
        with pytest.raises(psycopg.OperationalError), connection.transaction():
            connection.execute("INSERT INTO web.outbox VALUES (1)")
        assert len(armed.fired(within_s=5)) == 1
        armed.disarm()
    with psycopg.connect(urls[0], autocommit=True) as connection:
        count = "SELECT count(*) FROM web.outbox"
        eventually(lambda: connection.execute(count).fetchone() == (written,), within_s=5, describe=f"{written} rows")
