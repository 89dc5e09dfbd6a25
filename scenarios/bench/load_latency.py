"""One rate on one stack, measured by four: our generator, a client like wrk2 with and without correction, and Locust.

Twice: as it is, and with a stall of one second (crm is frozen) in the middle. While it stalls, a client that waits for
its answer asks nothing, so whoever counts from when he *sent* leaves out all who would have waited.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
from rich.table import Table

from harness.environment.machine import machine
from harness.environment.stack import Stack
from harness.evidence.run_directory import RunDirectory, read_records, write_json
from harness.load.percentiles import percentile
from harness.load.records import Sample, Step
from harness.target import PROJECT_ROOT, load_target
from scenarios.bench import paced
from scenarios.bench.site import in_its_own_process
from scenarios.load.generator import LOCUSTS_OWN, Fleet, generating
from scenarios.load.order import order_for
from scenarios.load.profiles import Profile
from scenarios.stacks import Stacks
from scenarios.world import World

RATE, SECONDS, CONNECTIONS = 40.0, 10.0, 2
STALL_AFTER_S, STALL_S = 4.0, 1.0
_WORKED_OFF_WITHIN_S = 120.0
OURS, CORRECTED, PLAIN, LOCUST = "ours", "like wrk2, corrected", "like wrk2, plain", "Locust's own"
MEANS = {
    OURS: "from when it was due; each request on its own, whatever the others wait for",
    CORRECTED: "from when it was due; what is overdue waits for its connection too",
    PLAIN: "from when it was sent: what could not be sent in time is not counted",
    LOCUST: "of our requests, from when they were sent, rounded to two digits",
}


class Row(msgspec.Struct, frozen=True):
    """What one of them says, in milliseconds."""

    who: str
    stalled: bool
    count: int
    p50: float
    p99: float
    most: float


class Latencies(msgspec.Struct, frozen=True):
    """All rows."""

    machine: str
    rows: list[Row]


def measure(run_dir: Path, on_step: Callable[[str], None]) -> Latencies:
    """Calm and stalled, each by our generator and then by the other one."""
    target, run = load_target(), RunDirectory(run_dir)
    rows: list[Row] = []
    with Stacks(target, run, worker="bench", source_root=PROJECT_ROOT) as stacks:
        for stalled in (False, True):
            for way in (_ours, _paced):
                stack, since = stacks.current()
                name = f"{way.__name__.strip('_')}-{'stalled' if stalled else 'calm'}"
                world = World(stack, target, run, name=name, seed=1, since=since)
                rows += way(world, stalled)
                world.settled(within_s=_WORKED_OFF_WITHIN_S)
                world.write_down(None)
                on_step("; ".join(f"{row.who}: p99 {row.p99:.1f} ms" for row in rows[-2:]))
    found = Latencies(machine(), sorted(rows, key=lambda row: (row.stalled, list(MEANS).index(row.who))))
    write_json(run_dir / "bench-load-latency.json", found)
    return found


def table(found: Latencies) -> Table:
    """One line for each who has measured."""
    title = f"{found.machine}; POST /leads, {RATE:g}/s for {SECONDS:g} s; like wrk2: {CONNECTIONS} connections"
    counts = "\n".join(f"{who} counts {what}" for who, what in MEANS.items())
    shown = Table(title=title, title_justify="left", caption=counts, caption_justify="left")
    for heading in ("", "", "requests", "p50", "p99", "max"):
        shown.add_column(heading, justify="left" if not heading else "right", no_wrap=True)
    for row in found.rows:
        numbers = (f"{value:,.1f} ms" for value in (row.p50, row.p99, row.most))
        when = f"stalled for {STALL_S:g} s" if row.stalled else "as it is"
        shown.add_row(when, row.who, str(row.count), *numbers)
    return shown


def _ours(world: World, stalled: bool) -> Iterator[Row]:
    folder = world.run.scenario(world.name).root / "load"
    folder.mkdir()
    step = Step(seconds=SECONDS, from_rate=RATE, to_rate=RATE)
    profile = Profile(
        name="one rate", says="", arrivals="constant", warm_up_s=0, steps=(step,), drain_s=60, mix={"create": 1},
        outage=None, stops_at=None,
    )  # fmt: skip
    stack = world.stack
    order = order_for(
        profile, crm=stack.edge_url("client→crm"), pipeline=stack.edge_url("client→pipeline"),
        token=stack.tokens["alice"], seed=1, out=folder,
    )  # fmt: skip
    with generating(stack, order, folder, Fleet()) as generator:
        begun_ns = generator.await_begun(within_s=20)
        with _stall(stack, begun_ns, stalled):
            generator.ended(within_s=SECONDS + 30)
    samples = read_records(folder / "samples-0.ndjson", Sample)
    yield _row(OURS, stalled, [(one.ended_ns - one.intended_ns) / 1e6 for one in samples])
    yield _row(LOCUST, stalled, list(_locusts_own(folder)))


def _paced(world: World, stalled: bool) -> Iterator[Row]:
    stack = world.stack
    host, _, port = stack.edges["client→crm"].partition(":")
    begin_ns = time.time_ns() + 1_000_000_000
    order = paced.Order(host, int(port), stack.tokens["alice"], CONNECTIONS, RATE, SECONDS, begin_ns)
    with _stall(stack, begin_ns, stalled):
        outcome = in_its_own_process("scenarios.bench.paced", order, paced.Outcome)
    yield _row(CORRECTED, stalled, outcome.corrected_ms)
    yield _row(PLAIN, stalled, outcome.plain_ms)


def _row(who: str, stalled: bool, took_ms: list[float]) -> Row:
    ordered = sorted(took_ms)
    p50, p99, most = (round(percentile(ordered, share), 1) for share in (0.5, 0.99, 1.0))
    return Row(who, stalled, len(ordered), p50, p99, most)


@contextmanager
def _stall(stack: Stack, begin_ns: int, stalled: bool) -> Iterator[None]:
    """Freeze crm for a while, counted from the zero of a schedule."""
    crm = stack.processes["crm"]

    def stall() -> None:
        crm.pause()
        over.wait(STALL_S)
        crm.resume()

    over = threading.Event()
    timer = threading.Timer(begin_ns / 1e9 + STALL_AFTER_S - time.time(), stall)
    if stalled:
        timer.start()
    try:
        yield
    finally:
        timer.cancel()
        over.set()
        if stalled:
            timer.join()


class _Entry(msgspec.Struct):
    response_times: dict[str, int]


def _locusts_own(folder: Path) -> Iterator[float]:
    """Its response times, which it keeps rounded, each as often as it came."""
    file = (folder / LOCUSTS_OWN).with_suffix(".json")
    for entry in msgspec.json.decode(file.read_bytes(), type=list[_Entry]):
        for took_ms, count in entry.response_times.items():
            yield from [float(took_ms)] * count
