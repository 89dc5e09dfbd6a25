"""Faults that wait for an event: real processes, the real proxy, and what got through before the blow and after it."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, cast

import pytest

from chaos.faults.at_event import at_event, killed_at
from chaos.faults.site import FaultSite
from chaos.proxy.client import FaultProxy
from chaos.proxy.triggers import Trigger
from harness.environment.waiting import eventually
from harness.evidence.recording import Recording
from harness.evidence.records import Fault
from tests.proxied import WITHIN_S, ProxyServer, running

EDGE = "caller→receiver"
CALLER = """
import sys, urllib.request
life, url = sys.argv[1:]
for number in (1, 2):
    urllib.request.urlopen(f"{url}/of/{life}/call/{number}", data=b"x", timeout=60).read()
    print(f"answered {number}", flush=True)
"""
REQUEST = Trigger(event="request", stream="upstream", action="cut", nth=2)
RESPONSE = Trigger(event="response", stream="downstream", action="cut", nth=2)


class Receiver:
    """Takes every POST and writes its path down."""

    def __init__(self) -> None:
        self.received: list[str] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                receiver.received.append(self.path)
                self.send_response(204)
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                """The list tells."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


class Caller:
    """A process that makes two calls in each of its lives."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.lives: list[subprocess.Popen[str]] = []

    def start(self) -> None:
        argv = [sys.executable, "-c", CALLER, str(len(self.lives) + 1), self.url]
        self.lives.append(subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, env=os.environ | {"no_proxy": "*"}))

    def kill(self) -> None:
        self.lives[-1].kill()
        self.lives[-1].wait()

    def await_ready(self) -> None:
        """When it has done its work."""
        assert self.lives[-1].wait(WITHIN_S) == 0

    def answered(self, life: int) -> list[str]:
        out = self.lives[life - 1].communicate()[0]
        return out.splitlines()


@pytest.fixture(scope="module")
def server() -> Iterator[ProxyServer]:
    with running("ours") as server:
        yield server


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    yield receiver
    receiver.server.shutdown()


@pytest.fixture
def caller(server: ProxyServer, receiver: Receiver) -> Iterator[Caller]:
    host, port = receiver.server.server_address[:2]
    proxy = {"name": "caller-to-receiver", "listen": "127.0.0.1:0", "upstream": f"{host!s}:{port}", "protocol": "http"}
    made = server.ask("POST", "/proxies", proxy).json()
    caller = Caller(f"http://{made['listen']}")
    yield caller
    for life in caller.lives:
        life.kill()
    server.ask("DELETE", "/proxies/caller-to-receiver")


@pytest.fixture
def site(server: ProxyServer, caller: Caller) -> FaultSite:
    """Where there is nothing but a proxy and one process."""
    nothing = cast(Any, None)
    return FaultSite(
        proxy=FaultProxy(server.url),
        database=nothing,
        broker=nothing,
        recording=Recording(),
        node=nothing,
        target=nothing,
        service=lambda _: cast(Any, caller),
        log=list,
        sinks=nothing,
        published=nothing,
    )


@pytest.mark.parametrize(
    ("when", "trigger", "received", "answered"),
    [
        ("before", REQUEST, ["1/call/1"], ["answered 1"]),
        ("after", REQUEST, ["1/call/1", "1/call/2"], ["answered 1"]),
        ("before", RESPONSE, ["1/call/1", "1/call/2"], ["answered 1"]),
    ],
    ids=["before-request", "after-request", "before-response"],
)
def test_who_is_killed_at_an_event_gets_that_far_and_no_further(
    site: FaultSite,
    caller: Caller,
    receiver: Receiver,
    when: Any,
    trigger: Trigger,
    received: list[str],
    answered: list[str],
) -> None:
    """And what the proxy held back of it is dropped, not passed on when all is over; the next life starts afresh."""
    waiting = Trigger(event=trigger.event, stream=trigger.stream, action="hold", nth=2, when=when)
    with killed_at(site, "caller", EDGE, waiting, edges=[EDGE]) as blow:
        caller.start()
        eventually(lambda: blow.over, within_s=WITHIN_S, describe="the blow to be over")
    assert receiver.received == [f"/of/{path}" for path in (*received, "2/call/1", "2/call/2")]
    assert [caller.answered(1), caller.answered(2)] == [answered, ["answered 1", "answered 2"]]
    [fault] = site.recording.faults
    assert (fault.kind, fault.place, fault.hits) == ("SIGKILL", "caller", 1)
    assert fault.injected_at == blow.fired[0].at
    assert f"{when} {trigger.event}" in fault.proof


def test_a_kill_whose_event_never_comes_kills_nobody_and_proves_nothing(site: FaultSite, caller: Caller) -> None:
    with killed_at(
        site, "caller", EDGE, Trigger(event="request", stream="upstream", action="hold", nth=3), edges=[EDGE]
    ):
        caller.start()
        caller.await_ready()
    assert len(caller.lives) == 1
    [fault] = site.recording.faults
    assert (fault.kind, fault.hits) == ("SIGKILL", 0)
    assert "never" in fault.proof


def test_what_goes_wrong_with_the_killed_is_told_to_whoever_drives(site: FaultSite, caller: Caller) -> None:
    def fail() -> None:
        raise RuntimeError("it does not come up again")

    caller.await_ready = fail  # type: ignore[method-assign]
    with pytest.raises(RuntimeError, match="does not come up"):
        _killed_at_its_first_request(site, caller)


def _killed_at_its_first_request(site: FaultSite, caller: Caller) -> None:
    waiting = Trigger(event="request", stream="upstream", action="hold")
    with killed_at(site, "caller", EDGE, waiting, edges=[EDGE]) as blow:
        caller.start()
        eventually(lambda: blow.over, within_s=WITHIN_S, describe="the blow to be over")


def test_a_trigger_is_a_fault_from_when_it_fired_with_as_many_hits(site: FaultSite, caller: Caller) -> None:
    first = Trigger(event="request", stream="upstream", action="delay", delay_ms=1, times=0)
    with at_event(site, EDGE, first):
        armed_at = site.recording.faults[:]
        caller.start()
        caller.await_ready()
    assert armed_at == []
    [fault] = site.recording.faults
    assert (fault.kind, fault.place, fault.hits) == ("delay before request", EDGE, 2)
    assert _began_late(fault)


def test_a_trigger_that_never_fired_has_no_hits(site: FaultSite, caller: Caller) -> None:
    with at_event(site, EDGE, Trigger(event="request", stream="upstream", action="cut", detail="GET *")):
        caller.start()
        caller.await_ready()
    [fault] = site.recording.faults
    assert fault.hits == 0


def _began_late(fault: Fault) -> bool:
    return fault.injected_at == fault.effective_at and fault.injected_at in fault.proof
