"""What a scenario writes down while it runs: operations, faults, planted messages, and what it expects to die."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.evidence.clock import monotonic_ns
from harness.evidence.records import ExpectedDeadLetter, Fault, HealthProbe, Operation, Outcome, Planted


@dataclass
class Recording:
    """Grows during a scenario. Safe to use from the many threads of a race."""

    operations: list[Operation] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    planted: list[Planted] = field(default_factory=list)
    health: list[HealthProbe] = field(default_factory=list)
    expected_dead_letters: list[ExpectedDeadLetter] = field(default_factory=list)
    personal: list[str] = field(default_factory=list)
    """Personal data that were sent otherwise than as an operation's arguments; they must be seen nowhere."""
    awaited_deliveries: dict[str, int] = field(default_factory=dict)
    """Message id → how often it must have been received before the system can be at rest."""
    on_broken: Callable[[tuple[str, ...]], object] = lambda broken: None
    """Told of what is broken right now, each time that it changes."""
    _broken: list[str] = field(default_factory=list)
    elsewhere: list[Path] = field(default_factory=list)
    """Files of operations that other processes wrote down, in the same words, with numbers that no other has."""
    _ids: itertools.count[int] = field(default_factory=itertools.count)
    _sessions: itertools.count[int] = field(default_factory=itertools.count)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add_operation(
        self,
        *,
        action: Any,
        entity_type: Any,
        entity_id: str | None,
        correlation_id: str,
        arguments: dict[str, Any],
        invoked_ns: int,
        http_status: int | None,
        answer: dict[str, Any],
        session: str = "",
        flow_told: str | None = None,
    ) -> Operation:
        """Write down one operation that has just returned, or has been given up (``http_status`` None)."""
        operation = Operation(
            operation_id=next(self._ids),
            action=action,
            entity_type=entity_type,
            entity_id=entity_id,
            correlation_id=correlation_id,
            arguments=arguments,
            invoked_ns=invoked_ns,
            returned_ns=monotonic_ns(),
            outcome=outcome_of(http_status),
            http_status=http_status,
            answer=answer,
            session=session,
            flow_told=flow_told,
        )
        with self._lock:
            self.operations.append(operation)
        return operation

    def new_session(self) -> str:
        """A name for what one client is going to do in one thread."""
        return f"s{next(self._sessions)}"

    @contextmanager
    def broken(self, what: str) -> Iterator[None]:
        """For the duration of the block, this is broken by us."""
        self._tell_broken(self._broken.append, what)
        try:
            yield
        finally:
            self._tell_broken(self._broken.remove, what)

    def _tell_broken(self, change: Callable[[str], None], what: str) -> None:
        with self._lock:
            change(what)
            self.on_broken(tuple(self._broken))

    def expect_dead_letter(self, operation: Operation, *, reason: str) -> None:
        """Announce that the flow of this operation will end in the dead-letter queue, for this reason."""
        self.expected_dead_letters.append(ExpectedDeadLetter(correlation_id=operation.correlation_id, reason=reason))


def outcome_of(http_status: int | None) -> Outcome:
    """A 5xx proves as little as silence: the change may have been committed before the answer failed."""
    if http_status is None or http_status >= 500:
        return "unknown"
    return "ok" if http_status < 400 else "refused"
