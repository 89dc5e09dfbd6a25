"""OTLP/JSON, which Jaeger, Tempo and every OpenTelemetry collector read: one trace for each correlation id.

https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding: ids are hex and not base64, 64-bit numbers are
strings, enums are numbers.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from hashlib import md5
from typing import Any

from harness.checks.verdict import Finding
from harness.contract.log_lines import InBand, as_fields, kind_of
from harness.trace.spans import Role, Span, moment_ns

_ROLES: dict[Role, int] = {"internal": 1, "server": 2, "client": 3, "producer": 4, "consumer": 5}
_OK, _ERROR = 1, 2
_HEX = {16: re.compile("[0-9a-f]{16}"), 32: re.compile("[0-9a-f]{32}")}
_ENVELOPE = frozenset(
    ("ts", "schema", "service", "instance", "correlation_id", "span_id", "parent_span_id", "event", "level")
)
"""What a span says of itself already."""


def otlp_traces(spans: Iterable[Span], findings: Sequence[Finding], *, namespace: str) -> dict[str, Any]:
    """A ``TracesData`` message. A finding is an event of the first span of its flow, which it turns red."""
    found: dict[str, list[Finding]] = defaultdict(list)
    for finding in findings:
        if finding.correlation_id:
            found[finding.correlation_id].append(finding)
    by_process: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for span in spans:
        by_process[span.service, span.instance].append(_span(span, found.pop(span.correlation_id, [])))
    return {
        "resourceSpans": [
            {
                "resource": {"attributes": _attributes(_resource(service, instance, namespace))},
                "scopeSpans": [{"scope": {"name": "gauntlet"}, "spans": members}],
            }
            for (service, instance), members in by_process.items()
        ]
    }


def _resource(service: str, instance: str, namespace: str) -> dict[str, Any]:
    """https://opentelemetry.io/docs/specs/semconv/resource/#service"""
    return {"service.name": service, "service.instance.id": instance, "service.namespace": namespace}


def _span(span: Span, findings: Sequence[Finding]) -> dict[str, Any]:
    trace_id = hex_id(span.correlation_id, 32)
    problem = findings[0].says if findings else span.problem
    return {
        "traceId": trace_id,
        "spanId": hex_id(span.span_id, 16),
        "parentSpanId": hex_id(span.parent_id, 16) if span.parent_id else "",
        "name": span.name,
        "kind": _ROLES[span.role],
        "startTimeUnixNano": str(span.began_ns),
        "endTimeUnixNano": str(span.ended_ns),
        "attributes": _attributes({"correlation_id": span.correlation_id} | dict(span.told or {})),
        "events": [*map(_line_event, span.lines), *(_finding_event(span, finding) for finding in findings)],
        "links": [{"traceId": trace_id, "spanId": hex_id(cause, 16)} for cause in span.causes],
        "status": {"code": _ERROR, "message": problem} if problem else {"code": _OK},
    }


def _line_event(line: InBand) -> dict[str, Any]:
    told = {key: value for key, value in as_fields(line).items() if key not in _ENVELOPE and value is not None}
    return {"timeUnixNano": str(moment_ns(line.ts)), "name": kind_of(line), "attributes": _attributes(told)}


def _finding_event(span: Span, finding: Finding) -> dict[str, Any]:
    told = {"property": finding.property, "says": finding.says, "severity": finding.severity, "fault": finding.fault}
    at = moment_ns(finding.at) if finding.at else None
    known = {key: value for key, value in told.items() if value is not None}
    return {"timeUnixNano": str(at or span.ended_ns), "name": "finding", "attributes": _attributes(known)}


def hex_id(text: str, length: int) -> str:
    """An id as OTLP has it: a UUID without its dashes, and for what is no such id one that is made of it."""
    bare = text.replace("-", "").lower()
    if _HEX[length].fullmatch(bare) and bare.strip("0"):
        return bare
    return md5(text.encode(), usedforsecurity=False).hexdigest()[:length]


def _attributes(told: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [{"key": key, "value": dict(_value(value))} for key, value in told.items()]


def _value(value: Any) -> Iterator[tuple[str, Any]]:
    match value:
        case bool():
            yield "boolValue", value
        case int():
            yield "intValue", str(value)
        case float():
            yield "doubleValue", value
        case _:
            yield "stringValue", str(value)
