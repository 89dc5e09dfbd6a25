"""The events' exchange is deleted: who publishes to it loses its channel, and every binding is gone with it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from chaos.faults.server_log import ServerLog
from chaos.faults.site import Attestation, FaultSite, injected
from harness.environment import rabbitmq
from harness.environment.waiting import eventually

EXCHANGE = "the exchange"
_REFUSED = r"channel exception not_found.*no exchange"
_WITHIN_S = 10.0


@contextmanager
def exchange_deleted(site: FaultSite, place: str = EXCHANGE) -> Iterator[Attestation]:
    """Delete it. Hits: channels that the broker closed because somebody asked for it or published to it.

    There is nothing to undo but waiting: the system itself has to make it anew, and to bind its queue.
    """
    told, broker = ServerLog(site.service(rabbitmq.NAME)), site.target.broker

    def leads_to_the_work_queue() -> bool:
        return set(broker.bindings) <= site.node.bindings(broker.exchange, broker.work_queue)

    attested: list[Attestation] = []

    def wait() -> None:
        describe = "the exchange to be there again, and to lead to the work queue"
        eventually(leads_to_the_work_queue, within_s=_WITHIN_S, describe=describe)
        channels = told.count(_REFUSED)  # not before: nobody need have noticed at the end of the block
        attested[0].add(channels, f"{channels} channels were closed for want of the exchange")

    with injected(site, "deleted", place, effect=site.broker.delete_exchange, undo=wait) as attestation:
        attested.append(attestation)
        yield attestation
