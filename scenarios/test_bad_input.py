"""Whatever is sent, the answer is a 4xx with a reason; never a 500, and never a broken line in the log."""

from __future__ import annotations

import json
import uuid

import pytest

from harness.clients.raw_http import RawClient
from harness.contract.log_lines import LibraryMessage
from harness.evidence.records import Operation
from scenarios.world import World

LEAD = {"name": "Grace Hidden", "email": "grace.hidden@example.test", "phone": "+43 660 1234567"}
KIB = 1024
NEW_LEAD_BODIES: dict[str, tuple[bytes, int]] = {
    "nothing": (b"", 422),
    "not JSON": (b"{", 400),
    "invalid UTF-8": (b'{"name": "\xff\xfe"}', 400),
    "UTF-16": (json.dumps(LEAD).encode("utf-16"), 400),
    "NaN": (b'{"name": NaN}', 400),
    "a number of 5,000 digits": (b'{"name": %b}' % (b"9" * 5_000), 400),
    "100,000 open brackets": (b"[" * 100_000, 400),
    "one name twice": (b'{"name": "a", "name": "b", "email": "a@b"}', 400),
    "a list": (b"[]", 422),
    "wrong types": (json.dumps(LEAD | {"name": 1, "email": ["x@y"]}).encode(), 422),
    "an unknown field": (json.dumps(LEAD | {"grace.hidden@example.test": 1}).encode(), 422),
    "a lone surrogate": (json.dumps(LEAD | {"name": "\ud800"}).encode(), 422),
    "a lone surrogate as a name": (json.dumps(LEAD | {"\udfff": 1}).encode(), 422),
    "NUL in a name": (json.dumps(LEAD | {"name": "Grace\x00Hidden"}).encode(), 422),
    "NUL in an address": (json.dumps(LEAD | {"email": "grace\x00@hidden"}).encode(), 422),
    "only spaces": (json.dumps(LEAD | {"name": "   "}).encode(), 422),
    "too long": (json.dumps(LEAD | {"name": "x" * 201}).encode(), 422),
    "no address": (json.dumps(LEAD | {"email": "Grace Hidden"}).encode(), 422),
    "a terminal's escape": (b'\x1b[2J{"name": 1}\n', 400),
}


def test_bodies_that_are_no_lead_are_refused(world: World) -> None:
    crm = _raw(world, "crm")
    for what, (body, status) in NEW_LEAD_BODIES.items():
        _refused(what, crm.request("POST", "/leads", body=body)[0], status)
    assert not world.database.rows().leads


def test_bodies_that_are_no_stage_are_refused(world: World) -> None:
    path = f"/leads/{world.new_lead()}/stage"
    pipeline = _raw(world, "pipeline")
    stages: tuple[object, ...] = ("Qualified", "", None, 1, True, [], {}, "qualified\x00", "\ud800")
    for stage in stages:
        _refused(repr(stage), pipeline.request("PATCH", path, body=json.dumps({"stage": stage}).encode())[0], 422)
    for version in (-1, 2**31, 10**30, 0.5, "0", True, 1e300):
        body = json.dumps({"stage": "qualified", "expected_version": version}).encode()
        _refused(repr(version), pipeline.request("PATCH", path, body=body)[0], 422)
    assert world.database.rows().history == ()


def test_what_is_too_large_is_refused(world: World) -> None:
    crm = _raw(world, "crm")
    limit = json.dumps(LEAD | {"name": "x" * 256 * KIB}).encode()
    declared = crm.request("POST", "/leads", headers={"Content-Length": str(10**9)})[0]
    _refused("declared, and never sent", declared, 413)
    _refused("sent", crm.request("POST", "/leads", body=limit)[0], 413)
    _refused("sent in chunks", crm.request("POST", "/leads", body=limit, chunked=True)[0], 413)
    _refused("as much as is allowed", crm.request("POST", "/leads", body=limit[-256 * KIB :])[0], 400)
    _refused("headers", crm.request("GET", "/leads", headers={"X-Large": "x" * 10 * KIB})[0], 431)
    _refused("path", crm.request("GET", f"/leads/{'x' * 10 * KIB}")[0], 414)


def test_a_body_that_does_not_come_is_given_up(world: World) -> None:
    crm = _raw(world, "crm")
    _refused(
        "a body of which half is sent",
        crm.request("POST", "/leads", body=b"{", headers={"Content-Length": "2"})[0],
        408,
    )


def test_media_types_methods_and_paths_that_do_not_exist_are_refused(world: World) -> None:
    crm = _raw(world, "crm")
    form = crm.request(
        "POST", "/leads", body=b"name=Grace", headers={"Content-Type": "application/x-www-form-urlencoded"}
    )
    _refused("a form", form[0], 415)
    for method, path, allow in (("DELETE", "/leads", "GET, POST"), ("TRACE", "/deals", "GET, POST"),
                                ("POST", "/health/live", "GET")):  # fmt: skip
        operation, headers = crm.request(method, path)
        _refused(f"{method} {path}", operation, 405)
        assert headers["allow"] == allow
    for path in ("/", "/leads/", "//leads", "/Leads", "/leads/../deals", "/leads%2f", "/docs", "/redoc"):
        operation, _ = crm.request("GET", path)
        assert operation.http_status in (404, 422), f"{path}: {operation.answer}"


@pytest.mark.parametrize("service", ["crm", "pipeline"])
def test_junk_in_paths_and_queries_is_refused(world: World, service: str) -> None:
    client, leaf = _raw(world, service), {"crm": "", "pipeline": "/stage"}[service]
    for junk in ("%00", "%ff", "%ed%a0%80", "%0a%0dX-Injected:1", "grace.hidden@example.test", "0", "%7B%7D", "null"):
        _refused(junk, client.request("GET", f"/leads/{junk}{leaf}")[0], 422)
    if service == "crm":
        for query in ("limit=0", "limit=201", "limit=x", "limit=", "limit=1e2", "limit=%00", "after=%ff", "after=1"):
            _refused(query, client.request("GET", f"/leads?{query}")[0], 422)


def test_what_is_not_http_is_refused(world: World) -> None:
    crm = _raw(world, "crm")
    for data in (b"grace.hidden@example.test\r\n\r\n", b"\x16\x03\x01\x02\x00", b"GET /leads HTTP/9.9\r\n\r\n",
                 b"GET /\xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n",
                 b"POST /leads HTTP/1.1\r\nContent-Length: -1\r\n\r\n"):  # fmt: skip
        _refused(repr(data), crm.send(data)[0], 400)


def test_a_correlation_id_that_is_no_uuid_is_replaced_and_that_is_logged(world: World) -> None:
    crm = _raw(world, "crm")
    for claimed in ("1", "grace.hidden@example.test", f"{{{uuid.uuid4()}}}", "x" * 5000, "\xff", "a\tb"):
        operation, headers = crm.request("GET", "/leads/0", headers={"X-Correlation-Id": claimed})
        _refused(claimed, operation, 422)
        assert headers["x-correlation-id"] == operation.answer["correlation_id"]
        said = world.until_logged("library.message", correlation_id=str(operation.correlation_id))
        assert isinstance(said, LibraryMessage)
        assert said.message == "X-Correlation-Id is not a UUID and was replaced"


def _raw(world: World, service: str) -> RawClient:
    """Whatever is sent through it, nothing of this person may be seen anywhere."""
    world.recording.personal.extend(LEAD.values())
    return RawClient(world.stack.edge_url(f"client→{service}"), world.stack.tokens["alice"], world.recording)


def _refused(what: str, operation: Operation, status: int) -> None:
    """With this status, and with a reason that is complete."""
    answer = operation.answer
    assert operation.http_status == status, f"{what[:100]}: {operation.http_status} {answer}"
    assert answer["status"] == status
    assert str(answer["type"]).startswith("urn:problem:")
    assert answer["title"]
    assert answer["detail"]
    assert answer["instance"] == f"urn:uuid:{answer['correlation_id']}"
