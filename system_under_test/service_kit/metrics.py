"""Counts, durations and gauges in memory: one registry, told in full at /metrics and in short in the log."""

from __future__ import annotations

import asyncio
from typing import TypeVar

import prometheus_client
from fastapi import APIRouter
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute

from system_under_test.service_kit import logs

F = TypeVar("F", Counter, Histogram, Gauge)

prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]
_registry = CollectorRegistry()
_families: dict[str, Counter | Histogram | Gauge] = {}


def count(name: str, by: int = 1, **labels: str) -> None:
    _of(Counter, name, labels).inc(by)


def observe(name: str, duration_ms: float, **labels: str) -> None:
    """Keep how long something took. It is told in seconds, as is the custom there."""
    _of(Histogram, f"{name}.seconds", labels).observe(duration_ms / 1000)


def gauge(name: str, value: float, **labels: str) -> None:
    _of(Gauge, name, labels).set(value)


def _of(kind: type[F], name: str, labels: dict[str, str]) -> F:
    """The series of a name and its labels. The values of a label must be few: each makes a series."""
    family = _families.get(name)
    if family is None:
        family = kind(name.replace(".", "_"), name.replace(".", " "), tuple(labels), registry=_registry)
        _families[name] = family
    assert isinstance(family, kind)
    return family.labels(**labels) if labels else family


def routes() -> list[BaseRoute]:
    router = APIRouter()
    router.add_api_route("/metrics", _scrape, methods=["GET"], response_class=PlainTextResponse)
    return router.routes


async def _scrape() -> Response:
    return Response(generate_latest(_registry), media_type=prometheus_client.CONTENT_TYPE_LATEST)


def write_snapshot() -> None:
    """The counters and, of the durations, how many there were and their sum, under the names of /metrics."""
    counters: dict[str, int] = {}
    histograms: dict[str, dict[str, float]] = {}
    for family in _registry.collect():
        for sample in family.samples:
            labels = ",".join(f'{name}="{value}"' for name, value in sample.labels.items())
            series = f"{{{labels}}}" if labels else ""
            if family.type == "counter":
                counters[sample.name + series] = int(sample.value)
            elif family.type == "histogram" and not sample.name.endswith("_bucket"):
                part = sample.name.rpartition("_")[2]
                value = int(sample.value) if part == "count" else round(sample.value, 6)
                histograms.setdefault(family.name + series, {})[part] = value
    logs.line("metrics.snapshot", "ok", counters=counters, histograms=histograms)


async def write_snapshots(interval_s: float) -> None:
    while True:
        await asyncio.sleep(interval_s)
        write_snapshot()
