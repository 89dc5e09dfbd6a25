"""What Locust runs: ``locust -f scenarios/load/locustfile.py``, alone or as master and workers.

Locust knows users who ask, wait and ask again. Here the arrivals are drawn before, and so its users are none: each of
its processes runs one, which dispatches the share of that process. So how many users there are is no choice, and the
profile says how long it lasts. Everything else of Locust works as always: its page, its statistics, its distribution.
See docs/load.md.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
from gevent.event import AsyncResult
from locust import FastHttpUser, LoadTestShape, events, task
from locust.env import Environment
from locust.runners import MasterRunner, WorkerRunner

from scenarios.load import order as orders
from scenarios.load.dispatcher import Dispatcher
from scenarios.load.order import Order, OrderError, order_from, part_of

_USAGE = 3
_BEGIN_AFTER_S = 0.5
"""From the orders to the first arrival: until then they are with all workers, and their users are there."""
_LONGER_S = 30.0
"""So long after the last arrival every answer has come or been given up."""
ORDER, RECORDS, DONE, STOP = "gauntlet order", "gauntlet records", "gauntlet done", "gauntlet stop"


class _Here:
    """What this process is at."""

    order: Order | None = None
    """Of the whole run, where it is given: in the master, or in the only process."""
    share: AsyncResult = AsyncResult()
    """The order of this process's own share."""
    parts = 1
    done: set[int] = set()  # noqa: RUF012  # of this process, and there is one
    over_at: float = 0.0
    stopped = False
    dispatcher: Dispatcher | None = None


def _leads(environment: Environment) -> bool:
    return not isinstance(environment.runner, WorkerRunner)


@events.init.add_listener  # type: ignore[untyped-decorator]
def _get_ready(environment: Environment, **_: Any) -> None:
    runner = environment.runner
    if runner is None:
        return
    if _leads(environment):
        try:
            _Here.order = order_from(os.environ, environment.host)
        except OrderError as error:
            print(f"gauntlet: {error}", file=sys.stderr)
            sys.exit(_USAGE)
        runner.register_message(RECORDS, _write_down)
        runner.register_message(DONE, _note_done)
    if not isinstance(runner, MasterRunner):
        runner.register_message(ORDER, _take_order)
        runner.register_message(STOP, _stop)


@events.test_start.add_listener  # type: ignore[untyped-decorator]
def _give_orders(environment: Environment, **_: Any) -> None:
    """Each worker gets a share of its own, so that together they do each arrival once."""
    runner, order = environment.runner, _Here.order
    if order is None or runner is None:
        return
    workers = [client.id for client in runner.clients.ready] if isinstance(runner, MasterRunner) else [None]
    _Here.parts, _Here.done = len(workers), set()
    begin_ns = time.time_ns() + int(_BEGIN_AFTER_S * 1e9)
    _Here.over_at = time.monotonic() + _BEGIN_AFTER_S + sum(step.seconds for step in order.steps) + _LONGER_S
    if order.out:
        (Path(order.out) / orders.BEGUN).write_text(str(begin_ns))
    for part, worker in enumerate(workers):
        share = part_of(order, part, len(workers), begin_ns)
        runner.send_message(ORDER, {"order": msgspec.json.encode(share)}, worker)


def _take_order(msg: Any, **_: Any) -> None:
    order = msgspec.json.decode(msg.data["order"], type=Order)
    Clients.concurrency = order.connections
    _Here.share.set(order)


def _stop(**_: Any) -> None:
    if _Here.dispatcher is not None:
        _Here.dispatcher.stop()


def _write_down(msg: Any, **_: Any) -> None:
    """What a process has done, on the master's machine: however many there are, its folder holds all of it."""
    if _Here.order is None or not _Here.order.out:
        return
    for name in ("samples", "operations"):
        with (Path(_Here.order.out) / f"{name}-{msg.data['part']}.ndjson").open("ab") as file:
            file.write(msg.data[name])


def _note_done(msg: Any, **_: Any) -> None:
    _Here.done.add(msg.data["part"])
    if _Here.order is not None and _Here.order.out:
        with (Path(_Here.order.out) / orders.DONE).open("a") as file:
            file.write(f"{msg.data['requests']}\n")


class Clients(FastHttpUser):
    """All clients whose requests one process sends."""

    host = ""
    network_timeout = connection_timeout = 10.0

    @task
    def dispatch(self) -> None:
        order: Order = _Here.share.get()
        _Here.share = AsyncResult()  # a second user of the same process waits, until Locust is started anew
        runner = self.environment.runner
        assert runner is not None

        def deliver(samples: bytes, operations: bytes) -> None:
            runner.send_message(RECORDS, {"part": order.part, "samples": samples, "operations": operations})

        _Here.dispatcher = Dispatcher(order, self.client, deliver)
        requests = _Here.dispatcher.run()
        runner.send_message(DONE, {"part": order.part, "requests": requests})


class UntilAllIsAnswered(LoadTestShape):
    """One user in each process, until each has done its share."""

    def tick(self) -> tuple[int, float] | None:
        if _Here.over_at and (len(_Here.done) >= _Here.parts or time.monotonic() > _Here.over_at):
            return None
        self._stop_if_asked()
        workers = len(self.runner.clients.ready) if isinstance(self.runner, MasterRunner) else 1
        users = max(1, workers, _Here.parts)
        return users, users

    def _stop_if_asked(self) -> None:
        order = _Here.order
        if order and order.out and not _Here.stopped and (Path(order.out) / orders.STOP).exists():
            _Here.stopped = True
            assert self.runner is not None
            self.runner.send_message(STOP, {})
