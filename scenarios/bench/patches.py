"""PATCH per second through HTTP, with the relay at work, against pgbench running the same transaction.

pgbench runs ``patch.sql``: the statements of a PATCH one by one, prepared, under the service's own role and time
limits, while no service runs. Then pipeline runs, with its relay sending every event, and automation does not: what
the events lead to is not part of a PATCH. The two take turns, so that a noisy machine is noisy for both.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import msgspec

from harness.environment.failures import EnvironmentFailed
from scenarios.bench.load import Order, Outcome
from scenarios.bench.site import FIRST_LEAD, LEADS, Site, in_its_own_process

CLIENTS = (1, 8, 32)
ROUNDS = 3
WARM_UP_S = 0.5
MEASURED_S = 2

_SQL = Path(__file__).with_name("patch.sql")
_SESSION = "-c statement_timeout=10000 -c lock_timeout=3000 -c idle_in_transaction_session_timeout=30000"


class Patches(msgspec.Struct, kw_only=True):
    """Rounds of both, at one number of clients; round n of one was next to round n of the other."""

    fsync: bool
    clients: int
    patch_per_s: list[float] = []
    pgbench_per_s: list[float] = []
    patch_p50_ms: list[float] = []
    patch_p99_ms: list[float] = []

    @property
    def ratio(self) -> float:
        return round(median(self.patch_per_s) / median(self.pgbench_per_s), 3)


def measure(site: Site, *, fsync: bool) -> Iterator[list[Patches]]:
    """Take turns; yields what is known so far after each round. Nothing runs before and afterwards."""
    found = [Patches(fsync=fsync, clients=clients) for clients in CLIENTS]
    site.start("crm")
    for _ in range(ROUNDS):
        site.fresh_tables()
        for one in found:
            one.pgbench_per_s.append(_pgbench(site, one.clients))
        site.fresh_tables()
        site.empty_queues()
        site.start("pipeline")
        for one in found:
            outcome = _drive(site, one.clients)
            one.patch_per_s.append(outcome.answered_per_s)
            one.patch_p50_ms.append(outcome.p50_ms)
            one.patch_p99_ms.append(outcome.p99_ms)
        site.stop("pipeline")
        yield found
    site.stop("crm")


def _pgbench(site: Site, clients: int) -> float:
    host, port = site.stack.addresses["database"].split(":")
    done = subprocess.run(
        [
            str(site.servers.postgres / "pgbench"),
            *("--no-vacuum", "--protocol=prepared", f"--client={clients}", f"--time={MEASURED_S}"),
            *("-f", str(_SQL), "-D", f"first_lead={FIRST_LEAD}", "-D", f"last_lead={FIRST_LEAD + LEADS - 1}"),
            *("-h", host, "-p", port, "-U", "pipeline", site.target.database.name),
        ],
        env={"PGPASSWORD": site.stack.passwords["pipeline"], "PGOPTIONS": _SESSION, "LC_ALL": "C"},
        capture_output=True,
        text=True,
        check=False,
    )
    told = re.search(r"tps = ([\d.]+)", done.stdout)
    if done.returncode != 0 or told is None:
        raise EnvironmentFailed(f"pgbench failed: {done.stderr.strip()[-500:]}")
    return round(float(told[1]), 1)


def _drive(site: Site, clients: int) -> Outcome:
    host, port = site.stack.addresses["pipeline"].split(":")
    order = Order(
        host=host,
        port=int(port),
        token=site.stack.tokens["alice"],
        clients=clients,
        leads=LEADS,
        first_lead=FIRST_LEAD,
        warm_up_s=WARM_UP_S,
        measured_s=MEASURED_S,
    )
    outcome = in_its_own_process("scenarios.bench.load", order, Outcome)
    if set(outcome.statuses) != {200}:
        raise EnvironmentFailed(f"PATCHes of the bench were answered {outcome.statuses}; expected 200 only")
    return outcome
