"""What the fault proxy of this project can do beyond Toxiproxy: it acts at events of the wire, over real sockets."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import pika
import pytest
from pika import frame, spec

from chaos.proxy.client import FaultProxy, ProxyError
from chaos.proxy.triggers import Fired, Trigger
from harness.environment.waiting import eventually
from harness.target import PROJECT_ROOT
from tests.proxied import LONG_MS, WITHIN_S, Pair, ProxyServer, Stopwatch, Through, is_silent, received, rest, running

REQUEST = b"POST /deals HTTP/1.1\r\nHost: crm\r\nContent-Length: 2\r\n\r\n{}"
ANSWER = b"HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\n{}"
OTHER = b"GET /leads HTTP/1.1\r\nHost: crm\r\n\r\n"
OTHER_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n[1]"
GREETING = b"AMQP\x00\x00\x09\x01"


@pytest.fixture(scope="module")
def _process() -> Iterator[ProxyServer]:
    with running("ours", "-seed", "7") as server:
        yield server


@pytest.fixture
def server(_process: ProxyServer) -> Iterator[ProxyServer]:
    yield _process
    _process.forget()


@pytest.fixture
def http(server: ProxyServer) -> Through:
    return server.through(protocol="http")


@pytest.fixture
def amqp(server: ProxyServer) -> Through:
    return server.through(protocol="amqp")


@pytest.fixture
def proxy(server: ProxyServer) -> FaultProxy:
    return FaultProxy(server.url)


def method(said: Any) -> bytes:
    return bytes(frame.Method(1, said).marshal())


def publish(body: bytes, key: str = "lead.created") -> bytes:
    begins = method(spec.Basic.Publish(exchange="crm.events", routing_key=key))
    header = frame.Header(1, len(body), pika.BasicProperties()).marshal()
    return begins + bytes(header) + bytes(frame.Body(1, body).marshal())


def confirm(tag: int, *, multiple: bool = False) -> bytes:
    return method(spec.Basic.Ack(tag, multiple))


def publisher(amqp: Through) -> Pair:
    """A connection on which a client is about to publish with confirms."""
    pair = amqp.pair()
    hello = GREETING + method(spec.Channel.Open()) + method(spec.Confirm.Select())
    pair.client.sendall(hello)
    assert received(pair.server, len(hello)) == hello
    answer = method(spec.Channel.OpenOk()) + method(spec.Confirm.SelectOk())
    pair.server.sendall(answer)
    assert received(pair.client, len(answer)) == answer
    return pair


# --- triggers: where they act -------------------------------------------------------------------------------------


@pytest.mark.parametrize("cuts", [[], [1], [20, 40], [len(REQUEST) - 1]])
def test_cut_before_an_event_lets_no_byte_of_it_pass_whatever_the_chunks(
    http: Through, proxy: FaultProxy, cuts: list[int]
) -> None:
    armed = proxy.arm(http.name, Trigger(event="request", stream="upstream", action="cut", nth=2))
    pair = http.pair()
    pair.client.sendall(REQUEST)
    assert received(pair.server, len(REQUEST)) == REQUEST
    stream = REQUEST + REQUEST
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        pair.client.sendall(stream[start:end])
    assert rest(pair.server) == (b"", "reset")
    assert rest(pair.client) == (b"", "reset")
    assert [one.detail for one in armed.fired(WITHIN_S)] == ["POST /deals"]


def test_cut_after_an_event_lets_all_of_it_pass_and_nothing_behind(http: Through, proxy: FaultProxy) -> None:
    armed = proxy.arm(http.name, Trigger(event="request", stream="upstream", action="cut", when="after"))
    pair = http.pair()
    pair.client.sendall(REQUEST + OTHER)
    assert rest(pair.server) == (REQUEST, "reset")
    assert rest(pair.client) == (b"", "reset")
    (fired,) = armed.fired(WITHIN_S)
    assert fired == Fired(fired.at, 1, "POST /deals")


def test_cut_after_a_large_event_waits_until_it_has_left(http: Through, proxy: FaultProxy) -> None:
    proxy.arm(http.name, Trigger(event="request", stream="upstream", action="cut", when="after"))
    pair = http.pair()
    request = b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 16000000\r\n\r\n" + bytes(16_000_000)
    with ThreadPoolExecutor(1) as sending:
        sending.submit(pair.client.sendall, request + OTHER)
        data, how = rest(pair.server)
    assert (len(data), how) == (len(request), "reset")


def test_a_trigger_that_is_disarmed_before_its_turn_does_nothing(http: Through, proxy: FaultProxy) -> None:
    first = proxy.arm(http.name, Trigger(event="request", stream="upstream", action="stall"))
    second = proxy.arm(http.name, Trigger(event="request", stream="upstream", action="cut"))
    pair = http.pair()
    pair.client.sendall(REQUEST)
    assert first.fired(WITHIN_S)
    second.disarm()
    first.disarm()
    assert received(pair.server, len(REQUEST)) == REQUEST
    assert second.fired() == []


def test_the_second_confirm_of_a_routing_key_is_dropped_and_no_other(amqp: Through, proxy: FaultProxy) -> None:
    trigger = Trigger(event="confirm", stream="downstream", action="drop", detail="*/lead.created", nth=2)
    armed = proxy.arm(amqp.name, trigger)
    pair = publisher(amqp)
    messages = publish(b"1") + publish(b"2", "deal.won") + publish(b"3") + publish(b"4")
    pair.client.sendall(messages)
    assert received(pair.server, len(messages)) == messages
    pair.server.sendall(b"".join(map(confirm, (1, 2, 3, 4))))
    passed = confirm(1) + confirm(2) + confirm(4)
    assert received(pair.client, len(passed)) == passed
    assert [one.detail for one in armed.fired()] == ["crm.events/lead.created"]


def test_an_answer_is_dropped_and_the_connection_goes_on(http: Through, proxy: FaultProxy) -> None:
    trigger = Trigger(event="response", stream="downstream", action="drop", detail="POST /deals *")
    armed = proxy.arm(http.name, trigger)
    pair = http.pair()
    pair.client.sendall(REQUEST + OTHER)
    received(pair.server, len(REQUEST + OTHER))
    pair.server.sendall(ANSWER + OTHER_ANSWER)
    assert received(pair.client, len(OTHER_ANSWER)) == OTHER_ANSWER
    assert [one.detail for one in armed.fired()] == ["POST /deals 201"]


def test_stall_keeps_one_direction_of_one_connection_until_it_is_disarmed(http: Through, proxy: FaultProxy) -> None:
    armed = proxy.arm(http.name, Trigger(event="request", stream="upstream", action="stall", when="after"))
    stalled, free = http.pair(), http.pair()
    stalled.client.sendall(REQUEST + OTHER)
    assert received(stalled.server, len(REQUEST)) == REQUEST
    assert armed.fired(WITHIN_S)
    stalled.server.sendall(ANSWER)
    assert received(stalled.client, len(ANSWER)) == ANSWER
    free.client.sendall(OTHER)
    assert received(free.server, len(OTHER)) == OTHER
    assert is_silent(stalled.server)
    armed.disarm()
    assert received(stalled.server, len(OTHER)) == OTHER


def test_delay_holds_a_direction_up_for_so_long(http: Through, proxy: FaultProxy) -> None:
    proxy.arm(http.name, Trigger(event="request", stream="upstream", action="delay", delay_ms=120))
    pair = http.pair()
    watch = Stopwatch()
    pair.client.sendall(REQUEST)
    assert received(pair.server, len(REQUEST)) == REQUEST
    assert watch.s >= 0.12


def test_disarming_ends_a_delay(http: Through, proxy: FaultProxy) -> None:
    armed = proxy.arm(http.name, Trigger(event="request", stream="upstream", action="delay", delay_ms=LONG_MS))
    pair = http.pair()
    pair.client.sendall(REQUEST)
    assert armed.fired(WITHIN_S)
    armed.disarm()
    armed.disarm()
    assert received(pair.server, len(REQUEST)) == REQUEST
    assert len(armed.fired()) == 1


@pytest.mark.parametrize("when", ["before", "after"])
def test_hold_lets_nothing_pass_anywhere_until_it_is_disarmed_and_loses_nothing(
    server: ProxyServer, http: Through, proxy: FaultProxy, when: Any
) -> None:
    other = server.through()
    there, beside, elsewhere = http.pair(), http.pair(), other.pair()
    trigger = Trigger(event="request", stream="upstream", action="hold", when=when, hold=(other.name,))
    armed = proxy.arm(http.name, trigger)
    there.client.sendall(REQUEST + OTHER)
    assert armed.fired(WITHIN_S)
    new = http.pair()
    ways = [
        (there.client, there.server), (there.server, there.client), (beside.server, beside.client),
        (elsewhere.client, elsewhere.server), (elsewhere.server, elsewhere.client), (new.server, new.client),
    ]  # fmt: skip
    for number, (sender, _) in enumerate(ways[1:]):
        sender.sendall(b"held %d" % number)
    if when == "after":
        assert received(there.server, len(REQUEST)) == REQUEST
    for _, receiver in ways:
        assert is_silent(receiver, 0.03)
    armed.disarm()
    left = OTHER if when == "after" else REQUEST + OTHER
    assert received(there.server, len(left)) == left
    for number, (_, receiver) in enumerate(ways[1:]):
        assert received(receiver, 6) == b"held %d" % number


def test_an_end_is_held_as_well(http: Through, proxy: FaultProxy) -> None:
    armed = proxy.arm(http.name, Trigger(event="request", stream="upstream", action="hold"))
    pair = http.pair()
    pair.client.sendall(REQUEST)
    pair.client.close()
    assert armed.fired(WITHIN_S)
    assert is_silent(pair.server)
    armed.disarm()
    assert rest(pair.server) == (REQUEST, "end")


def test_a_publish_happens_twice_and_its_publisher_sees_only_its_own_confirms(amqp: Through, proxy: FaultProxy) -> None:
    proxy.arm(amqp.name, Trigger(event="publish", stream="upstream", action="duplicate", nth=2))
    pair = publisher(amqp)
    one, two, three = publish(b"one"), publish(b"two"), publish(b"three")
    pair.client.sendall(one + two + three)
    seen = one + two + two + three
    assert received(pair.server, len(seen)) == seen
    pair.server.sendall(confirm(1) + confirm(2) + confirm(3) + confirm(4))
    expected = confirm(1) + confirm(2) + confirm(3)
    assert received(pair.client, len(expected)) == expected
    assert is_silent(pair.client)


def test_a_request_happens_twice_and_its_client_sees_one_answer(http: Through, proxy: FaultProxy) -> None:
    proxy.arm(http.name, Trigger(event="request", stream="upstream", action="duplicate"))
    pair = http.pair()
    pair.client.sendall(REQUEST)
    assert received(pair.server, len(REQUEST)) == REQUEST
    again = http.api.kept(http.upstream.accept()[0])
    assert received(again, len(REQUEST)) == REQUEST
    again.sendall(ANSWER)
    assert rest(again) == (b"", "end")
    assert is_silent(pair.client)
    pair.server.sendall(ANSWER)
    assert received(pair.client, len(ANSWER)) == ANSWER


def test_nth_counts_over_all_connections_and_times_says_how_often(http: Through, proxy: FaultProxy) -> None:
    armed = proxy.arm(http.name, Trigger(event="request", stream="upstream", action="drop", nth=2, times=2))
    pairs = [http.pair() for _ in range(4)]
    for number, pair in enumerate(pairs, start=1):
        pair.client.sendall(REQUEST)
        eventually(
            lambda so_many=number: proxy.seen(http.name).upstream.events.get("request") == so_many,  # type: ignore[misc]
            within_s=WITHIN_S,
            describe="the request was seen",
        )
    for pair in (pairs[0], pairs[3]):
        assert received(pair.server, len(REQUEST)) == REQUEST
    for pair in pairs[1:3]:
        assert is_silent(pair.server, 0.03)
    assert [one.connection for one in armed.fired()] == [2, 3]


def test_triggers_act_on_what_has_come_through_the_toxics(http: Through, proxy: FaultProxy) -> None:
    http.add("slicer", "upstream", average_size=3, size_variation=1, delay=0)
    http.add("latency", "upstream", latency=20)
    armed = proxy.arm(http.name, Trigger(event="request", stream="upstream", action="cut", when="after", nth=2))
    pair = http.pair()
    pair.client.sendall(REQUEST + OTHER + REQUEST)
    assert rest(pair.server) == (REQUEST + OTHER, "reset")
    assert len(armed.fired(WITHIN_S)) == 1


def test_an_event_that_has_passed_in_part_is_not_acted_on(http: Through, proxy: FaultProxy) -> None:
    pair = http.pair()
    pair.client.sendall(REQUEST[:10])
    assert received(pair.server, 10) == REQUEST[:10]
    armed = proxy.arm(http.name, Trigger(event="request", stream="upstream", action="cut"))
    pair.client.sendall(REQUEST[10:] + OTHER)
    assert rest(pair.server) == (REQUEST[10:], "reset")
    assert [one.detail for one in armed.fired(WITHIN_S)] == ["GET /leads"]


def test_what_is_withheld_goes_on_when_the_trigger_is_disarmed(http: Through, proxy: FaultProxy) -> None:
    armed = proxy.arm(http.name, Trigger(event="request", stream="upstream", action="cut"))
    pair = http.pair()
    pair.client.sendall(REQUEST[:10])
    assert is_silent(pair.server)
    armed.disarm()
    assert received(pair.server, 10) == REQUEST[:10]
    pair.client.sendall(REQUEST[10:])
    assert received(pair.server, len(REQUEST) - 10) == REQUEST[10:]


def test_waiting_for_a_trigger_ends_with_the_first_time_it_acts(http: Through, proxy: FaultProxy) -> None:
    armed = proxy.arm(http.name, Trigger(event="request", stream="upstream", action="drop"))
    pair = http.pair()
    with ThreadPoolExecutor(1) as waiting:
        fired = waiting.submit(armed.fired, WITHIN_S)
        assert is_silent(pair.server)
        assert not fired.done()
        pair.client.sendall(REQUEST)
        assert len(fired.result()) == 1


@pytest.mark.parametrize(
    ("trigger", "said"),
    [
        (Trigger(event="publish", stream="upstream", action="cut"), "knows request"),
        (Trigger(event="response", stream="downstream", action="duplicate"), "cannot be duplicated"),
        (Trigger(event="request", stream="upstream", action="hold", hold=("nowhere",)), "proxy not found"),
    ],
)
def test_a_trigger_that_could_never_act_is_refused(
    http: Through, proxy: FaultProxy, trigger: Trigger, said: str
) -> None:
    with pytest.raises(ProxyError, match=said):
        proxy.arm(http.name, trigger)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"action": "delay"}, "delay_ms"),
        ({"action": "drop", "when": "after"}, "cannot be dropped"),
        ({"action": "cut", "nth": 0}, "nth"),
        ({"action": "cut", "colour": "red"}, "colour"),
    ],
)
def test_a_trigger_that_makes_no_sense_is_refused(
    server: ProxyServer, http: Through, asked: dict[str, Any], said: str
) -> None:
    trigger = {"name": "t1", "event": "request", "stream": "upstream", **asked}
    answer = server.ask("POST", f"/proxies/{http.name}/triggers", trigger)
    assert answer.status_code == 400
    assert said in answer.json()["error"]


def test_on_opaque_bytes_there_is_nothing_to_trigger(server: ProxyServer, proxy: FaultProxy) -> None:
    with pytest.raises(ProxyError, match="create the proxy with a protocol"):
        proxy.arm(server.through().name, Trigger(event="request", stream="upstream", action="cut"))


def test_toxiproxy_knows_no_triggers_and_the_adapter_says_so() -> None:
    with running("toxiproxy-server") as server:
        through, proxy = server.through(), FaultProxy(server.url)
        assert not proxy.wire_aware
        with pytest.raises(ProxyError, match="not the wire-aware proxy"):
            proxy.arm(through.name, Trigger(event="request", stream="upstream", action="cut"))


@pytest.mark.parametrize(
    ("kind", "attributes"),
    [("bandwidth", {"rate": 0}), ("latency", {"latency": LONG_MS}), ("reset_peer", {"timeout": LONG_MS}), (None, {})],
    ids=["bandwidth", "latency", "reset_peer", "a trigger"],
)
def test_what_is_held_up_makes_its_sender_wait_and_is_whole_afterwards(
    http: Through, proxy: FaultProxy, kind: str | None, attributes: dict[str, int]
) -> None:
    """A proxy that took all that comes would run out of memory, and its clients would believe it sent."""
    if kind:
        path = http.add(kind, "upstream", **attributes)
    else:
        armed = proxy.arm(http.name, Trigger(event="request", stream="upstream", action="stall", when="after"))
    pair = http.pair()
    data = REQUEST + b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 60000000\r\n\r\n" + bytes(60_000_000)
    with ThreadPoolExecutor(1) as sending:
        sent = sending.submit(pair.client.sendall, data)
        with pytest.raises(TimeoutError):
            sent.result(0.7)
        http.api.ask("DELETE", path) if kind else armed.disarm()
        assert received(pair.server, len(data)) == data
        sent.result()


# --- evidence -----------------------------------------------------------------------------------------------------


def test_what_has_passed_is_counted(http: Through, proxy: FaultProxy) -> None:
    pair = http.pair()
    pair.client.sendall(REQUEST + OTHER)
    received(pair.server, len(REQUEST + OTHER))
    pair.server.sendall(ANSWER)
    received(pair.client, len(ANSWER))
    seen = proxy.seen(http.name)
    assert (seen.connections, seen.open, seen.refused) == (1, 1, 0)
    assert (seen.upstream.bytes, seen.upstream.events) == (len(REQUEST + OTHER), {"request": 2})
    assert (seen.downstream.bytes, seen.downstream.events) == (len(ANSWER), {"response": 1})
    assert seen.upstream.opaque is None
    proxy.forget(http.name)
    seen = proxy.seen(http.name)
    assert (seen.connections, seen.open, seen.upstream.bytes, seen.upstream.events) == (0, 1, 0, {})


def test_a_stream_that_is_not_understood_passes_and_says_why(http: Through, proxy: FaultProxy) -> None:
    pair = http.pair()
    pair.client.sendall(b"\x16\x03\x01 this is no HTTP")
    assert received(pair.server, 19) == b"\x16\x03\x01 this is no HTTP"
    assert proxy.seen(http.name).upstream.opaque


def test_a_refused_upstream_is_counted(http: Through, proxy: FaultProxy) -> None:
    http.upstream.close()
    with pytest.raises(ConnectionResetError):
        http.dial().recv(1)
    assert proxy.seen(http.name).refused == 1


def test_a_toxic_is_attested_only_where_it_acted(http: Through, proxy: FaultProxy) -> None:
    http.add("latency", "upstream", latency=1)
    paths = [http.add("bandwidth", "downstream", rate=0), http.add("timeout", "downstream", timeout=0)]
    http.add("slow_close", "downstream", delay=1)
    pair = http.pair()
    for part in (REQUEST[:9], REQUEST[9:]):
        pair.client.sendall(part)
        received(pair.server, len(part))
    acted = proxy.seen(http.name).toxics
    assert (acted["latency_upstream"].connections, acted["latency_upstream"].bytes) == (1, len(REQUEST))
    assert acted["bandwidth_downstream"].connections == acted["slow_close_downstream"].connections == 0
    for path in paths:
        http.api.ask("DELETE", path)
    assert rest(pair.client)[0] == b""
    acted = proxy.seen(http.name).toxics
    assert acted["timeout_downstream"].connections == 1, "it closed it, and was removed meanwhile"
    assert acted["slow_close_downstream"].connections == 1


def test_events_are_recorded_in_their_order_with_the_edge_they_were_on(server: ProxyServer, proxy: FaultProxy) -> None:
    through = server.through(protocol="http", name=f"{server.name()}-to-crm")
    pair = through.pair()
    proxy.record()
    pair.client.sendall(REQUEST)
    received(pair.server, len(REQUEST))
    pair.server.sendall(ANSWER)
    received(pair.client, len(ANSWER))
    proxy.stop_recording()
    pair.client.sendall(OTHER)
    received(pair.server, len(OTHER))
    events = proxy.events()
    edge = through.name.replace("-to-", "→")
    assert [(one.n, one.edge, one.connection, one.stream, one.name, one.detail) for one in events] == [
        (0, edge, 1, "upstream", "request", "POST /deals"),
        (1, edge, 1, "downstream", "response", "POST /deals 201"),
    ]
    assert events[0].at < events[1].at
    server.ask("DELETE", through.path)


# --- healing ------------------------------------------------------------------------------------------------------


def test_restoring_an_edge_removes_toxics_and_triggers_and_keeps_its_connections(
    http: Through, proxy: FaultProxy
) -> None:
    http.add("latency", "upstream", latency=LONG_MS)
    armed = proxy.arm(http.name, Trigger(event="response", stream="downstream", action="stall"))
    pair = http.pair()
    pair.client.sendall(REQUEST)
    assert is_silent(pair.server)
    proxy.restore(http.name)
    assert received(pair.server, len(REQUEST)) == REQUEST
    pair.server.sendall(ANSWER)
    assert received(pair.client, len(ANSWER)) == ANSWER
    assert armed.fired() == []


def test_restoring_some_edges_leaves_the_others(server: ProxyServer, proxy: FaultProxy) -> None:
    one, other = server.through(), server.through()
    for through in (one, other):
        proxy.cut(through.name)
    proxy.restore_all([one.name])
    one.pair()
    with pytest.raises(ConnectionRefusedError):
        other.dial()
    with pytest.raises(ProxyError, match="proxy not found"):
        proxy.restore("nowhere")


# --- chance -------------------------------------------------------------------------------------------------------


def _hit(seed: str) -> list[bool]:
    """Which of 40 connections a toxic of toxicity 0.5 acts on."""
    with running("ours", "-seed", seed) as server:
        through = server.through(name="the-edge")
        through.add("limit_data", "upstream", toxicity=0.5, bytes=1)
        hit = []
        for _ in range(40):
            pair = through.pair()
            pair.client.sendall(b"ab")
            hit.append(received(pair.server, 2) == b"a")
        return hit


def test_the_same_seed_hits_the_same_connections_and_another_does_not() -> None:
    first = _hit("1")
    assert first == _hit("1")
    assert first != _hit("2")
    assert 5 < sum(first) < 35


# --- the process --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_at_once_when_it_is_told_to_whatever_is_open(number: signal.Signals) -> None:
    with running("ours") as server:
        through = server.through()
        through.add("bandwidth", "upstream", rate=0)
        pair = through.pair()
        pair.client.sendall(b"held")
        server.process.send_signal(number)
        assert server.process.wait(WITHIN_S) == 0
        assert rest(pair.client)[0] == b""


def test_a_port_that_is_taken_is_said(server: ProxyServer) -> None:
    argv = [sys.executable, "-m", "chaos.proxy", "--port", server.url.rpartition(":")[2]]
    done = subprocess.run(argv, cwd=PROJECT_ROOT, capture_output=True, text=True, timeout=WITHIN_S, check=False)
    assert done.returncode == 1
    assert "cannot listen on 127.0.0.1:" in done.stderr


def test_the_control_api_answers_while_a_hundred_connections_are_stalled_under_load(server: ProxyServer) -> None:
    through = server.through()
    path = through.add("bandwidth", "upstream", rate=0)
    pairs = [through.pair() for _ in range(100)]
    for pair in pairs:
        pair.client.setblocking(False)
        with suppress(BlockingIOError):
            for _ in range(4):
                pair.client.send(bytes(1 << 20))
    for _ in range(20):
        assert server.ask("GET", "/proxies").status_code == 200
    for pair in pairs:
        pair.client.close()
    assert server.ask("DELETE", path).status_code == 204
    for pair in pairs:
        assert len(rest(pair.server)[0]) > 1 << 16


def test_the_control_api_speaks_http_as_it_is_spoken(server: ProxyServer) -> None:
    """Kept alive, several requests in one segment, one request in many, and what is no request at all."""
    request = b"GET /version HTTP/1.1\r\nHost: x\r\n\r\n"
    port = int(server.url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), timeout=WITHIN_S) as sock:
        sock.sendall(request + request)
        for byte in request:
            sock.sendall(bytes([byte]))
        sock.sendall(b"no request\r\n\r\n")
        answers = rest(sock)[0]
    assert answers.count(b"HTTP/1.1 200 OK\r\n") == 3
    assert answers.count(b"HTTP/1.1 400 Bad Request\r\n") == 1
