"""One process of the generator: it begins each arrival at its moment, whatever has become of those before.

Only Locust's processes import this: gevent has replaced the standard library's sockets and threads there.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import gevent
import msgspec
from gevent.pool import Group
from locust.contrib.fasthttp import FastHttpSession

from harness.evidence.recording import outcome_of
from harness.evidence.records import Operation
from harness.load.records import Sample
from scenarios.load.order import Clock, Order
from scenarios.load.schedule import arrivals_of
from scenarios.load.visits import Leads, Visit

Deliver = Callable[[bytes, bytes], object]
"""Takes samples and operations, both as lines."""
_DELIVER_EVERY_S = 0.25


class Dispatcher:
    """The share of one process, from its first arrival until its last answer.

    A greenlet waits for the moment of each arrival and starts another one for each of its requests, which waits for a
    connection, if all are in use, and for the answer. Nothing is left out: what begins late is late in its sample.
    """

    def __init__(self, order: Order, http: FastHttpSession, deliver: Deliver) -> None:
        self._order, self._http, self._deliver = order, http, deliver
        self._clock = Clock(order)
        self._bases = {"crm": order.crm.rstrip("/"), "pipeline": order.pipeline.rstrip("/")}
        self._authorization = f"Bearer {order.token}"
        self._leads = Leads()
        self._numbers: Iterator[int] = count(order.part, order.parts)
        self._sessions = (f"load-{order.part}-{number}" for number in count())
        self._idle: list[str] = []
        self._samples: list[Sample] = []
        self._operations: list[Operation] = []
        self._stopped = False

    def stop(self) -> None:
        """Send nothing more; what is under way is waited for."""
        self._stopped = True

    def run(self) -> int:
        """Returns when the last request is answered or given up, and all is delivered: how many there were."""
        requests = 0
        delivering = gevent.spawn(self._deliver_now_and_then)
        under_way = Group()
        try:
            for arrival in arrivals_of(self._order):
                due_ns = self._order.begin_ns + arrival.at_ns
                gevent.sleep(max(0.0, (due_ns - self._clock.now_ns()) / 1e9))
                if self._stopped:
                    break
                requests += arrival.requests
                for visit in self._leads.visits(arrival.kind, arrival.requests):
                    under_way.start(gevent.Greenlet(self._ask, visit, due_ns))
            under_way.join()
        finally:
            delivering.kill()
            self._deliver_all()
        return requests

    def _ask(self, visit: Visit, intended_ns: int) -> None:
        began_ns = self._clock.now_ns()
        session = self._idle.pop() if self._idle else next(self._sessions)
        correlation_id = str(uuid.uuid4())
        headers = {"Authorization": self._authorization, "X-Correlation-Id": correlation_id}
        with self._http.request(
            visit.method, self._bases[visit.service] + visit.path, name=visit.route, json=visit.body, headers=headers,
            catch_response=True,
        ) as response:  # fmt: skip
            status, answer = _told(response)
            ended_ns = self._clock.now_ns()
            meant = status in visit.meant
            if meant:
                response.success()
            elif status:
                response.failure(f"{status}, where {' or '.join(map(str, visit.meant))} was meant")
        self._idle.append(session)
        self._leads.answered(visit, status, answer)
        self._samples.append(
            Sample(visit.endpoint, intended_ns, began_ns, ended_ns, status, meant, correlation_id, visit.flow)
        )
        if self._order.operations:
            self._operations.append(
                Operation(
                    operation_id=next(self._numbers),
                    action=visit.action,
                    entity_type="lead",
                    entity_id=visit.lead.id if visit.lead else None,
                    correlation_id=correlation_id,
                    arguments=visit.body or {},
                    invoked_ns=self._clock.monotonic_ns(began_ns),
                    returned_ns=self._clock.monotonic_ns(ended_ns),
                    outcome=outcome_of(status or None),
                    http_status=status or None,
                    answer=answer,
                    session=session,
                )
            )

    def _deliver_now_and_then(self) -> None:
        while True:
            gevent.sleep(_DELIVER_EVERY_S)
            self._deliver_all()

    def _deliver_all(self) -> None:
        samples, self._samples = self._samples, []
        operations, self._operations = self._operations, []
        if samples:
            self._deliver(_lines(samples), _lines(operations))


def _told(response: Any) -> tuple[int, dict[str, Any]]:
    """Status and body. An answer that broke off is none."""
    try:
        content, status = response.content, int(response.status_code)
    except Exception as error:
        return 0, {"error": f"{type(error).__name__}: {error}"}
    if not status:
        return 0, {"error": f"{type(response.error).__name__}: {response.error}"}
    try:
        answer = msgspec.json.decode(content or b"")
    except msgspec.DecodeError:
        return status, {"text": (content or b"")[:500].decode("utf-8", "replace")}
    return status, answer if isinstance(answer, dict) else {"value": answer}


_encoder = msgspec.json.Encoder()


def _lines(records: list[Any]) -> bytes:
    return _encoder.encode_lines(records)
