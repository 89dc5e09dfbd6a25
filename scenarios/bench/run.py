"""One run of the bench: all measurements on one stack, with their targets, as a file and as a table."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median

import msgspec
from rich.table import Table

from harness.environment.machine import machine
from harness.evidence.clock import wall_now
from harness.evidence.run_directory import write_json
from scenarios.bench import chain, patches, relay
from scenarios.bench.chain import Chain
from scenarios.bench.patches import Patches
from scenarios.bench.relay import Relaying
from scenarios.bench.site import site

PATCH_RATIO = 0.6
RELAY_RATIO, RELAY_PER_S = 0.35, 5_000
CHAIN_P50_MS, CHAIN_P99_MS = 25, 80


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the table. A figure without a target is there to be compared with the others."""

    what: str
    against: str = ""
    measured: float
    unit: str
    baseline: float | None = None
    ratio: float | None = None
    target: str = ""
    met: bool | None = None


class Bench(msgspec.Struct, kw_only=True):
    """A whole run: the figures, and every sample that they come from."""

    began_at: str
    machine: str
    load_before: float
    figures: list[Figure]
    patches: list[Patches]
    relay: Relaying
    chain: Chain

    @property
    def met(self) -> bool:
        return all(figure.met is not False for figure in self.figures)


def bench(run_dir: Path, on_step: Callable[[str], None]) -> Bench:
    """Boot a stack, measure, write ``bench.json`` into the run directory. ``on_step`` is told of progress."""
    began_at, load_before = wall_now(), os.getloadavg()[0]
    with site(run_dir, on_step) as here:
        measured: list[Patches] = []
        for fsync in (False, True):  # and so it stays on for what follows
            here.switch(durable=fsync)
            setting = "fsync on" if fsync else "fsync off"
            for number, found in enumerate(patches.measure(here, fsync=fsync), start=1):
                ratios = ", ".join(f"{one.ratio:.2f} with {one.clients}" for one in found)
                on_step(f"PATCH against pgbench, {setting}, round {number} of {patches.ROUNDS}: ratio {ratios}")
            measured = found + measured
        for number, relaying in enumerate(relay.measure(here), start=1):
            on_step(f"relay against a bare publisher, round {number} of {relay.ROUNDS}: ratio {relaying.ratio:.2f}")
        for chained in chain.measure(here):
            on_step(f"PATCH → deal, {len(chained.took_ms)} of {chain.SAMPLES} samples: p50 {chained.p50_ms:.1f} ms")
    figures = figures_of(measured, relaying, chained)
    done = Bench(
        began_at=began_at,
        machine=machine(),
        load_before=load_before,
        figures=figures,
        patches=measured,
        relay=relaying,
        chain=chained,
    )
    write_json(run_dir / "bench.json", done)
    return done


def figures_of(measured: list[Patches], relaying: Relaying, chained: Chain) -> list[Figure]:
    """What the samples come to, in the order of the table."""
    return [*map(_of_patches, measured), *_of_relay(relaying), *_of_chain(chained)]


def table(done: Bench) -> Table:
    """The figures, one a line."""
    title = f"{done.machine}; load average {done.load_before:.1f} before, so much was running beside it"
    shown = Table(title=title, title_justify="left")
    for heading, justify in _HEADINGS:
        shown.add_column(heading, justify=justify)  # type: ignore[arg-type]
    marks = {True: "[green]met[/]", False: "[red]missed[/]", None: ""}
    for one in done.figures:
        shown.add_row(
            one.what,
            one.against,
            f"{one.measured:,.1f} {one.unit}",
            "" if one.baseline is None else f"{one.baseline:,.1f} {one.unit}",
            "" if one.ratio is None else f"{one.ratio:.2f}",
            one.target,
            marks[one.met],
        )
    return shown


_HEADINGS = (
    ("", "left"),
    ("against", "left"),
    ("measured", "right"),
    ("baseline", "right"),
    ("ratio", "right"),
    ("target", "left"),
    ("", "left"),
)


def _of_patches(one: Patches) -> Figure:
    """Judged with fsync, as in production; without it, as the gate's servers run, it is told only."""
    clients = f"{one.clients} client{'s' if one.clients > 1 else ''}"
    return Figure(
        what=f"PATCH, fsync {'on' if one.fsync else 'off'}, {clients}",
        against="pgbench",
        measured=median(one.patch_per_s),
        unit="/s",
        baseline=median(one.pgbench_per_s),
        ratio=one.ratio,
        target=f"ratio ≥ {PATCH_RATIO}" if one.fsync else "",
        met=one.ratio >= PATCH_RATIO if one.fsync else None,
    )


def _of_relay(one: Relaying) -> Iterator[Figure]:
    per_s = median(one.relayed_per_s)
    yield Figure(
        what="relay, confirmed events",
        against="bare publisher",
        measured=per_s,
        unit="/s",
        baseline=median(one.bare_per_s),
        ratio=one.ratio,
        target=f"≥ {RELAY_PER_S:,}/s, ratio ≥ {RELAY_RATIO}",
        met=per_s >= RELAY_PER_S and one.ratio >= RELAY_RATIO,
    )


def _of_chain(one: Chain) -> Iterator[Figure]:
    for name, took_ms, most_ms in (("p50", one.p50_ms, CHAIN_P50_MS), ("p99", one.p99_ms, CHAIN_P99_MS)):
        yield Figure(
            what=f"PATCH → deal created, {name} of {len(one.took_ms)}",
            measured=took_ms,
            unit="ms",
            target=f"≤ {most_ms} ms",
            met=took_ms <= most_ms,
        )
