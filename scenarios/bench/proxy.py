"""What the fault proxy costs, beside a bare relay and toxiproxy-server, all measured in turns in one run.

Client, server and proxy share the machine. The direct way is measured as well: what a round trip takes more than that
has been added.
"""

from __future__ import annotations

import multiprocessing
import os
import socket
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from typing import NamedTuple

import httpx
import msgspec
from rich.table import Table

from harness.environment.servers import look_around
from harness.environment.waiting import eventually
from harness.load.percentiles import percentile
from scenarios.bench.proxy_peer import HTTP_ANSWER, STREAM_BYTES, Talk, read_exactly, serve, talks

ROUNDS = 7
ROUND_TRIPS = 500  # a round
PIPELINED = 8  # chunks of HTTP requests that wait for their answers
IDLE_CONNECTIONS, IDLE_S = 50, 5.0
UP_WITHIN_S, STREAM_WITHIN_S = 20.0, 60.0

DIRECT, BARE, THEIRS, OPAQUE, READ = "direct", "bare relay", "toxiproxy-server", "ours, opaque", "ours, wire read"
MOST_ADDED_US, LEAST_MB_PER_S, MOST_IDLE_PERCENT = 100, 400, 0.5


class Way(NamedTuple):
    """One way from the client to the server: its port for each talk, and the process between them."""

    name: str
    ports: dict[str, int]
    pid: int | None


class Row(msgspec.Struct, frozen=True):
    """One line of the table: a figure for each way."""

    what: str
    unit: str
    measured: dict[str, float]
    target: str = ""
    met: bool | None = None


class Proxying(msgspec.Struct, frozen=True):
    """A whole run."""

    rows: list[Row]

    @property
    def met(self) -> bool:
        return all(row.met is not False for row in self.rows)


def measure(on_step: Callable[[str], None]) -> Proxying:
    """Start a server and all ways to it, and measure them in turns."""
    by_name = {talk.name: talk for talk in talks()}
    took_us: defaultdict[tuple[str, str], list[float]] = defaultdict(list)
    mb_per_s: defaultdict[tuple[str, str], list[float]] = defaultdict(list)
    cpu_s: defaultdict[str, float] = defaultdict(float)
    with _site() as (ways, told):
        for number in range(1, ROUNDS + 1):
            for way in ways:
                for name in ("small", "confirmed"):
                    took_us[name, way.name] += _round_trips(way.ports[name], by_name[name])
                for name in ("amqp", "postgres", "http"):
                    before = _cpu_s(way.pid)
                    mb_per_s[name, way.name].append(_stream(way.ports[name], by_name[name], told))
                    if name == "amqp":
                        cpu_s[way.name] += _cpu_s(way.pid) - before
            on_step(f"round {number} of {ROUNDS}")
        on_step(f"{IDLE_CONNECTIONS} idle connections, {IDLE_S:.0f} s for each proxy")
        idle = {way.name: _idle_percent(way, by_name["confirmed"]) for way in ways if way.pid}
    return Proxying(_rows(took_us, mb_per_s, cpu_s, idle))


# --- the ways ---------------------------------------------------------------------------------------------------------


@contextmanager
def _site() -> Iterator[tuple[list[Way], Connection]]:
    spawning = multiprocessing.get_context("spawn")
    told, telling = spawning.Pipe(duplex=False)
    server = spawning.Process(target=serve, args=(telling,), daemon=True)
    server.start()
    with ExitStack() as ending:
        ending.callback(server.kill)
        ports: dict[str, int] = dict(zip((talk.name for talk in talks()), told.recv(), strict=True))
        ways = [Way(DIRECT, ports, None), ending.enter_context(_bare(ports))]
        program = look_around()["toxiproxy-server"].found
        if not isinstance(program, str):
            ways.append(ending.enter_context(_proxies(THEIRS, [str(program.place)], ports, read=False)))
        ours = [sys.executable, "-m", "chaos.proxy"]
        ways.append(ending.enter_context(_proxies(OPAQUE, ours, ports, read=False)))
        ways.append(ending.enter_context(_proxies(READ, ours, ports, read=True)))
        yield ways, told


@contextmanager
def _bare(upstreams: dict[str, int]) -> Iterator[Way]:
    ports = {name: _free_port() for name in upstreams}
    pairs = [f"{port}:{upstreams[name]}" for name, port in ports.items()]
    with _running([sys.executable, "-m", "scenarios.bench.bare_relay", *pairs]) as process:
        for port in ports.values():
            eventually(lambda at=port: _connect(at), within_s=UP_WITHIN_S, describe="the bare relay")  # type: ignore[misc]
        yield Way(BARE, ports, process.pid)


@contextmanager
def _proxies(name: str, program: list[str], upstreams: dict[str, int], *, read: bool) -> Iterator[Way]:
    port = _free_port()
    url = f"http://127.0.0.1:{port}"
    with (
        _running([*program, "-host", "127.0.0.1", "-port", str(port)]) as process,
        httpx.Client(base_url=url, trust_env=False, verify=False, timeout=5) as client,
    ):
        eventually(lambda: client.get("/version").is_success, within_s=UP_WITHIN_S, describe=name)
        asked = [
            {"name": talk.name, "listen": "127.0.0.1:0", "upstream": f"127.0.0.1:{upstreams[talk.name]}"}
            | ({"protocol": talk.protocol} if read else {})
            for talk in talks()
        ]
        made = client.post("/populate", json=asked).raise_for_status().json()["proxies"]
        ports = {proxy["name"]: int(proxy["listen"].rpartition(":")[2]) for proxy in made}
        yield Way(name, ports, process.pid)
        if read:
            _all_was_read(client)


def _all_was_read(client: httpx.Client) -> None:
    """A decoder that gave up would be quick."""
    for talk in talks():
        seen = client.get(f"/proxies/{talk.name}/seen").json()
        gave_up = seen["upstream"]["opaque"] or seen["downstream"]["opaque"]
        if gave_up or not seen["upstream"]["events"]:
            raise AssertionError(f"the wire of {talk.name} was not read: {gave_up or seen}")


@contextmanager
def _running(argv: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    quiet = os.environ | {"LOG_LEVEL": "fatal"}
    process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=quiet)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


# --- measuring --------------------------------------------------------------------------------------------------------


def _round_trips(port: int, talk: Talk) -> list[float]:
    """Microseconds of each."""
    took = []
    with _connect(port) as sock:
        _introduce(sock, talk)
        for _ in range(ROUND_TRIPS):
            began = time.perf_counter_ns()
            sock.sendall(talk.message)
            read_exactly(sock, len(talk.answer))
            took.append((time.perf_counter_ns() - began) / 1000)
    return took


def _stream(port: int, talk: Talk, told: Connection) -> float:
    """MB/s of one stream, as its receiver saw it."""
    chunk = talk.chunk
    with _connect(port) as sock:
        _introduce(sock, talk)
        for number in range(talk.chunks):
            sock.sendall(chunk)
            if talk.protocol == "http" and number >= PIPELINED:
                read_exactly(sock, len(HTTP_ANSWER) * (len(chunk) // len(talk.message)))
        if not told.poll(STREAM_WITHIN_S):
            raise TimeoutError(f"the stream {talk.name} did not arrive within {STREAM_WITHIN_S:.0f} s")
        size, took_s = told.recv()
    return float(size / took_s / 1e6)


def _idle_percent(way: Way, talk: Talk) -> float:
    """CPU time of one core that the proxy uses while its connections are open and nothing is said."""
    with ExitStack() as open_:
        for _ in range(IDLE_CONNECTIONS):
            sock = open_.enter_context(_connect(way.ports[talk.name]))
            _introduce(sock, talk)
            sock.sendall(talk.message)
            read_exactly(sock, len(talk.answer))
        before = _cpu_s(way.pid)
        time.sleep(IDLE_S)  # not waiting for anything: this is the measured time
        return (_cpu_s(way.pid) - before) / IDLE_S * 100


def _introduce(sock: socket.socket, talk: Talk) -> None:
    sock.sendall(talk.preface)
    read_exactly(sock, len(talk.hello))


def _connect(port: int) -> socket.socket:
    sock = socket.create_connection(("127.0.0.1", port), timeout=60)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    return port


def _cpu_s(pid: int | None) -> float:
    """What a process has used until now, all its threads together."""
    if pid is None:
        return 0.0
    threads = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(thread.read_text().split()[0]) for thread in threads) / 1e9


# --- the table --------------------------------------------------------------------------------------------------------


def _rows(
    took_us: dict[tuple[str, str], list[float]],
    mb_per_s: dict[tuple[str, str], list[float]],
    cpu_s: dict[str, float],
    idle: dict[str, float],
) -> list[Row]:
    ways = [way for _, way in took_us if _ == "small"]
    rows = []
    for name, what in (("small", "64 bytes there and back"), ("confirmed", "a publish of 1 KiB and its confirm")):
        for share, called in ((0.5, "p50"), (0.99, "p99")):
            at = {way: percentile(sorted(took_us[name, way]), share) for way in ways}
            added = {way: at[way] - (0 if way == DIRECT else at[DIRECT]) for way in ways}
            judged = called == "p50"
            rows.append(
                Row(
                    f"{what}: {called}, added",
                    "µs",
                    added,
                    f"≤ {MOST_ADDED_US} µs" if judged else "",
                    added[READ] <= MOST_ADDED_US if judged else None,
                )
            )
    for name, what, judged in (
        ("amqp", "publishes of 1 KiB, confirmed by and by", True),
        ("postgres", "rows of 1 KiB into a COPY", True),
        ("http", "HTTP requests of 1 KiB (told only)", False),
    ):
        measured = {way: median(mb_per_s[name, way]) for way in ways}
        target, met = (f"≥ {LEAST_MB_PER_S} MB/s", measured[READ] >= LEAST_MB_PER_S) if judged else ("", None)
        rows.append(Row(f"one stream: {what}", "MB/s", measured, target, met))
    per_gb = {way: used * 1e9 / (STREAM_BYTES * ROUNDS) for way, used in cpu_s.items() if used}
    rows.append(Row("CPU time of the proxy for a GB of publishes", "s", per_gb))
    rows.append(
        Row(
            f"CPU with {IDLE_CONNECTIONS} idle connections",
            "%",
            idle,
            f"≤ {MOST_IDLE_PERCENT} %",
            idle[READ] <= MOST_IDLE_PERCENT,
        )
    )
    return rows


def table(done: Proxying) -> Table:
    """The figures, one a line, one column a way."""
    load = os.getloadavg()[0]
    shown = Table(title=f"{os.cpu_count()} cores; load average {load:.1f}", title_justify="left")
    ways = list(done.rows[0].measured)
    shown.add_column("")
    for way in ways:
        shown.add_column(way, justify="right")
    shown.add_column("target")
    shown.add_column("")
    marks = {True: "[green]met[/]", False: "[red]missed[/]", None: ""}
    for row in done.rows:
        figures = [f"{row.measured[way]:,.1f} {row.unit}" if way in row.measured else "" for way in ways]
        shown.add_row(row.what, *figures, row.target, marks[row.met])
    return shown
