"""Moments on the wire at which a drawn fault may come: what each edge of a target carries, and what follows a fault.

The second part is where bugs live: handling of errors is the code that runs least
(https://www.usenix.org/conference/osdi14/technical-sessions/presentation/yuan). So faults may be aimed at what other
faults set off: retries, dead letters, connections made anew.
"""

from __future__ import annotations

from chaos.schedule.schedule import Moment, Stream
from harness.environment.proxies import protocol_of
from harness.target import Target

WROTE = "?*"
"""The detail of a commit that wrote something."""


def moments(target: Target, edge: str) -> list[Moment]:
    """Events of a working day on an edge."""
    match protocol_of(edge):
        case "amqp":
            return [
                _at(edge, "upstream", "publish"),
                _at(edge, "downstream", "confirm"),
                *(
                    (_at(edge, "downstream", "deliver"), _at(edge, "upstream", "ack"))
                    if _consumes(target, edge)
                    else ()
                ),
            ]
        case "postgres":
            written = [WROTE, *(f"*{table}*" for table in target.database.transient if _owns(edge, table))]
            ends: tuple[tuple[Stream, str], ...] = (("upstream", "commit"), ("downstream", "committed"))
            return [_at(edge, stream, event, detail) for stream, event in ends for detail in written]
        case "http":
            changes = [] if edge.endswith("→webhook") else [("request", "P[OA]*"), ("response", "P[OA]*")]
            asks = [("request", "*"), ("response", "*"), *changes]
            return [_at(edge, "upstream" if event == "request" else "downstream", event, d) for event, d in asks]
    return []


def retries(target: Target) -> list[Moment]:
    """Steps of carrying an event over a passing failure: its copy is published and confirmed, itself acknowledged."""
    copies = f"*/{target.broker.retry_queues[0].rpartition('.')[0]}.*"
    found = []
    for edge in (edge for edge in target.edges if protocol_of(edge) == "amqp" and _consumes(target, edge)):
        found += [_at(edge, "upstream", "publish", copies), _at(edge, "downstream", "confirm", copies)]
        found.append(_at(edge, "upstream", "ack"))
    return found


def reconnects(target: Target, place: str) -> list[Moment]:
    """Steps of coming back, on an edge or on all edges of a process."""
    found: list[Moment] = []
    for edge in edges_at(target, place):
        if protocol_of(edge) == "postgres":
            found.append(_at(edge, "upstream", "startup"))
        elif protocol_of(edge) == "amqp":
            found += [_at(edge, "upstream", event) for event in ("connection.open", "confirm.select")]
            found += [_at(edge, "upstream", "basic.consume")] if _consumes(target, edge) else []
    return found


def edges_at(target: Target, place: str) -> list[str]:
    """The edge itself, or those of a service or server, at either end."""
    if place in target.edges:
        return [place]
    ends = {"postgres": "database", "rabbitmq": "broker"}
    return [edge for edge in target.edges if ends.get(place, place) in edge.split("→")]


def consumer(target: Target) -> str | None:
    """The service that takes events from the work queue: queues are named after theirs."""
    owner = target.broker.work_queue.partition(".")[0]
    return owner if owner in target.services else None


def _consumes(target: Target, edge: str) -> bool:
    return consumer(target) in (None, edge.partition("→")[0])


def _owns(edge: str, table: str) -> bool:
    return table.startswith(edge.partition("→")[0] + ".")


def _at(edge: str, stream: Stream, event: str, detail: str = "*") -> Moment:
    return Moment(edge=edge, stream=stream, event=event, detail=detail)
