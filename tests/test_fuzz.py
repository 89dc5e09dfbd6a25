"""What makes a fuzz run red."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from scenarios.fuzz import FuzzReport


def report(**changes: Any) -> FuzzReport:
    parts: dict[str, Any] = {"requests": Counter({"crm GET /leads": 2_000}), "log_lines": 4_000}
    return FuzzReport(**(parts | changes))


def test_enough_requests_and_nothing_wrong_is_green() -> None:
    assert report().mistakes(requests_at_least=2_000) == []


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"requests": Counter({"crm GET /leads": 1_999})}, "1999 requests were sent, 2000 were asked for"),
        ({"server_errors": 1}, "1 answers were server errors"),
        ({"failures": {"crm GET /leads": "the schema says otherwise"}}, "the schema says otherwise"),
        ({"log_violations": ["crm-1.ndjson:7: no JSON"]}, "crm-1.ndjson:7: no JSON"),
    ],
    ids=["few requests", "server error", "failed check", "log"],
)
def test_each_thing_that_is_wrong_is_a_mistake(changes: dict[str, Any], says: str) -> None:
    assert report(**changes).mistakes(requests_at_least=2_000) == [says]
