"""Confirmed events per second: the relay on a full outbox, against a bare publisher.

The outbox is filled while pipeline does not run. Then it starts, and the table itself says how fast the rows were
marked sent. The baseline is ``bare_publisher``: pika alone, with the relay's window, messages of the same size, to
the same exchange, with the same queue bound. They take turns.
"""

from __future__ import annotations

from collections.abc import Iterator
from statistics import median

import msgspec

from harness.environment.waiting import eventually
from scenarios.bench.bare_publisher import Order, Outcome
from scenarios.bench.site import FIRST_LEAD, LEADS, Site, in_its_own_process

ROUNDS = 3
EVENTS = 20_000
WINDOW = 256
_LEFT_OUT = 1_000
"""The first events go out while the service is still coming up."""
_WITHIN_S = 60.0

_FILL = b"""
INSERT INTO pipeline.outbox
    (event_id, event_type, entity_type, entity_id, entity_version, correlation_id, span_id, envelope)
SELECT event_id, 'lead.stage.changed', 'lead', lead_id, version, flow, '0123456789abcdef', json_build_object(
    'event_id', event_id, 'event_type', 'lead.stage.changed', 'schema_version', 1,
    'occurred_at', '2026-01-01T00:00:00.000000Z', 'correlation_id', flow, 'causation_id', null,
    'entity_type', 'lead', 'entity_id', lead_id, 'entity_version', version, 'source', 'pipeline', 'hop_count', 0,
    'payload', json_build_object('from_stage', 'contacted', 'to_stage', 'engaged', 'source', 'manual'))
FROM (
    SELECT gen_random_uuid() AS event_id, gen_random_uuid() AS flow, 1 + number / %(leads)s AS version,
        ('00000000-0000-4000-8000-' || %(first)s + number %% %(leads)s)::uuid AS lead_id
    FROM generate_series(0, %(events)s - 1) AS number
) AS made
"""
_RATE = b"""
SELECT (count(*) - %(left_out)s) / extract(epoch FROM max(sent_at) - (array_agg(sent_at ORDER BY id))[%(left_out)s])
FROM pipeline.outbox
"""


class Relaying(msgspec.Struct, kw_only=True):
    """Rounds of both; round n of one was next to round n of the other."""

    events: int = EVENTS
    window: int = WINDOW
    body_bytes: int = 0
    relayed_per_s: list[float] = []
    bare_per_s: list[float] = []

    @property
    def ratio(self) -> float:
        return round(median(self.relayed_per_s) / median(self.bare_per_s), 3)


def measure(site: Site) -> Iterator[Relaying]:
    """Take turns; yields what is known so far after each round. Nothing runs before and afterwards."""
    site.start("crm")
    found = Relaying()
    for _ in range(ROUNDS):
        site.fresh_tables()
        found.body_bytes = _fill(site)
        site.empty_queues()
        found.bare_per_s.append(_publish_bare(site, found.body_bytes))
        site.empty_queues()
        site.start("pipeline")
        found.relayed_per_s.append(_rate(site))
        site.stop("pipeline")
        yield found
    site.stop("crm")


def _fill(site: Site) -> int:
    with site.database() as database:
        database.execute(_FILL, {"first": FIRST_LEAD, "leads": LEADS, "events": EVENTS})
        database.execute("VACUUM ANALYZE pipeline.outbox")
        database.execute("CHECKPOINT")
        size = database.execute("SELECT avg(octet_length(envelope::text))::integer FROM pipeline.outbox").fetchone()
    assert size is not None
    return int(size[0])


def _rate(site: Site) -> float:
    with site.database() as database:

        def all_sent() -> bool:
            row = database.execute("SELECT EXISTS (SELECT FROM pipeline.outbox WHERE sent_at IS NULL)").fetchone()
            return row == (False,)

        eventually(all_sent, within_s=_WITHIN_S, describe="the relay to send the whole outbox", every_s=0.1)
        rate = database.execute(_RATE, {"left_out": _LEFT_OUT}).fetchone()
    assert rate is not None
    return round(float(rate[0]), 1)


def _publish_bare(site: Site, body_bytes: int) -> float:
    order = Order(
        url=site.stack.broker_url,
        exchange=site.target.broker.exchange,
        routing_key="lead.stage.changed",
        events=EVENTS,
        left_out=_LEFT_OUT,
        window=WINDOW,
        body_bytes=body_bytes,
    )
    return in_its_own_process("scenarios.bench.bare_publisher", order, Outcome).confirmed_per_s
