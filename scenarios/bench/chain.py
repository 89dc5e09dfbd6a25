"""PATCH → deal created, end to end, on an idle system.

One sample after another, and the next one begins when the system has come to rest again. The clock starts before the
PATCH is sent and stops when the harness hears crm's notification of the deal's commit, which PostgreSQL itself sends
(``LISTEN``): so nothing polls while a sample runs. That the deal is there is looked up afterwards.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import psycopg

from harness.clients.http import CrmClient, PipelineClient
from harness.contract.log_lines import EventSettled, EventStored
from harness.environment.failures import EnvironmentFailed
from harness.environment.waiting import eventually
from harness.evidence.clock import monotonic_ns
from harness.evidence.log_tail import LogTail
from harness.evidence.recording import Recording
from harness.load.percentiles import percentile
from harness.target import Target
from scenarios.bench.site import Site

SAMPLES = 250
_WARM_UP = 20
_EVERY = 50
_WITHIN_S = 10.0


class Chain(msgspec.Struct, kw_only=True):
    """How long each sample took, and of that the PATCH until its answer."""

    took_ms: list[float] = []
    patch_ms: list[float] = []

    @property
    def p50_ms(self) -> float:
        return percentile(sorted(self.took_ms), 0.5)

    @property
    def p99_ms(self) -> float:
        return percentile(sorted(self.took_ms), 0.99)


def measure(site: Site) -> Iterator[Chain]:
    """One sample after another; yields what is known so far now and then. Nothing runs before and afterwards."""
    site.fresh_tables()
    site.empty_queues()
    at_rest = _Rest(LogTail(site.stack.log_dir))
    site.start(*site.stack.services)
    stack, token = site.stack, site.stack.tokens["alice"]
    crm = CrmClient(stack.url("crm"), token, Recording())
    pipeline = PipelineClient(stack.url("pipeline"), token, Recording())
    leads = [_new_lead(crm, pipeline) for _ in range(_WARM_UP + SAMPLES)]
    found = Chain()
    with site.database() as database:
        eventually(at_rest, within_s=_WITHIN_S, describe="the system to come to rest")
        database.execute("LISTEN crm_outbox")
        for number, lead in enumerate(leads):
            _sample(database, site.target, pipeline, lead, found)
            eventually(at_rest, within_s=_WITHIN_S, describe="the system to come to rest")
            if number < _WARM_UP:
                found.took_ms, found.patch_ms = [], []
            elif (number - _WARM_UP + 1) % _EVERY == 0:
                yield found
    site.stop(*site.stack.services)


class _Rest:
    """Whether every event that was stored has been settled by the consumer, which stores first what follows from it."""

    def __init__(self, log: LogTail) -> None:
        self._log, self._read = log, 0
        self._stored: set[str] = set()
        self._settled: set[str] = set()

    def __call__(self) -> bool:
        lines = self._log.read_on()
        for line in lines[self._read :]:
            if isinstance(line, EventStored):
                self._stored.add(line.event_id)
            elif isinstance(line, EventSettled) and line.event_id is not None:
                self._settled.add(line.event_id)
        self._read = len(lines)
        return self._stored <= self._settled


def _new_lead(crm: CrmClient, pipeline: PipelineClient) -> str:
    """A lead that pipeline has met already: asking crm who that is would be no part of a usual PATCH."""
    lead = str(crm.create_lead().answer["id"])
    pipeline.move_lead(lead, "engaged")
    return lead


def _sample(database: psycopg.Connection, target: Target, pipeline: PipelineClient, lead: str, found: Chain) -> None:
    patch = pipeline.move_lead(lead, "qualified")
    if patch.http_status != 200:
        raise EnvironmentFailed(f"a PATCH of the bench was answered {patch.http_status}: {patch.answer}")
    heard = sum(1 for _ in database.notifies(timeout=_WITHIN_S, stop_after=1))
    took_ms = (monotonic_ns() - patch.invoked_ns) / 1e6
    deal = f"SELECT FROM ({target.rows['deals']}) AS deals WHERE lead_id = %s".encode()
    if not heard or database.execute(deal, (lead,)).rowcount != 1:
        raise EnvironmentFailed(f"no deal within {_WITHIN_S:g} s for the lead {lead}")
    found.took_ms.append(round(took_ms, 3))
    found.patch_ms.append(round((patch.returned_ns - patch.invoked_ns) / 1e6, 3))
