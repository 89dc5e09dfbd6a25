"""One contract for two servers: the fault proxy of this project and Toxiproxy's own, seen from outside.

What differs on purpose stands in DIFFERENCES, and each of them is proven on both.
"""

from __future__ import annotations

import hashlib
import random
import select
import socket
import struct
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import httpx
import pytest
import toxiproxy.exceptions

from tests.proxied import (
    LONG_MS,
    ProxyServer,
    Stopwatch,
    Through,
    address_of,
    is_silent,
    received,
    rest,
    running,
    split,
)


class Difference(NamedTuple):
    ours: str
    theirs: str


DIFFERENCES = {
    "half_close": Difference("a FIN is passed on, the other direction goes on", "the whole connection is closed"),
    "refused_upstream": Difference("the client is reset", "the client sees an orderly end"),
    "unknown_attribute": Difference("refused, with what is known", "accepted silently"),
    "unknown_field": Difference("refused, with what is known", "ignored"),
    "attribute_out_of_range": Difference("refused", "accepted"),
    "toxicity_out_of_range": Difference("refused", "accepted"),
    "renaming_a_toxic": Difference("refused", "ignored"),
    "scoped_reset": Difference("/reset?proxies=a,b resets these", "/reset always resets all"),
    "reset_peer_on_open_connections": Difference("they are reset as well", "they end in order, with their next byte"),
    "removing_a_toxic_that_is_stuck": Difference("answers at once", "the control API hangs"),
    "no_listen_address": Difference("a port of the loopback", "a port of every interface"),
    "protocol": Difference("read as amqp, http or postgres", "no such field"),
    "unknown_path": Difference("an error as JSON", "an error as text"),
}

STREAMS = ("upstream", "downstream")
ATTRIBUTES = {
    "latency": {"latency": 1, "jitter": 2},
    "bandwidth": {"rate": 3},
    "slow_close": {"delay": 4},
    "timeout": {"timeout": 5},
    "reset_peer": {"timeout": 6},
    "slicer": {"average_size": 9, "size_variation": 8, "delay": 7},
    "limit_data": {"bytes": 10},
}
stream = pytest.mark.parametrize("stream", STREAMS)


@pytest.fixture(scope="module", params=["ours", "toxiproxy-server"])
def _process(request: pytest.FixtureRequest) -> Iterator[ProxyServer]:
    with running(request.param) as server:
        yield server


@pytest.fixture
def server(_process: ProxyServer) -> Iterator[ProxyServer]:
    yield _process
    _process.forget()


@pytest.fixture
def through(server: ProxyServer) -> Through:
    return server.through()


def test_every_difference_is_proven() -> None:
    assert {name.removeprefix("test_differs_") for name in globals() if name.startswith("test_differs_")} == {
        *DIFFERENCES
    }


# --- proxies ------------------------------------------------------------------------------------------------------


def test_the_server_tells_its_version(server: ProxyServer) -> None:
    answer = server.ask("GET", "/version")
    assert answer.status_code == 200
    assert answer.json()["version"]


def test_a_proxy_is_made_and_shown(server: ProxyServer) -> None:
    through = server.through()
    expected = {
        "name": through.name, "listen": "{}:{}".format(*through.address), "upstream": address_of(through.upstream),
        "enabled": True, "toxics": [],
    }  # fmt: skip
    shown = server.ask("GET", through.path)
    assert shown.status_code == 200
    assert shown.json().items() >= expected.items()
    assert server.ask("GET", "/proxies").json()[through.name].items() >= expected.items()


def test_a_proxy_that_is_made_disabled_refuses(server: ProxyServer) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    through = server.through(enabled=False, listen=f"127.0.0.1:{port}")
    assert server.ask("GET", through.path).json()["enabled"] is False
    with pytest.raises(ConnectionRefusedError):
        through.dial()
    through.enable(True)
    through.pair()


def test_a_name_is_taken_once(through: Through) -> None:
    again = through.api.ask("POST", "/proxies", {"name": through.name, "upstream": "127.0.0.1:1"})
    assert again.status_code == 409
    assert "proxy already exists" in again.json()["error"]
    assert again.json()["status"] == 409


@pytest.mark.parametrize("missing", ["name", "upstream"])
def test_a_proxy_needs_a_name_and_an_upstream(server: ProxyServer, missing: str) -> None:
    whole = {"name": "never", "upstream": "127.0.0.1:1", "listen": "127.0.0.1:0"}
    for path, body in (("/proxies", {**whole, missing: ""}), ("/populate", [{**whole, missing: ""}])):
        answer = server.ask("POST", path, body)
        assert answer.status_code == 400
        assert f"missing required field: {missing}" in answer.json()["error"]
    assert "never" not in server.ask("GET", "/proxies").json()


def test_what_is_no_json_is_refused(through: Through) -> None:
    for path in ("/proxies", "/populate", through.path, f"{through.path}/toxics"):
        answer = through.api.ask("POST", path, content=b"{")
        assert answer.status_code == 400, path
        assert "bad request body" in answer.json()["error"]


def test_what_is_not_there_is_not_found(through: Through) -> None:
    for method, path in (
        ("GET", "/proxies/none"),
        ("POST", "/proxies/none"),
        ("DELETE", "/proxies/none"),
        ("GET", "/proxies/none/toxics"),
        ("POST", "/proxies/none/toxics"),
        ("GET", f"{through.path}/toxics/none"),
        ("POST", f"{through.path}/toxics/none"),
        ("DELETE", f"{through.path}/toxics/none"),
    ):
        answer = through.api.ask(method, path, {})
        assert answer.status_code == 404, (method, path)
        assert "not found" in answer.json()["error"]


def test_a_taken_port_is_an_error_and_leaves_no_proxy(server: ProxyServer) -> None:
    taken = server.listener()
    body = {"name": "never", "upstream": "127.0.0.1:1", "listen": address_of(taken)}
    assert server.ask("POST", "/proxies", body).status_code == 500
    assert server.ask("GET", "/proxies/never").status_code == 404


def test_web_pages_may_not_use_it(server: ProxyServer) -> None:
    assert server.ask("GET", "/proxies", headers={"User-Agent": "Mozilla/5.0"}).status_code == 403


def test_a_proxy_that_is_deleted_is_gone_with_its_connections(through: Through) -> None:
    pair = through.pair()
    assert through.api.ask("DELETE", through.path).status_code == 204
    assert rest(pair.client)[0] == b""
    assert rest(pair.server)[0] == b""
    with pytest.raises(ConnectionRefusedError):
        through.dial()
    assert through.api.ask("GET", through.path).status_code == 404


def test_populate_makes_what_is_missing_and_leaves_what_is_the_same(server: ProxyServer) -> None:
    there = server.through()
    pair = there.pair()
    same = {"name": there.name, "listen": "{}:{}".format(*there.address), "upstream": address_of(there.upstream)}
    other = server.through()
    server.ask("DELETE", other.path)
    new = {"name": other.name, "listen": "{}:{}".format(*other.address), "upstream": address_of(other.upstream)}
    answer = server.ask("POST", "/populate", [same, new])
    assert answer.status_code == 201
    assert [proxy["name"] for proxy in answer.json()["proxies"]] == [there.name, other.name]
    pair.client.sendall(b"still here")
    assert received(pair.server, 10) == b"still here"
    other.pair()


def test_populate_makes_anew_what_leads_elsewhere(server: ProxyServer) -> None:
    through = server.through()
    pair = through.pair()
    through.add("latency", latency=LONG_MS)
    elsewhere = server.listener()
    moved = {"name": through.name, "listen": "{}:{}".format(*through.address), "upstream": address_of(elsewhere)}
    assert server.ask("POST", "/populate", [moved]).json()["proxies"][0]["toxics"] == []
    assert rest(pair.client)[0] == b""
    client = through.dial()
    accepted = server.kept(elsewhere.accept()[0])
    accepted.sendall(b"from elsewhere")
    assert received(client, 14) == b"from elsewhere"


@pytest.mark.parametrize("method", ["POST", "PATCH"])
def test_an_upstream_that_changes_drops_connections_and_leads_new_ones_there(through: Through, method: str) -> None:
    pair, elsewhere = through.pair(), through.api.listener()
    through.add("slow_close", delay=1)
    answer = through.api.ask(method, through.path, {"upstream": address_of(elsewhere)})
    assert answer.status_code == 200
    assert answer.json()["upstream"] == address_of(elsewhere)
    assert answer.json()["enabled"] is True
    assert [toxic["type"] for toxic in answer.json()["toxics"]] == ["slow_close"]
    assert rest(pair.client)[0] == b""
    client = through.dial()
    elsewhere.accept()[0].close()
    assert rest(client)[0] == b""


def test_a_listen_address_that_changes_is_left(through: Through) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    answer = through.api.ask("POST", through.path, {"listen": f"127.0.0.1:{port}"})
    assert answer.json()["listen"] == f"127.0.0.1:{port}"
    with pytest.raises(ConnectionRefusedError):
        through.dial()
    through._replace(address=("127.0.0.1", port)).pair()


def test_disabled_it_drops_and_refuses_and_enabled_it_listens_where_it_did(through: Through) -> None:
    pair = through.pair()
    through.enable(False)
    assert rest(pair.client)[0] == b""
    assert rest(pair.server)[0] == b""
    with pytest.raises(ConnectionRefusedError):
        through.dial()
    through.enable(True)
    pair = through.pair()
    pair.client.sendall(b"again")
    assert received(pair.server, 5) == b"again"


def test_reset_enables_and_removes_all_toxics(server: ProxyServer) -> None:
    slow, off = server.through(), server.through()
    pair = slow.pair()
    slow.add("bandwidth", "upstream", rate=0)
    slow.add("latency", latency=LONG_MS)
    off.enable(False)
    pair.client.sendall(b"held")
    assert server.ask("POST", "/reset").status_code == 204
    assert received(pair.server, 4) == b"held"
    off.pair()
    assert server.ask("GET", f"{slow.path}/toxics").json() == []


# --- toxics, as the control API has them --------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ATTRIBUTES)
def test_a_toxic_is_added_shown_updated_and_removed(through: Through, kind: str) -> None:
    ask, path = through.api.ask, f"{through.path}/toxics"
    toxic = {"name": "mine", "type": kind, "stream": "upstream", "toxicity": 0.5, "attributes": ATTRIBUTES[kind]}
    added = ask("POST", path, toxic)
    assert added.status_code == 200
    assert added.json() == toxic
    assert ask("GET", path).json() == [toxic]
    assert ask("GET", through.path).json()["toxics"] == [toxic]
    for method in ("POST", "PATCH"):
        more = {name: value + 1 for name, value in toxic["attributes"].items()}  # type: ignore[attr-defined]
        toxic = {**toxic, "attributes": more, "toxicity": 0.25}
        assert ask(method, f"{path}/mine", {"attributes": more, "toxicity": 0.25}).json() == toxic
        assert ask("GET", f"{path}/mine").json() == toxic
    assert ask("DELETE", f"{path}/mine").status_code == 204
    assert ask("GET", path).json() == []
    assert ask("GET", f"{path}/mine").status_code == 404


def test_an_update_leaves_what_it_does_not_name(through: Through) -> None:
    path = through.add("latency", latency=5, jitter=2, toxicity=0.5)
    assert through.api.ask("POST", path, {"attributes": {"latency": 6}}).json()["attributes"] == {
        "latency": 6,
        "jitter": 2,
    }
    assert through.api.ask("GET", path).json()["toxicity"] == 0.5


def test_a_toxic_is_named_after_its_kind_and_stream_and_acts_downstream_on_all_if_nothing_is_said(
    through: Through,
) -> None:
    added = through.api.ask("POST", f"{through.path}/toxics", {"type": "latency"}).json()
    assert added == {
        "name": "latency_downstream", "type": "latency", "stream": "downstream", "toxicity": 1,
        "attributes": {"latency": 0, "jitter": 0},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("toxic", "status", "said"),
    [
        ({"type": "earthquake"}, 400, "invalid toxic type"),
        ({}, 400, ""),
        ({"type": "latency", "stream": "sideways"}, 400, "stream was invalid"),
        ({"type": "latency", "attributes": {"latency": "much"}}, 400, "bad request body"),
        ({"type": "latency", "toxicity": "often"}, 400, "bad request body"),
        ({"type": "slow_close", "name": "taken"}, 409, "toxic already exists"),
        ({"type": "slow_close", "name": "taken", "stream": "upstream"}, 409, "toxic already exists"),
    ],
)
def test_what_is_wrong_with_a_toxic_is_said(through: Through, toxic: dict[str, object], status: int, said: str) -> None:
    ask, path = through.api.ask, f"{through.path}/toxics"
    ask("POST", path, {"type": "slow_close", "name": "taken"})
    answer = ask("POST", path, toxic)
    assert (answer.status_code, answer.json()["status"]) == (status, status)
    assert said in answer.json()["error"]
    assert len(ask("GET", path).json()) == 1


def test_toxiproxy_python_drives_it(server: ProxyServer) -> None:
    library = server.toxiproxy()
    upstream, name = server.listener(), server.name()
    assert library.running()
    assert library.version()
    proxy = library.create(upstream=address_of(upstream), name=name)
    through = Through(name, split(proxy.listen), upstream, server)
    with pytest.raises(toxiproxy.exceptions.ProxyExists):
        library.create(upstream=address_of(upstream), name=name)
    proxy.add_toxic(type="latency", name="late", stream="upstream", attributes={"latency": 5})
    assert proxy.get_toxic("late").attributes == {"latency": 5, "jitter": 0}
    with pytest.raises(toxiproxy.exceptions.InvalidToxic):
        proxy.add_toxic(type="earthquake")
    proxy.destroy_toxic("late")
    with pytest.raises(toxiproxy.exceptions.NotFound):
        proxy.destroy_toxic("late")
    with proxy.down(), pytest.raises(ConnectionRefusedError):
        through.dial()
    through.pair()
    other = server.name()
    made = library.populate([{"name": other, "listen": "127.0.0.1:0", "upstream": address_of(upstream)}])
    assert [one.name for one in made] == [other]
    assert library.reset()
    assert {name, other} <= set(library.proxies())
    for one in (name, other):
        assert library.get_proxy(one).destroy()
        assert library.get_proxy(one) is None


# --- bytes --------------------------------------------------------------------------------------------------------


def test_bytes_pass_both_ways_and_an_upstream_may_speak_first(through: Through) -> None:
    pair = through.pair()
    pair.server.sendall(b"220 ready")
    assert received(pair.client, 9) == b"220 ready"
    pair.client.sendall(b"EHLO")
    assert received(pair.server, 4) == b"EHLO"


@stream
def test_who_closes_after_sending_is_read_to_the_end(through: Through, stream: str) -> None:
    sender, receiver = through.pair().towards(stream)
    data = random.Random(1).randbytes(1_000_000)
    with ThreadPoolExecutor(1) as reading:
        read = reading.submit(rest, receiver)
        sender.sendall(data)
        sender.close()
        assert read.result() == (data, "end")


@stream
def test_who_resets_ends_the_other_side_too(through: Through, stream: str) -> None:
    sender, receiver = through.pair().towards(stream)
    sender.sendall(b"x")
    assert received(receiver, 1) == b"x"
    sender.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sender.close()
    assert rest(receiver)[0] == b""


@stream
@pytest.mark.parametrize(
    "toxics",
    [
        [],
        [("slicer", {"average_size": 700, "size_variation": 300, "delay": 0})],
        [("bandwidth", {"rate": 20_000})],
        [("latency", {"latency": 5, "jitter": 4})],
        [
            ("latency", {"latency": 3, "jitter": 2}),
            ("slicer", {"average_size": 5_000, "size_variation": 4_000, "delay": 1}),
            ("bandwidth", {"rate": 50_000}),
            ("slow_close", {"delay": 1}),
        ],
    ],
    ids=lambda toxics: "+".join(kind for kind, _ in toxics) or "nothing",
)
def test_a_large_transfer_arrives_whole(
    through: Through, stream: str, toxics: list[tuple[str, dict[str, int]]]
) -> None:
    for kind, attributes in toxics:
        through.add(kind, stream, **attributes)
    sender, receiver = through.pair().towards(stream)
    data = random.Random(2).randbytes(4_000_000)
    with ThreadPoolExecutor(1) as reading:
        read = reading.submit(received, receiver, len(data))
        sender.sendall(data)
        assert hashlib.sha256(read.result()).digest() == hashlib.sha256(data).digest()


def test_a_slow_reader_gets_everything_in_the_end(through: Through) -> None:
    """What nobody reads fills all buffers, and the sender has to wait: then it is read after all."""
    pair = through.pair()
    data = random.Random(3).randbytes(30_000_000)
    with ThreadPoolExecutor(1) as sending:
        sent = sending.submit(pair.server.sendall, data)
        assert is_silent(pair.server)
        assert not sent.done()
        assert received(pair.client, len(data)) == data
        sent.result()


def test_two_hundred_connections_keep_their_bytes_apart(through: Through) -> None:
    through.add("latency", "upstream", latency=1, jitter=1)
    pairs = [through.pair() for _ in range(200)]
    for number, pair in enumerate(pairs):
        pair.client.sendall(struct.pack("!I", number))
    for number, pair in enumerate(pairs):
        assert struct.unpack("!I", received(pair.server, 4)) == (number,)
        pair.server.sendall(struct.pack("!I", number))
    for number, pair in enumerate(pairs):
        assert struct.unpack("!I", received(pair.client, 4)) == (number,)


# --- what toxics do -----------------------------------------------------------------------------------------------


@stream
def test_latency_delays_every_chunk(through: Through, stream: str) -> None:
    through.add("latency", stream, latency=80)
    sender, receiver = through.pair().towards(stream)
    for _ in range(2):
        watch = Stopwatch()
        sender.sendall(b"late")
        assert received(receiver, 4) == b"late"
        assert watch.s >= 0.08


@stream
def test_jitter_varies_the_delay_and_never_the_order(through: Through, stream: str) -> None:
    through.add("latency", stream, latency=20, jitter=20)
    sender, receiver = through.pair().towards(stream)
    for number in range(50):
        sender.sendall(bytes([number]))
    assert received(receiver, 50) == bytes(range(50))


@stream
def test_a_toxic_acts_on_its_own_stream_only(through: Through, stream: str) -> None:
    through.add("latency", stream, latency=LONG_MS)
    pair = through.pair()
    sender, receiver = pair.towards(stream)
    sender.sendall(b"stays")
    receiver.sendall(b"passes")
    assert received(sender, 6) == b"passes"
    assert is_silent(receiver)


@stream
def test_what_latency_holds_comes_at_once_in_order_when_it_is_removed(through: Through, stream: str) -> None:
    sender, receiver = through.pair().towards(stream)
    path = through.add("latency", stream, latency=LONG_MS)
    for part in (b"one ", b"two ", b"three"):
        sender.sendall(part)
        assert is_silent(receiver, 0.02)
    assert through.api.ask("DELETE", path).status_code == 204
    assert received(receiver, 13) == b"one two three"


@stream
def test_an_update_acts_at_once_on_open_connections(through: Through, stream: str) -> None:
    sender, receiver = through.pair().towards(stream)
    path = through.add("latency", stream, latency=LONG_MS)
    sender.sendall(b"a")
    assert is_silent(receiver)
    assert through.api.ask("POST", path, {"attributes": {"latency": 0}}).status_code == 200
    sender.sendall(b"b")
    assert received(receiver, 2) == b"ab"
    through.api.ask("POST", path, {"attributes": {"latency": LONG_MS}})
    sender.sendall(b"c")
    assert is_silent(receiver)


@stream
def test_bandwidth_takes_its_time(through: Through, stream: str) -> None:
    through.add("bandwidth", stream, rate=1000)
    sender, receiver = through.pair().towards(stream)
    watch = Stopwatch()
    sender.sendall(bytes(200_000))
    assert len(received(receiver, 200_000)) == 200_000
    assert watch.s >= 0.15


@stream
def test_bandwidth_of_nothing_is_a_stall_that_heals_without_a_loss(through: Through, stream: str) -> None:
    sender, receiver = through.pair().towards(stream)
    path = through.add("bandwidth", stream, rate=0)
    sender.sendall(b"held back")
    assert is_silent(receiver)
    assert through.api.ask("DELETE", path).status_code == 204
    assert received(receiver, 9) == b"held back"


@stream
def test_slow_close_delays_the_end_and_no_byte(through: Through, stream: str) -> None:
    through.add("slow_close", stream, delay=150)
    sender, receiver = through.pair().towards(stream)
    sender.sendall(b"last words")
    assert received(receiver, 10) == b"last words"
    watch = Stopwatch()
    sender.close()
    assert rest(receiver) == (b"", "end")
    assert watch.s >= 0.15


@stream
def test_an_end_that_slow_close_holds_comes_at_once_when_it_is_removed(through: Through, stream: str) -> None:
    path = through.add("slow_close", stream, delay=LONG_MS)
    sender, receiver = through.pair().towards(stream)
    sender.close()
    assert is_silent(receiver)
    assert through.api.ask("DELETE", path).status_code == 204
    assert rest(receiver) == (b"", "end")


@stream
def test_timeout_lets_nothing_pass_and_then_closes(through: Through, stream: str) -> None:
    watch = Stopwatch()
    through.add("timeout", stream, timeout=150)
    sender, receiver = through.pair().towards(stream)
    sender.sendall(b"lost")
    assert rest(receiver)[0] == b""
    assert watch.s >= 0.15
    assert rest(sender)[0] == b""


@stream
def test_timeout_of_nothing_is_a_black_hole_until_it_is_removed_and_then_a_close(through: Through, stream: str) -> None:
    sender, receiver = through.pair().towards(stream)
    path = through.add("timeout", stream, timeout=0)
    sender.sendall(b"lost")
    assert is_silent(receiver)
    receiver.sendall(b"other way")
    assert received(sender, 9) == b"other way"
    assert through.api.ask("DELETE", path).status_code == 204
    assert rest(receiver)[0] == b""
    assert rest(sender)[0] == b""


@stream
def test_an_end_passes_through_a_black_hole(through: Through, stream: str) -> None:
    through.add("timeout", stream, timeout=0)
    sender, receiver = through.pair().towards(stream)
    sender.close()
    assert rest(receiver)[0] == b""


@stream
@pytest.mark.parametrize("timeout", [0, 100])
def test_reset_peer_resets_both_ends_of_a_connection_with_its_first_byte(
    through: Through, stream: str, timeout: int
) -> None:
    through.add("reset_peer", stream, timeout=timeout)
    sender, receiver = through.pair().towards(stream)
    watch = Stopwatch()
    sender.sendall(b"x")
    assert rest(receiver) == (b"", "reset")
    assert watch.s >= timeout / 1000
    assert rest(sender) == (b"", "reset")


@stream
def test_slicer_sends_slices_apart(through: Through, stream: str) -> None:
    through.add("slicer", stream, average_size=10, size_variation=0, delay=50_000)
    sender, receiver = through.pair().towards(stream)
    watch = Stopwatch()
    sender.sendall(bytes(range(30)))
    first = receiver.recv(30)
    assert first + received(receiver, 30 - len(first)) == bytes(range(30))
    assert len(first) < 30
    assert watch.s >= 0.1


@stream
def test_what_the_slicer_holds_comes_at_once_when_it_is_removed(through: Through, stream: str) -> None:
    ten_years_us = 10 * 365 * 86_400 * 1_000_000  # longer than any machine is up: its clock must not count as a slice
    path = through.add("slicer", stream, average_size=10, size_variation=0, delay=ten_years_us)
    sender, receiver = through.pair().towards(stream)
    sender.sendall(bytes(range(40)))
    first = receiver.recv(40)
    assert len(first) <= 10
    assert through.api.ask("DELETE", path).status_code == 204
    assert first + received(receiver, 40 - len(first)) == bytes(range(40))


@stream
@pytest.mark.parametrize("most", [0, 1, 5, 1000])
def test_limit_data_closes_after_so_many_bytes(through: Through, stream: str, most: int) -> None:
    through.add("limit_data", stream, bytes=most)
    sender, receiver = through.pair().towards(stream)
    sender.sendall(b"0123456789" * 200)
    assert rest(receiver)[0] == (b"0123456789" * 200)[:most]
    assert rest(sender)[0] == b""


@stream
def test_limit_data_counts_what_has_passed_since_it_was_added(through: Through, stream: str) -> None:
    sender, receiver = through.pair().towards(stream)
    sender.sendall(b"before")
    assert received(receiver, 6) == b"before"
    through.add("limit_data", stream, bytes=4)
    sender.sendall(b"ab")
    assert received(receiver, 2) == b"ab"
    sender.sendall(b"cdef")
    assert rest(receiver)[0] == b"cd"


@stream
@pytest.mark.parametrize("kind", ["latency", "timeout", "limit_data", "reset_peer"])
def test_toxicity_of_nothing_acts_on_nothing(through: Through, stream: str, kind: str) -> None:
    attributes = {"latency": {"latency": LONG_MS}, "timeout": {"timeout": 1}}.get(kind, {})
    through.add(kind, stream, toxicity=0, **attributes)
    for _ in range(5):
        sender, receiver = through.pair().towards(stream)
        sender.sendall(b"passes")
        assert received(receiver, 6) == b"passes"


@stream
def test_a_toxic_that_is_added_acts_on_open_connections(through: Through, stream: str) -> None:
    sender, receiver = through.pair().towards(stream)
    sender.sendall(b"quick")
    assert received(receiver, 5) == b"quick"
    through.add("latency", stream, latency=80)
    watch = Stopwatch()
    sender.sendall(b"late")
    assert received(receiver, 4) == b"late"
    assert watch.s >= 0.08


@stream
def test_toxics_come_and_go_under_a_transfer_without_a_loss(through: Through, stream: str) -> None:
    sender, receiver = through.pair().towards(stream)
    data = random.Random(4).randbytes(3_000_000)
    with ThreadPoolExecutor(2) as both:
        read = both.submit(received, receiver, len(data))
        sent = both.submit(sender.sendall, data)
        for number in range(10):
            kind, attributes = [
                ("latency", {"latency": 5, "jitter": 5}),
                ("slicer", {"average_size": 4000, "size_variation": 100, "delay": 10}),
                ("bandwidth", {"rate": 5_000}),
            ][number % 3]
            path = through.add(kind, stream, **attributes)
            through.api.ask("POST", path, {"attributes": attributes})
            assert through.api.ask("DELETE", path).status_code == 204
        sent.result()
        assert hashlib.sha256(read.result()).digest() == hashlib.sha256(data).digest()


# --- what differs on purpose --------------------------------------------------------------------------------------


def test_differs_half_close(through: Through) -> None:
    pair = through.pair()
    pair.client.shutdown(socket.SHUT_WR)
    assert rest(pair.server) == (b"", "end")
    if through.api.ours:
        pair.server.sendall(b"answer")
        pair.server.close()
        assert rest(pair.client) == (b"answer", "end")
    else:
        assert rest(pair.client)[0] == b""


def test_differs_refused_upstream(through: Through) -> None:
    through.upstream.close()
    try:
        _, how = rest(through.dial())
    except ConnectionResetError:
        how = "reset"  # so quickly that the client was still about to connect
    assert how == ("reset" if through.api.ours else "end")


def test_differs_unknown_attribute(through: Through) -> None:
    toxic = {"type": "latency", "attributes": {"latencyy": 1}}
    answer = through.api.ask("POST", f"{through.path}/toxics", toxic)
    assert answer.status_code == (400 if through.api.ours else 200)
    if through.api.ours:
        assert "latencyy" in answer.json()["error"]
        assert "known: latency, jitter" in answer.json()["error"]


def test_differs_unknown_field(server: ProxyServer) -> None:
    body = {"name": "odd", "upstream": "127.0.0.1:1", "listen": "127.0.0.1:0", "speed": 1}
    answer = server.ask("POST", "/proxies", body)
    assert answer.status_code == (400 if server.ours else 201)
    server.ask("DELETE", "/proxies/odd")


@pytest.mark.parametrize(
    ("kind", "attributes"),
    [("latency", {"latency": -1}), ("slicer", {"average_size": 10, "size_variation": 10}), ("slicer", {})],
)
def test_differs_attribute_out_of_range(through: Through, kind: str, attributes: dict[str, int]) -> None:
    answer = through.api.ask("POST", f"{through.path}/toxics", {"type": kind, "attributes": attributes})
    assert answer.status_code == (400 if through.api.ours else 200)


def test_differs_toxicity_out_of_range(through: Through) -> None:
    answer = through.api.ask("POST", f"{through.path}/toxics", {"type": "latency", "toxicity": 2})
    assert answer.status_code == (400 if through.api.ours else 200)


def test_differs_renaming_a_toxic(through: Through) -> None:
    path = through.add("latency")
    answer = through.api.ask("POST", path, {"name": "other"})
    assert answer.status_code == (400 if through.api.ours else 200)
    assert through.api.ask("GET", path).status_code == 200


def test_differs_scoped_reset(server: ProxyServer) -> None:
    one, other = server.through(), server.through()
    for through in (one, other):
        through.add("latency", latency=1)
        through.enable(False)
    assert server.ask("POST", f"/reset?proxies={one.name}").status_code == 204
    one.pair()
    assert server.ask("GET", f"{one.path}/toxics").json() == []
    left = server.ask("GET", other.path).json()
    assert (left["enabled"], len(left["toxics"])) == ((False, 1) if server.ours else (True, 0))


@stream
def test_differs_reset_peer_on_open_connections(through: Through, stream: str) -> None:
    pair = through.pair()
    sender, receiver = pair.towards(stream)
    through.add("reset_peer", stream, timeout=0)
    if through.api.ours:
        assert rest(sender) == (b"", "reset")
        assert rest(receiver) == (b"", "reset")
    else:
        assert is_silent(receiver)
        sender.sendall(b"x")
        assert rest(receiver) == (b"", "end")


@pytest.mark.parametrize("kind", ["ours", "toxiproxy-server"])
def test_differs_removing_a_toxic_that_is_stuck(kind: str) -> None:
    """On a server of its own: Toxiproxy's never recovers."""
    with running(kind) as server:  # type: ignore[arg-type]
        through = server.through()
        path = through.add("latency", latency=1)
        pair = through.pair()
        pair.server.setblocking(False)
        while select.select([], [pair.server], [], 0.7)[1]:  # the client reads nothing: all buffers get full
            pair.server.send(bytes(1 << 20))
        if server.ours:
            assert server.ask("DELETE", path).status_code == 204
        else:
            with pytest.raises(httpx.ReadTimeout):
                server.ask("DELETE", path, timeout=1)
            with pytest.raises(httpx.ReadTimeout):
                server.ask("GET", "/proxies", timeout=1)


def test_differs_no_listen_address(server: ProxyServer) -> None:
    listen = server.ask("POST", "/proxies", {"name": "anywhere", "upstream": "127.0.0.1:1"}).json()["listen"]
    assert listen.startswith("127.0.0.1:" if server.ours else "[::]:")
    server.ask("DELETE", "/proxies/anywhere")


def test_differs_protocol(server: ProxyServer) -> None:
    through = server.through(protocol="http")
    assert server.ask("GET", through.path).json().get("protocol") == ("http" if server.ours else None)


def test_differs_unknown_path(server: ProxyServer) -> None:
    answer = server.ask("GET", "/nowhere")
    assert answer.status_code == 404
    assert answer.headers["content-type"].startswith("application/json" if server.ours else "text/plain")
