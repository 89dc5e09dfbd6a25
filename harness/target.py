"""What a system under test is: its services, the edges between its processes, and where its evidence lies.

A target is data (``targets/*.toml``), so that another CRM which keeps the same contracts can stand in for the
reference one. Nothing here starts anything: ``harness.environment`` brings a target up.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import msgspec

PROJECT_ROOT = Path(__file__).resolve().parent.parent
DEFAULT_TARGET = PROJECT_ROOT / "targets" / "reference.toml"

_HINT = "see targets/reference.toml for a complete example"


class TargetError(Exception):
    """A target file is missing, unreadable or says something impossible. The message names the file and the place."""


class DatabaseSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The one database: its roles, the SQL files that make it, the tables that a clean slate empties, the
    statement that takes back what scenarios have set up, and the one by which they add a rule (its name, event type,
    stage, action, parameters, and whether it is switched on). ``executions``: the table in which automation claims what
    it runs, with the name of the rule in the column ``execution_rule``.
    ``backlog``: a query for the number of outbox rows that are not sent (``unsent``), and the age of the oldest
    (``oldest_s``)."""

    name: str
    roles: tuple[str, ...]
    schema: tuple[str, ...]
    transient: tuple[str, ...]
    restore: str = ""
    add_rule: str = ""
    executions: str = ""
    execution_rule: str = ""
    backlog: str = ""


class BrokerSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Names in the message broker. ``max_attempts`` counts the first delivery; ``prefetch`` is the most that a
    consumer is sent before it has settled any (0: any number, but a number); ``consumers``: which queues a service
    consumes, always; ``undeliverable``: where the broker moves what was delivered too often."""

    exchange: str
    work_queue: str
    bindings: tuple[str, ...]
    dead_letter_queue: str
    retry_queues: tuple[str, ...]
    max_attempts: int
    prefetch: int = 0
    undeliverable: str = ""
    consumers: dict[str, tuple[str, ...]] = {}

    @property
    def queues(self) -> tuple[str, ...]:
        """Every queue in which an event can rest."""
        return (self.work_queue, *self.retry_queues, self.dead_letter_queue)


class StageSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The stages of a lead or deal. A terminal stage is never left."""

    initial: str
    open: tuple[str, ...]
    terminal: tuple[str, ...]


class ServiceSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One process: how to start it and which path answers 200 when it is ready."""

    command: tuple[str, ...]
    ready: str
    environment: dict[str, str]


class Counted(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a metric counts: the lines of this kind, a series for each combination of these fields of theirs.
    ``sums_ms``: the field, of milliseconds, that a histogram sums up, in seconds."""

    kind: str
    labels: tuple[str, ...] = ()
    sums_ms: str = ""


class MetricsSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Names of metrics, as the ``metrics.snapshot`` lines have them. ``processed``: the counter of events that were
    handled to their end, each of them once, however often it was delivered."""

    processed: str = ""
    counters: dict[str, Counted] = {}
    histograms: dict[str, Counted] = {}


class Bounds(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Promises about time, in seconds. ``readiness_s``: until a service says so when a dependency goes, or is back;
    ``first_success_s``, ``backlog_s``: after the last fault, until clients are served, and until all is worked off;
    ``standstill_s``: whatever is at work is never silent for so long."""

    readiness_s: float
    first_success_s: float
    backlog_s: float
    standstill_s: float


class SchemaPromises(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the database has to enforce by itself: ``unique``, each as ``table(column, …)``, and that a column whose
    name ends in ``moments`` holds moments (of which each has its time zone, whatever its name)."""

    unique: tuple[str, ...] = ()
    moments: str = ""


class LogSource(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where one service's log is: ``files`` (globs) that grow, or a ``command`` that prints it as it comes.

    ``mapping``: how to read lines whose fields are named otherwise (see ``harness.audit.mapping``).
    """

    service: str
    files: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    mapping: str = ""


class ExternalSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A system that somebody else runs. ``urls``: of its services; ``hosts``: nobody else is ever spoken to, each as
    ``host`` or ``host:port``. ``tokens`` (caller → variable), ``database`` and ``broker`` name variables of the
    environment: credentials stand in no file. ``tap``: the broker's firehose is on, and we may queue its copies;
    ``sinks``: the control door of sinks of ours, where its webhooks and mail go."""

    hosts: tuple[str, ...]
    urls: dict[str, str]
    tokens: dict[str, str]
    logs: tuple[LogSource, ...]
    database: str = ""
    broker: str = ""
    tap: bool = False
    sinks: str = ""


class Target(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A whole system, as read from its TOML file."""

    name: str
    edges: tuple[str, ...]
    database: DatabaseSpec
    broker: BrokerSpec
    stages: StageSpec
    tokens: dict[str, str]
    services: dict[str, ServiceSpec]
    rows: dict[str, str]
    metrics: MetricsSpec = MetricsSpec()
    bounds: Bounds | None = None
    schema_promises: SchemaPromises = SchemaPromises()
    alert_path: str = ""
    """Where, at the receiver of webhooks, alerts of dead letters go."""
    source: tuple[str, ...] = ()
    """The folders of its code, below the source root: what is copied to plant a bug into it."""
    bugs: str = ""
    """Its catalogue of bugs to plant, below the gauntlet's own folder; a gate proves its power on some of them."""
    environment: Literal["booted", "external"] = "booted"
    external: ExternalSpec | None = None
    preload: tuple[str, ...] = ()
    """Libraries that its services import: those whose command is ``${python} -m …`` are forked from a process
    that has imported these. None of the system's own modules: a planted bug is in another copy of them."""
    triage: tuple[str, ...] = ()
    """The command with which an operator deals with dead letters, if there is one."""

    def edge_parts(self, edge: str) -> tuple[str, str]:
        """``"pipeline→broker"`` → ``("pipeline", "broker")``. Raises TargetError for an edge that is not declared."""
        if edge not in self.edges:
            raise TargetError(f"no edge {edge!r} in target {self.name!r}; it has: {', '.join(self.edges)}")
        source, _, destination = edge.partition("→")
        return source, destination


def load_target(path: Path = DEFAULT_TARGET) -> Target:
    """Read and validate a target file. Raises TargetError with the file and the offending place.

    With ``extends``, all that it does not say is as in that other file, which is looked for beside it.
    """
    try:
        target = msgspec.convert(_read(path), Target)
    except FileNotFoundError as missing:
        raise TargetError(f"no target file {missing.filename}; {_HINT}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, msgspec.ValidationError) as error:
        raise TargetError(f"{path}: {error}; {_HINT}") from error
    _check_edges(path, target)
    _check_external(path, target)
    return target


def _read(path: Path) -> dict[str, Any]:
    raw = tomllib.loads(path.read_text(encoding="utf-8"))
    base = raw.pop("extends", None)
    return raw if base is None else _merged(tomllib.loads((path.parent / base).read_text(encoding="utf-8")), raw)


def _merged(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    both = {name: _merged(base[name], value) for name, value in over.items() if _are_tables(base.get(name), value)}
    return base | over | both


def _are_tables(one: object, other: object) -> bool:
    return isinstance(one, dict) and isinstance(other, dict)


def _check_external(path: Path, target: Target) -> None:
    external = target.external
    if (external is not None) is not (target.environment == "external"):
        raise TargetError(f'{path}: environment = "external" and the table [external] go together')
    if external is None:
        return
    for what, named in (("urls", external.urls), ("logs", {source.service for source in external.logs})):
        if set(named) != set(target.services):
            raise TargetError(f"{path}: external.{what}: expected {sorted(target.services)}, got {sorted(named)}")
    if missing := {"alice", "operator"} - set(external.tokens):
        raise TargetError(f"{path}: external.tokens: the scenarios act as {sorted(missing)}, too")
    for source in external.logs:
        if bool(source.files) is bool(source.command):
            raise TargetError(f"{path}: the log of {source.service}: expected either files or a command")


def _check_edges(path: Path, target: Target) -> None:
    known_ends = {"client", "database", "broker", "webhook", "mail", *target.services}
    for edge in target.edges:
        source, arrow, destination = edge.partition("→")
        if not arrow or source not in known_ends or destination not in known_ends:
            ends = ", ".join(sorted(known_ends))
            raise TargetError(f"{path}: edge {edge!r}: expected A→B with A and B out of {ends}")


def fill(template: str, values: Mapping[str, str]) -> str:
    """Replace each ``${name}`` of a template. Raises TargetError for a name that nobody knows."""
    head, *rest = template.split("${")
    filled = [head]
    for piece in rest:
        name, closed, tail = piece.partition("}")
        if not closed or name not in values:
            known = ", ".join(sorted(values))
            raise TargetError(f"{template!r}: nothing known by the name ${{{name}}}; known: {known}")
        filled += [values[name], tail]
    return "".join(filled)
