"""The catalogue of the kinds of fault that a schedule may name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from chaos.faults import broker, database
from chaos.faults.broker.alarm import MEMORY
from chaos.faults.broker.bindings import BINDINGS
from chaos.faults.broker.exchange import EXCHANGE
from chaos.faults.broker.full import WORK_QUEUE
from chaos.faults.process import killed, paused, restarted, stopped
from chaos.schedule.injections import answering, at_its_place, by_the_proxy, cut_off, full, poisoned
from chaos.schedule.kind import LASTS_MS, Action, Kind, never, nothing
from chaos.schedule.places import (
    always,
    broker_clients,
    called,
    comes_back,
    database_clients,
    edges,
    may_be_lost,
    may_come_twice,
    only,
    outward,
    processes,
    readable_edges,
    retries,
    retries_if_called,
    tables,
    written_by_requests,
)
from chaos.schedule.schedule import Moment, Value
from harness.environment import postgres, rabbitmq
from harness.sinks.inbox import MAIL

HOOKS = "/hooks"
STREAMS = {"stream": ("upstream", "downstream")}

_NETWORK = (
    Kind(name="cut", group="network", places=edges, inject=cut_off, sets_off=comes_back, exhausts=outward),
    *(
        Kind(
            name=name, group="network", places=edges, inject=poisoned(name, **attributes),
            choices={**STREAMS, **choices}, sets_off=sets_off, exhausts=exhausts, counted=True,
        )
        for name, attributes, choices, sets_off, exhausts in (
            ("latency", {"latency": "delay_ms"}, {"delay_ms": (30, 200, 700)}, nothing, called),
            ("bandwidth", {"rate": "rate_kb_s"}, {"rate_kb_s": (64, 8, 1)}, nothing, called),
            ("slicer", {"average_size": "bytes", "size_variation": 0, "delay": "delay_us"},
             {"bytes": (100, 10), "delay_us": (0, 1000)}, nothing, called),
            ("timeout", {"timeout": 0}, {}, retries_if_called, outward),
            ("reset_peer", {"timeout": "after_ms"}, {"after_ms": (0, 200)}, retries_if_called, called),
            ("limit_data", {"bytes": "bytes"}, {"bytes": (20_000, 2_000, 200)}, retries_if_called, called),
            ("slow_close", {"delay": "delay_ms"}, {"delay_ms": (100, 1000)}, nothing, never),
        )
    ),
)  # fmt: skip

_PROCESSES = tuple(
    Kind(
        name=name, group="process", places=processes, inject=at_its_place(how), lasts_ms=lasts_ms,
        sets_off=comes_back if how is not paused else nothing, in_the_broker=lambda _, place: place == rabbitmq.NAME,
        needs_flow=how in (stopped, restarted),
    )
    for name, how, lasts_ms in (
        ("SIGKILL", killed, LASTS_MS), ("SIGTERM", stopped, LASTS_MS), ("SIGSTOP", paused, LASTS_MS),
        ("restart", restarted, ()),
    )
)  # fmt: skip


_BROKER = tuple(
    Kind(
        name=name, group="broker", places=places, inject=inject, choices=choices, lasts_ms=lasts_ms,
        sets_off=comes_back, in_the_broker=always, needs=rabbitmq.NAME,
    )
    for name, places, inject, choices, lasts_ms in (
        ("unbound", partial(only, BINDINGS), at_its_place(broker.unbound), {}, LASTS_MS),
        ("memory alarm", partial(only, MEMORY), at_its_place(broker.memory_alarm), {}, LASTS_MS),
        ("queue full", partial(only, WORK_QUEUE), full, {"max_length": (3, 1)}, LASTS_MS),
        ("exchange deleted", partial(only, EXCHANGE), at_its_place(broker.exchange_deleted), {}, ()),
        ("connections closed", broker_clients, at_its_place(broker.closed), {}, ()),
    )
)  # fmt: skip

_DATABASE = tuple(
    Kind(
        name=name, group="database", places=places, inject=at_its_place(how), lasts_ms=lasts_ms,
        sets_off=sets_off, exhausts=exhausts, needs=postgres.NAME,
    )
    for name, places, how, lasts_ms, sets_off, exhausts in (
        ("writes refused", written_by_requests, database.refusing_writes, (300, 600, 900), retries, always),
        ("table locked", tables, database.locked, LASTS_MS, retries, always),
        ("read-only", partial(only, postgres.NAME), database.read_only, LASTS_MS, nothing, never),
        ("sessions terminated", database_clients, database.terminated, (), comes_back, never),
        ("connections exhausted", database_clients, database.exhausted, LASTS_MS, nothing, always),
    )
)  # fmt: skip

_OUTSIDE = tuple(
    Kind(
        name=name, group="outside", places=partial(only, place), inject=answering, sets_off=retries, exhausts=always,
        choices={"status": statuses, "times": (1, 2, 3), "delay_ms": (0, 300)}, lasts_ms=(),
    )
    for name, place, statuses in (("webhook fails", HOOKS, (503, 500, 429)), ("mail fails", MAIL, (451, 421)))
)  # fmt: skip


_ACTIONS: tuple[tuple[Action, Mapping[str, tuple[Value, ...]], tuple[int, ...], Callable[[Moment], bool]], ...] = (
    ("cut", {"times": (1, 2, 4)}, (), lambda moment: True),
    ("stall", {}, LASTS_MS, lambda moment: True),
    ("delay", {"delay_ms": (50, 300, 1000), "times": (1, 3)}, (), lambda moment: True),
    ("drop", {"times": (1, 2)}, (), may_be_lost),
    ("duplicate", {"times": (1, 3)}, (), may_come_twice),
)
_WIRE = tuple(
    Kind(
        name=f"{action} at", group="wire", places=readable_edges, inject=by_the_proxy, action=action, choices=choices,
        lasts_ms=lasts_ms, at=at, sets_off=comes_back if action == "cut" else retries_if_called, exhausts=called,
    )
    for action, choices, lasts_ms, at in _ACTIONS
)  # fmt: skip

KINDS: dict[str, Kind] = {kind.name: kind for kind in (*_NETWORK, *_PROCESSES, *_BROKER, *_DATABASE, *_OUTSIDE, *_WIRE)}
