"""Chrome's trace format in JSON, which ui.perfetto.dev opens: a lane for each process, arrows for causes, faults above.

https://docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU. Spans of one process that overlap
without one holding the other get lanes of their own, for slices of one lane have to nest.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from harness.evidence.records import Fault
from harness.trace.spans import Span, moment_ns

_FAULTS = 1
"""The process number of what was broken; those of services follow."""
_SHORTEST_NS = 1_000
"""So that what took no time can be seen."""

Event = dict[str, Any]
Window = tuple[int, int]
"""From when until when, in nanoseconds since 1970."""


def perfetto_trace(spans: Iterable[Span], faults: Sequence[Fault]) -> dict[str, Any]:
    """The whole file; its times are microseconds since the first of all moments in it."""
    spans = list(spans)
    broken = {window: fault for fault in faults if (window := _window(fault))}
    zero_ns = min([span.began_ns for span in spans] + [began for began, _ended in broken], default=0)
    events = [
        _named("process_name", _FAULTS, 0, "what was broken"),
        {"ph": "M", "name": "process_sort_index", "pid": _FAULTS, "tid": 0, "args": {"sort_index": -1}},
        *(_fault(broken[window], lane, window, zero_ns) for window, lane in _lanes(broken)),
    ]
    processes: dict[tuple[str, str], dict[Window, list[Span]]] = defaultdict(lambda: defaultdict(list))
    for span in spans:
        processes[span.service, span.instance][_extent(span)].append(span)
    places: dict[str, tuple[int, int]] = {}
    for pid, ((service, instance), members) in enumerate(sorted(processes.items()), start=_FAULTS + 1):
        events.append(_named("process_name", pid, 0, f"{service} {instance}"))
        for window, lane in _lanes(members):
            for span in members[window]:
                places[span.span_id] = (pid, lane)
                events.append(_slice(span, pid, lane, zero_ns))
    events += _arrows({span.span_id: span for span in spans}, places, zero_ns)
    return {"traceEvents": events, "displayTimeUnit": "ms", "otherData": {"begins_at_unix_ns": str(zero_ns)}}


def _window(fault: Fault) -> Window | None:
    began, ended = moment_ns(fault.injected_at), moment_ns(fault.healed_at)
    return None if began is None or ended is None else (began, ended)


def _extent(span: Span) -> Window:
    """As it is drawn."""
    return span.began_ns, max(span.ended_ns, span.began_ns + _SHORTEST_NS)


def _lanes(windows: Iterable[Window]) -> Iterator[tuple[Window, int]]:
    """Each with the first lane in which it lies beside, or wholly within, whatever is there."""
    open_until: list[list[int]] = []
    for began, ended in sorted(windows, key=lambda window: (window[0], -window[1])):
        for lane, ends in enumerate(open_until, start=1):
            while ends and ends[-1] <= began:
                ends.pop()
            if not ends or ended <= ends[-1]:
                ends.append(ended)
                yield (began, ended), lane
                break
        else:
            open_until.append([ended])
            yield (began, ended), len(open_until)


def _fault(fault: Fault, lane: int, window: Window, zero_ns: int) -> Event:
    told = {"hits": fault.hits, "proof": fault.proof}
    return _complete(f"{fault.kind} on {fault.place}", "fault", _FAULTS, lane, window, zero_ns, told)


def _slice(span: Span, pid: int, lane: int, zero_ns: int) -> Event:
    told: dict[str, Any] = {"correlation_id": span.correlation_id, "span_id": span.span_id, **(span.told or {})}
    told |= {"problem": span.problem} if span.problem else {}
    return _complete(span.name, span.role, pid, lane, _extent(span), zero_ns, told)


def _arrows(spans: dict[str, Span], places: dict[str, tuple[int, int]], zero_ns: int) -> Iterator[Event]:
    """From a parent or another cause to what it led to, where that happens in another process."""
    number = 0
    for span in spans.values():
        for cause in (span.parent_id, *span.causes):
            if cause is None or cause not in places or places[cause][0] == places[span.span_id][0]:
                continue
            began_ns, ended_ns = _extent(spans[cause])
            if began_ns > span.began_ns:
                continue
            number += 1
            left_ns = min(span.began_ns, ended_ns - _SHORTEST_NS // 2)  # an arrow begins within its slice, or nowhere
            for phase, one, at_ns in (("s", cause, left_ns), ("f", span.span_id, span.began_ns)):
                pid, lane = places[one]
                arrow: Event = {"ph": phase, "id": number, "name": "causes", "cat": "cause", "pid": pid, "tid": lane}
                yield arrow | {"ts": (at_ns - zero_ns) / 1000} | ({"bp": "e"} if phase == "f" else {})


def _complete(
    name: str, kind: str, pid: int, lane: int, window: tuple[int, int], zero_ns: int, told: dict[str, Any]
) -> Event:
    began, ended = window
    return {
        "ph": "X",
        "name": name,
        "cat": kind,
        "pid": pid,
        "tid": lane,
        "ts": (began - zero_ns) / 1000,
        "dur": (ended - began) / 1000,
        "args": told,
    }


def _named(what: str, pid: int, lane: int, name: str) -> Event:
    return {"ph": "M", "name": what, "pid": pid, "tid": lane, "args": {"name": name}}
