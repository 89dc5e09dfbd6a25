"""Requests and the changes that they commit."""

from __future__ import annotations

from collections.abc import Iterator

from harness.contract.log_lines import ChangeCommitted, HttpRequestCompleted, HttpRequestReceived
from harness.trace.flow import Flow, Surroundings
from harness.trace.kills import kills_in
from harness.trace.obligations import Obligation, exactly_one, tally

CHANGE = "request → change committed"


def one_root(flow: Flow, around: Surroundings) -> Iterator[Obligation]:
    """A flow begins with one request that has no parent, unless the harness planted its first message."""
    if flow.correlation_id in around.planted_correlations:
        return
    roots = [line for line in flow.of(HttpRequestReceived) if line.parent_span_id is None]
    if not roots:
        first = flow.lines[0]
        yield Obligation("root", first, "orphan", "a request without parent that began this flow", first.service)
    for extra in roots[1:]:
        yield Obligation("root", extra, "excess", "no second root: a correlation id begins once", extra.service)


def request_completed(flow: Flow, around: Surroundings) -> Iterator[Obligation]:
    completed, kills = tally(line.span_id for line in flow.of(HttpRequestCompleted)), kills_in(flow, around)
    for line in flow.of(HttpRequestReceived):
        count = completed[line.span_id]
        state = exactly_one(count, excused=not count and kills.explain_request(line))
        yield Obligation("request received → completed", line, state, "http.request.completed", line.service)


def completed_was_received(flow: Flow, _around: Surroundings) -> Iterator[Obligation]:
    received = {line.span_id for line in flow.of(HttpRequestReceived)}
    for line in flow.of(HttpRequestCompleted):
        if line.span_id not in received:
            missing = "http.request.received"
            yield Obligation("request received → completed", line, "orphan", missing, line.service)


def request_changed(flow: Flow, _around: Surroundings) -> Iterator[Obligation]:
    """A creation answered 201 has committed something; what was refused has committed nothing."""
    changes = tally(line.span_id for line in flow.of(ChangeCommitted))
    for line in flow.of(HttpRequestCompleted):
        count = changes[line.span_id]
        if line.http_status == 201:
            yield Obligation(CHANGE, line, "closed" if count else "orphan", "change.committed", line.service)
        elif 400 <= line.http_status < 500 and count:
            yield Obligation(CHANGE, line, "excess", "no change.committed: it was refused", line.service)


def change_has_request(flow: Flow, _around: Surroundings) -> Iterator[Obligation]:
    requests = {line.span_id for line in flow.of(HttpRequestReceived)}
    for line in flow.of(ChangeCommitted):
        if line.span_id not in requests:
            yield Obligation(CHANGE, line, "orphan", "http.request.received", line.service)
