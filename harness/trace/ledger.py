"""A ledger of open obligations over many flows at once: which flows are complete beyond doubt, and which are not.

An edge that must be closed by exactly one line says that two sets of keys are equal: requests received and requests
completed, events stored and events published. The ledger keeps, for each such edge, the keys that stand in one of the
two alone. A complete flow leaves nothing in it, so memory is bounded by the flows that are open, however long the log.

It never accuses: a flow in doubt may be broken, in flight, or one in which something happened that only the edges
understand (a retry, a duplicate, a dead letter, a timer, a call without an answer). About those, the edges of
``harness.trace.edges`` decide; what is not in doubt holds them all, but for those that need to know the rules.

Lines are posted block by block while they are hot in the cache, and sets are made of them without a step of Python for
each: a log is audited at almost the speed at which it is parsed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from itertools import chain, islice
from operator import attrgetter
from typing import Any

from msgspec import Struct

from harness.contract.log_lines import (
    KINDS,
    OF_NO_FLOW,
    ActionCompleted,
    ActionStarted,
    CallCompleted,
    CallSent,
    ChangeCommitted,
    Envelope,
    EventPublished,
    EventReceived,
    EventSettled,
    EventStored,
    HttpRequestCompleted,
    HttpRequestReceived,
    InBand,
    RuleEvaluated,
    has_half_an_entity,
    http_status_agrees,
)
from harness.trace.edges.calls import INSIDE

Key = tuple[Any, ...]
"""A flow's correlation id, and then what joins two of its lines."""

AT_ONCE = 500
"""So many lines are posted together where they are in memory already."""
REMEMBERED_LINES = 50_000
"""So many lines later, at least, a flow's root and its events are still known. A flow that takes longer is in doubt."""

_PLAIN = (
    HttpRequestReceived, HttpRequestCompleted, ChangeCommitted, EventStored, EventPublished, EventReceived,
    RuleEvaluated, ActionStarted, ActionCompleted, CallSent, CallCompleted, EventSettled,
)  # fmt: skip
_NEVER_PLAIN: tuple[type[Envelope], ...] = tuple(
    kind for kind in KINDS if issubclass(kind, InBand) and kind not in _PLAIN
)
_MAYBE_WITHOUT_ENTITY: tuple[type[Envelope], ...] = (
    HttpRequestReceived, HttpRequestCompleted, EventReceived, CallSent, CallCompleted, EventSettled,
)  # fmt: skip

_span = attrgetter("correlation_id", "span_id", "causation_id")
_request = attrgetter("correlation_id", "span_id", "causation_id")
_called_by = attrgetter("correlation_id", "parent_span_id", "causation_id")
_call = attrgetter("correlation_id", "span_id", "event_id")
_change = attrgetter("correlation_id", "span_id", "causation_id", "entity_id")
_flow = attrgetter("correlation_id")
_event = attrgetter("correlation_id", "event_id")
_told = attrgetter("correlation_id", "event_id", "causation_id")
_delivery = attrgetter("correlation_id", "delivery_id", "event_id", "causation_id")
_match = attrgetter("correlation_id", "parent_span_id", "event_id", "causation_id", "rule_id")
_action = attrgetter("correlation_id", "span_id", "event_id", "causation_id", "rule_id")
_cause = attrgetter("correlation_id", "causation_id")
_within = attrgetter("correlation_id", "instance", "span_id", "causation_id")
_handling = attrgetter("correlation_id", "instance", "span_id", "event_id")
_below = attrgetter("correlation_id", "instance", "parent_span_id", "causation_id")
_outcome = attrgetter("status", "http_status")


class Balance(Struct):
    """What a ledger holds at the end, to be added to what came before: ``unpaired`` keys cancel out, doubts add up.

    ``begun``: how many requests without a parent there were, each of which began a flow.
    """

    unpaired: list[set[Key]]
    doubted: set[str]
    begun: int = 0

    def add(self, later: Balance) -> None:
        for mine, other in zip(self.unpaired, later.unpaired, strict=True):
            mine ^= other
        self.doubted |= later.doubted
        self.begun += later.begun

    def open_flows(self) -> set[str]:
        """Correlation ids of all flows that are not plainly complete."""
        return self.doubted.union(key[0] for keys in self.unpaired for key in keys)


class _Causes:
    """What a line may name as its cause: an event stored in its flow, or None in a flow that a request began. And what
    it may name as its parent, in the same process: a request, a delivery, or an action, with the same cause.

    A cause may be entered after what it has caused, for logs of several services are read block by block. Keys are
    known by their hashes alone, which keeps nothing else of a block alive. Two generations are known, of which the
    older is forgotten when a new one begins.
    """

    def __init__(self) -> None:
        self.missing: dict[int, str] = {}
        self._young: set[int] = set()
        self._old: set[int] = set()
        self._cause_of: dict[str, str] = {}
        self._old_cause_of: dict[str, str] = {}
        self._lines = 0

    def learn(self, keys: Iterable[Key]) -> None:
        """Enter what may be named from now on."""
        hashes = set(map(hash, keys))
        self._young |= hashes
        if self.missing:
            for found in self.missing.keys() & hashes:
                del self.missing[found]

    def knows_any(self, keys: Iterable[Key]) -> bool:
        hashes = set(map(hash, keys))
        return not (self._young.isdisjoint(hashes) and self._old.isdisjoint(hashes))

    def look_for(self, lines: Sequence[Any], key: attrgetter[Any]) -> None:
        """Every line of these names what has to be known."""
        missing = set(map(hash, map(key, lines))) - self._young
        if missing and (missing := missing - self._old):
            self.missing.update((hash(named), named[0]) for named in map(key, lines) if hash(named) in missing)

    def goes_round(self, event_id: str, cause: str) -> bool:
        """Enter one step from an event to its cause. Does the way back from it lead into a circle?"""
        self._cause_of[event_id] = cause
        passed, at = {event_id}, cause
        while at not in passed:
            passed.add(at)
            before = self._cause_of.get(at) or self._old_cause_of.get(at)
            if before is None:
                return False
            at = before
        return True

    def age(self, lines: int) -> None:
        self._lines += lines
        if self._lines > REMEMBERED_LINES:
            self._lines = 0
            self._old, self._young = self._young, set()
            self._old_cause_of, self._cause_of = self._cause_of, {}


class Ledger:
    """Post all lines of a log, in any order that is roughly that of time, then ask which flows are in doubt."""

    def __init__(self) -> None:
        self.of_no_flow_broken = False
        """Was a line of no flow, which no flow's doubt can stand for, misshapen in what the types cannot say?"""
        self._requests: set[Key] = set()
        self._stored: set[Key] = set()
        self._published: set[Key] = set()
        self._received: set[Key] = set()
        self._deliveries: set[Key] = set()
        self._matches: set[Key] = set()
        self._actions: set[Key] = set()
        self._sent: set[Key] = set()
        self._called: set[Key] = set()
        self._changed: set[Key] = set()
        self._causes = _Causes()
        self._begun = 0
        self._doubted: set[str] = set()
        self._outcomes: set[tuple[str, int | None]] = set()
        self._kinds: dict[type[Envelope], list[Any]] = {kind: [] for kind in KINDS}
        self._file: dict[type[Envelope], Callable[[Any], None]] = {k: lines.append for k, lines in self._kinds.items()}

    def post(self, lines: Sequence[Envelope]) -> set[str | None]:
        """Enter some lines. Returns the correlation ids that occur among them."""
        file, kinds = self._file, self._kinds
        for line in lines:
            file[line.__class__](line)
        received, stored = kinds[HttpRequestReceived], kinds[EventStored]
        self._post_requests(received, kinds[HttpRequestCompleted], kinds[ChangeCommitted])
        self._post_changes(kinds[ChangeCommitted], stored)
        self._post_events(stored, kinds[EventPublished], kinds[EventReceived], kinds[EventSettled])
        self._post_actions(kinds[RuleEvaluated], kinds[ActionStarted], kinds[ActionCompleted])
        self._post_calls(kinds[CallSent], kinds[CallCompleted], received)
        events, parents = map(_event, stored), map(_within, chain(received, kinds[ActionStarted]))
        self._causes.learn(chain(events, parents, map(_handling, kinds[EventReceived])))
        self._causes.look_for(received, _cause)
        self._causes.look_for(kinds[RuleEvaluated], _below)
        self._causes.look_for(kinds[CallSent], _below)
        for filed in map(kinds.__getitem__, _NEVER_PLAIN):
            if filed:
                self._doubt(filed)
        for filed in map(kinds.__getitem__, _MAYBE_WITHOUT_ENTITY):
            # has_half_an_entity, written out: it is asked of every second line
            half = [line for line in filed if (line.entity_type is None) is not (line.entity_id is None)]
            if half:
                self._doubt(half)
        for filed in map(kinds.__getitem__, OF_NO_FLOW):
            if filed and any(map(has_half_an_entity, filed)):
                self.of_no_flow_broken = True
        for filed in kinds.values():
            if filed:
                filed.clear()
        self._causes.age(len(lines))
        return set(map(_flow, lines))

    def balance(self) -> Balance:
        """What is open now. A request whose change is known, but not its end, is open."""
        unpaired = [
            self._requests, self._stored, self._published, self._received, self._deliveries, self._matches,
            self._actions, self._sent, self._called,
        ]  # fmt: skip
        lonely = {key[0] for key in self._changed}.union(self._causes.missing.values())
        return Balance(unpaired, self._doubted | lonely, self._begun)

    # --- edges -------------------------------------------------------------------------------------------------

    def _post_requests(self, received: list[Any], completed: list[Any], changes: list[Any]) -> None:
        """Received ↔ completed; a creation has changed something, a refusal has not; one root begins a flow."""
        came, done = self._keys(received, _request), self._keys(completed, _request)
        self._requests ^= came
        if changes:
            changed = set(map(_request, changes))
            self._doubt_keys(changed - self._requests - came)
            self._changed |= changed
        if done:
            self._requests ^= done
            self._check_outcomes(completed)
            self._doubt_keys({_request(line) for line in completed if line.http_status == 201} - self._changed)
            if not self._changed.isdisjoint(done):
                refused = {_request(line) for line in completed if 400 <= line.http_status < 500}
                self._doubt_keys(self._changed & refused)
                self._changed -= done
        roots = [(line.correlation_id, None) for line in received if line.parent_span_id is None]
        if self._causes.knows_any(roots) or len(set(roots)) != len(roots):
            self._doubt_keys(roots)
        self._causes.learn(roots)
        self._begun += len(roots)

    def _post_changes(self, changes: list[Any], stored: list[Any]) -> None:
        """Changed ↔ stored, of one cause; but for users, of whom no event tells. No causes go round in a circle."""
        emitting = [line for line in changes if line.entity_type != "user"]
        self._stored ^= self._keys(emitting, _change)
        self._stored ^= self._keys(stored, _change)
        for line in stored:
            if line.causation_id is not None and self._causes.goes_round(line.event_id, line.causation_id):
                self._doubted.add(line.correlation_id)

    def _post_events(self, stored: list[Any], published: list[Any], received: list[Any], settled: list[Any]) -> None:
        """Stored ↔ published and confirmed at the first attempt ↔ received ↔ settled for good."""
        confirmed, arrived = self._keys(published, _told), self._keys(received, _told)
        self._published ^= self._keys(stored, _told)
        self._published ^= confirmed
        self._received ^= confirmed
        self._received ^= arrived
        self._deliveries ^= self._keys(received, _delivery)
        self._deliveries ^= self._keys(settled, _delivery)
        self._doubt([line for line in published if line.status != "confirmed" or line.attempt != 1])
        self._doubt([line for line in settled if line.status != "acked"])

    def _post_actions(self, evaluated: list[Any], started: list[Any], completed: list[Any]) -> None:
        """Matched ↔ started ↔ completed, without failure."""
        matched = [line for line in evaluated if line.status != "not_matched"]
        if not matched and not started and not completed:
            return
        self._doubt([line for line in matched if line.status == "error"])
        self._doubt([line for line in completed if line.status == "failed"])
        self._matches ^= self._keys(matched, _match)
        self._matches ^= self._keys(started, _match)
        self._actions ^= self._keys(started, _action)
        self._actions ^= self._keys(completed, _action)

    def _post_calls(self, sent: list[Any], completed: list[Any], received: list[Any]) -> None:
        """Sent ↔ answered; sent to a service of ours ↔ received there, which knows the call's trigger as its cause."""
        self._sent ^= self._keys(sent, _span)
        self._sent ^= self._keys(completed, _span)
        self._called ^= self._keys([line for line in sent if line.peer in INSIDE], _call)
        self._called ^= self._keys([line for line in received if line.parent_span_id is not None], _called_by)
        self._check_outcomes(completed)

    # --- doubts ------------------------------------------------------------------------------------------------

    def _keys(self, lines: list[Any], key: attrgetter[Any]) -> set[Key]:
        """The keys of some lines; a flow in which one stands twice is in doubt."""
        keys = set(map(key, lines))
        if len(keys) != len(lines):
            self._doubt_keys(key for key, count in Counter(map(key, lines)).items() if count > 1)
        return keys

    def _doubt(self, lines: Iterable[Any]) -> None:
        self._doubted.update([line.correlation_id for line in lines])

    def _doubt_keys(self, keys: Iterable[Key]) -> None:
        self._doubted.update([key[0] for key in keys])

    def _check_outcomes(self, completed: list[Any]) -> None:
        """An answer that says two things is in doubt, and so is a call without one; known outcomes are few."""
        if not self._outcomes.issuperset(map(_outcome, completed)):
            fine = [line for line in completed if line.http_status is not None and http_status_agrees(line)]
            self._outcomes.update(map(_outcome, fine))
            self._doubt([line for line in completed if _outcome(line) not in self._outcomes])


def doubtful(lines: Iterable[Envelope]) -> set[str]:
    """Correlation ids of the flows among these lines that are not plainly complete, of all their lines at once."""
    ledger, rest = Ledger(), iter(lines)
    while block := list(islice(rest, AT_ONCE)):
        ledger.post(block)
    return ledger.balance().open_flows()
