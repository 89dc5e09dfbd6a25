"""Where the kinds of faults may be, at which events they may come, and what they set off."""

from __future__ import annotations

from chaos.schedule import moments
from chaos.schedule.schedule import Moment
from harness.environment import postgres, rabbitmq
from harness.environment.proxies import protocol_of
from harness.target import Target

SERVERS = (postgres.NAME, rabbitmq.NAME)


def edges(target: Target) -> tuple[str, ...]:
    return target.edges


def readable_edges(target: Target) -> tuple[str, ...]:
    return tuple(edge for edge in target.edges if protocol_of(edge) is not None)


def processes(target: Target) -> tuple[str, ...]:
    return (*target.services, *SERVERS)


def tables(target: Target) -> tuple[str, ...]:
    return target.database.transient


def broker_clients(target: Target) -> tuple[str, ...]:
    """The edges that lead there, and the server itself for all of them."""
    return (*(edge for edge in target.edges if edge.endswith("→broker")), rabbitmq.NAME)


def database_clients(target: Target) -> tuple[str, ...]:
    return (*(edge for edge in target.edges if edge.endswith("→database")), postgres.NAME)


def written_by_requests(target: Target) -> tuple[str, ...]:
    """Whoever does background work takes a refusal that nobody foresaw for final: it ends, or lets the event die."""
    own = moments.consumer(target)
    schemas = ((table, *table.split(".")) for table in target.database.transient)
    return tuple(table for table, schema, name in schemas if schema != own and name != "outbox")


def only(place: str, target: Target) -> tuple[str, ...]:
    return (place,)


def always(target: Target, place: str) -> bool:
    return True


def outward(target: Target, place: str) -> bool:
    """On the way to whoever is outside: no health probe goes there."""
    return place.endswith(("→webhook", "→mail"))


def called(target: Target, place: str) -> bool:
    """On the way of the calls that an event's action makes, which a peer's health probe goes too, and may survive."""
    near, _, far = place.partition("→")
    return near == moments.consumer(target) and far not in ("broker", "database")


def comes_back(target: Target, place: str) -> list[Moment]:
    """After a cut or a restart: connections made anew, and what an action that failed meanwhile sets off."""
    found = moments.reconnects(target, place)
    return found + moments.retries(target) if outward(target, place) else found


def retries(target: Target, place: str) -> list[Moment]:
    return moments.retries(target)


def retries_if_called(target: Target, place: str) -> list[Moment]:
    return moments.retries(target) if called(target, place) else []


def may_be_lost(moment: Moment) -> bool:
    """Answers, and requests over HTTP: who waits for one gives up. A stream of anything else never lacks a part."""
    return moment.event in ("confirm", "committed", "response", "request") and moment.when == "before"


def may_come_twice(moment: Moment) -> bool:
    """But no request of a client: what is refused the second time would be refused to whoever asked first."""
    near = moment.edge.partition("→")[0]
    return moment.event in ("publish", "ack") or (moment.event == "request" and near != "client")
