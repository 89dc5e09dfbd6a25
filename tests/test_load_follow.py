"""Following a load run, and the small things that a run of it is watched with."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from harness.load.records import Sample, Step
from harness.load.usage import usage_of
from harness.load.verdict import LoadVerdict
from scenarios.load.follow import Follower, planned_rate

S = 1_000_000_000
T0 = 1_790_000_000 * S


def sample(correlation_id: str, *, at_s: float, flow: bool = True, meant: bool = True) -> bytes:
    begin = T0 + int(at_s * S)
    one = Sample("PATCH", begin, begin, begin + S // 10, 200, meant, correlation_id, "deal" if flow else "")
    return msgspec.json.encode(one) + b"\n"


def deal(correlation_id: str, *, at: str, status: int = 201) -> bytes:
    line = {"event": "http.request.completed", "route": "/deals", "method": "POST", "http_status": status}
    return msgspec.json.encode({"ts": at, "correlation_id": correlation_id, **line}) + b"\n"


@pytest.fixture
def follower(tmp_path: Path) -> Follower:
    (tmp_path / "logs").mkdir()
    return Follower(tmp_path, tmp_path / "logs")


def append(path: Path, *lines: bytes) -> None:
    with path.open("ab") as file:
        file.writelines(lines)


def test_flows_are_followed_to_their_deal_in_either_order(follower: Follower) -> None:
    append(follower.folder / "samples-0.ndjson", sample("one", at_s=0), sample("two", at_s=0), sample("three", at_s=0))
    append(follower.logs / "crm-1.ndjson", deal("one", at="2026-09-21T14:13:20.500000Z"), deal("four", at=""))
    follower.read_on()
    assert (follower.flows, set(follower.open)) == (3, {"two", "three"})
    assert follower.e2e_ms(0.5) == pytest.approx(500)
    append(
        follower.logs / "crm-1.ndjson", deal("two", at="2026-09-21T14:13:21.000000Z"), deal("three", at="", status=409)
    )
    follower.read_on()
    assert set(follower.open) == {"three"}
    assert follower.e2e_ms(0.99) == pytest.approx(1_000)


def test_the_deal_may_be_heard_of_before_the_answer(follower: Follower) -> None:
    append(follower.logs / "crm-1.ndjson", deal("one", at="2026-09-21T14:13:20.250000Z"))
    follower.read_on()
    append(follower.folder / "samples-1.ndjson", sample("one", at_s=0))
    follower.read_on()
    assert not follower.open
    assert follower.e2e_ms(0.5) == pytest.approx(250)


def test_a_torn_line_is_left_for_the_next_look(follower: Follower) -> None:
    whole = sample("one", at_s=0, flow=False, meant=False)
    append(follower.folder / "samples-0.ndjson", whole, whole[:20])
    follower.read_on()
    assert (follower.answered, follower.failed) == (1, 1)
    append(follower.folder / "samples-0.ndjson", whole[20:])
    follower.read_on()
    assert (follower.answered, follower.failed) == (2, 2)


def test_the_planned_rate_follows_the_steps() -> None:
    steps = (Step(seconds=10, from_rate=0, to_rate=100), Step(seconds=5, from_rate=20, to_rate=20))
    assert [planned_rate(steps, at) for at in (0, 5, 10, 14.9, 15)] == [0, 50, 20, 20, 0]


def test_usage_grows_with_work_and_memory() -> None:
    code = "import sys; held = bytearray(50_000_000); [hash(n) for n in range(3_000_000)]; print(1); sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as busy:
        assert busy.stdout is not None
        busy.stdout.readline()
        used = usage_of([busy.pid])
        busy.communicate()
    assert used.rss_bytes > 50_000_000
    assert used.cpu_s > 0
    assert usage_of([busy.pid]).rss_bytes == 0
    assert usage_of([os.getpid(), busy.pid]).rss_bytes > 0


def test_the_verdict_is_the_worst_of_all_who_were_asked() -> None:
    fine = LoadVerdict(gates="pass", properties="pass", audit="pass")
    assert fine.verdict == "pass"
    assert LoadVerdict(gates="pass", properties=None, audit=None).verdict == "pass"
    assert LoadVerdict(gates="inconclusive", properties="pass", audit="pass").verdict == "unknown"
    assert LoadVerdict(gates="inconclusive", properties="fail", audit="pass").verdict == "fail"
    assert LoadVerdict(gates="pass", properties="pass", audit="pass", doubts=("some are missing",)).verdict == "unknown"
