"""HTTP/1.1 as events: requests and responses with bodies of every kind, in any chunks."""

from __future__ import annotations

import tracemalloc
from collections.abc import Sequence

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from chaos.proxy.wire import decoders
from chaos.proxy.wire.events import Event
from tests.wire import CUTS, chunks, fed, told

UUID = "0b7f3d1e-5d0c-4e3b-9a53-6b8f0a8c6c11"


def request(line: str, body: bytes = b"", **fields: str) -> bytes:
    return _message(f"{line} HTTP/1.1", body, {"Host": "crm", **fields})


def response(status: str, body: bytes = b"", **fields: str) -> bytes:
    return _message(f"HTTP/1.1 {status}", body, {"content-length": str(len(body)), **fields})


def _message(line: str, body: bytes, fields: dict[str, str]) -> bytes:
    lines = [line, *(f"{name.replace('_', '-')}: {value}" for name, value in fields.items())]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def _asked_and_answered(said: bytes, heard: bytes) -> tuple[list[str], list[str]]:
    up, down = decoders("http")
    return told(fed(up, [said])), told(fed(down, [heard]))


IN_CHUNKS = b'5\r\nhello\r\n18;name="x"\r\n' + b"\r\n0\r\n\r\n" * 3 + b"123\r\n0\r\nDigest: x\r\n\r\n"

# (request, response, how they are told)
_EXCHANGES = [
    (request("POST /deals", b"{}" * 50, Content_Length="100"), response("201 Created", b"{}"), "POST /deals 201"),
    (request("GET /deals?stage=won"), response("200 OK", b"x" * 1000), "GET /deals 200"),
    (
        request("POST /deals", IN_CHUNKS, Transfer_Encoding="chunked"),
        _message("HTTP/1.1 200 OK", IN_CHUNKS, {"transfer-encoding": "gzip, chunked"}),
        "POST /deals 200",
    ),
    (request("HEAD /deals"), _message("HTTP/1.1 200 OK", b"", {"content-length": "17"}), "HEAD /deals 200"),
    (request(f"DELETE /deals/{UUID}"), _message("HTTP/1.1 204 No Content", b"", {}), "DELETE /deals/{id} 204"),
    (request("GET /deals/7"), _message("HTTP/1.1 304", b"", {"content-length": "17"}), "GET /deals/{id} 304"),
    (
        request("PUT /deals/7", b"1", Content_Length="1", Expect="100-continue"),
        _message("HTTP/1.1 100 Continue", b"", {}) + response("409 Conflict", b"no"),
        "PUT /deals/{id} 409",
    ),
]


@given(picked=st.lists(st.sampled_from(_EXCHANGES), max_size=8), cuts=CUTS)
@example(picked=_EXCHANGES, cuts=range(10_000))
def test_whatever_the_chunks_the_same_is_told(picked: list[tuple[bytes, bytes, str]], cuts: Sequence[int]) -> None:
    """All requests are sent before the first is answered: pipelining is the harder half of keep-alive."""
    up, down = decoders("http")
    said, heard = b"".join(asked for asked, _, _ in picked), b"".join(answer for _, answer, _ in picked)
    requests, responses = fed(up, chunks(said, cuts)), fed(down, chunks(heard, cuts))
    assert told(requests) == [f"request {answer.rpartition(' ')[0]}" for _, _, answer in picked]
    assert told(responses) == [f"response {answer}" for _, _, answer in picked]
    assert [event.end - event.start for event in requests] == [len(asked) for asked, _, _ in picked]
    assert (up.boundary, down.boundary) == (len(said), len(heard))
    assert (up.opaque, down.opaque) == (None, None)


@pytest.mark.parametrize("side", [0, 1])
@given(picked=st.lists(st.sampled_from(_EXCHANGES), max_size=3), garbage=st.binary(min_size=1, max_size=40), cuts=CUTS)
def test_garbage_anywhere_never_raises(
    side: int, picked: list[tuple[bytes, bytes, str]], garbage: bytes, cuts: Sequence[int]
) -> None:
    decoder = decoders("http")[side]
    known = b"".join(one[:2][side] for one in picked)
    fed(decoder, chunks(known + garbage + known, cuts))
    assert "failed" not in (decoder.opaque or "")


@pytest.mark.parametrize(
    ("target", "path"),
    [
        (f"/deals/{UUID}/stage", "/deals/{id}/stage"),
        (f"/deals/{UUID.upper()}?x=/1", "/deals/{id}"),
        ("/users/12/34#5", "/users/{id}/{id}"),
        ("/v2/deals", "/v2/deals"),
        ("http://crm:8000/leads/1", "/leads/{id}"),
        ("http://crm", "/"),
        ("*", "*"),
    ],
)
def test_ids_and_queries_are_not_told(target: str, path: str) -> None:
    assert _asked_and_answered(request(f"GET {target}"), response("200 OK"))[1] == [f"response GET {path} 200"]


def test_an_answer_that_ends_with_the_connection_is_told_then() -> None:
    up, down = decoders("http")
    up.feed(request("GET /dump"))
    head = b"HTTP/1.1 200 OK\r\nserver: x\r\n\r\n"
    assert down.feed(head + b"some") + down.feed(b" more\r\n\r\nHTTP/1.1 200 OK\r\n\r\n") == []
    assert down.boundary == 0
    end = len(head) + len(b"some more\r\n\r\nHTTP/1.1 200 OK\r\n\r\n")
    assert down.eof() == [Event("response", "GET /dump 200", 0, end)]
    assert (down.boundary, up.eof()) == (end, [])


def test_an_interim_answer_is_no_response_and_is_not_held_back() -> None:
    up, down = decoders("http")
    up.feed(request("POST /deals", Expect="100-continue", Content_Length="5"))
    interim = _message("HTTP/1.1 100 Continue", b"", {})
    assert down.feed(interim) == []
    assert down.boundary == len(interim)
    assert told(down.feed(response("413 Too Large"))) == ["response POST /deals 413"]


def test_an_answer_that_nobody_asked_for_is_told_by_its_status() -> None:
    assert told(decoders("http")[1].feed(response("408 Request Timeout"))) == ["response 408"]


@pytest.mark.parametrize(
    ("asked", "answered", "because"),
    [
        (request("GET /live", Upgrade="websocket"), _message("HTTP/1.1 101 Switching", b"", {}), "another protocol"),
        (request("CONNECT crm:80"), _message("HTTP/1.1 200 OK", b"", {}), "tunnel"),
    ],
)
def test_what_becomes_another_protocol_is_not_read_on_in_either_direction(
    asked: bytes, answered: bytes, because: str
) -> None:
    up, down = decoders("http")
    up.feed(asked)
    assert down.opaque is None
    down.feed(answered + b"\x81\x05hello")
    up.feed(b"\x81\x05hello")
    for decoder in (up, down):
        assert because in str(decoder.opaque)
    assert (up.boundary, down.boundary) == (len(asked) + 7, len(answered) + 7)


def test_what_is_no_http_1_is_noticed_and_said() -> None:
    said = {
        "no HTTP/1.1 request": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "no HTTP/1.1 request: b'\\x16\\x03": b"\x16\x03\x01\x00",
        "a head that is too long": request("GET /", Cookie="x" * 70_000),
        "content-length": request("POST /", Content_Length="1, 2"),
        "content-length b'-1'": request("POST /", Content_Length="-1"),
        "no size of a chunk": request("POST /", b"xyz\r\n", Transfer_Encoding="chunked"),
        "longer than it said": request("POST /", b"1\r\nxyz\r\n", Transfer_Encoding="chunked"),
        "end is not told": request("POST /", b"xyz", Transfer_Encoding="gzip"),
    }
    for reason, stream in said.items():
        up, down = decoders("http")
        fed(up, [stream])
        assert reason in str(up.opaque)
    up, down = decoders("http")
    up.feed(b"\x16\x03\x01")
    down.feed(response("200 OK"))
    assert down.opaque == "its requests are not understood"
    down = decoders("http")[1]
    down.feed(b"ICY 200 OK")
    assert "no HTTP/1.1 response" in str(down.opaque)


@pytest.mark.parametrize("in_chunks", [False, True])
def test_a_body_of_50_mb_is_counted_down_not_kept(in_chunks: bool) -> None:
    size, piece = 50_000_000, b"x" * 100_000
    fields = {"Transfer_Encoding": "chunked"} if in_chunks else {"Content_Length": str(size)}
    up, _ = decoders("http")
    up.feed(request("POST /upload", f"{size:x}\r\n".encode() if in_chunks else b"", **fields))
    tracemalloc.start()
    events = [event for _ in range(size // len(piece)) for event in up.feed(piece)]
    events += up.feed(b"\r\n0\r\n\r\n") if in_chunks else []
    assert tracemalloc.get_traced_memory()[1] < 1_000_000
    tracemalloc.stop()
    assert told(events) == ["request POST /upload"]
