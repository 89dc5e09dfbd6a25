"""Judging at scale: the shortcuts see the same as the long way, and nothing grows with the square of what happened."""

from __future__ import annotations

import os
import sys
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.checks import ALL
from harness.checks.needles import Needles, folded
from harness.evidence.evidence import load_evidence, read_logs
from harness.evidence.log_files import ProcessLog, read_process_log
from harness.evidence.records import ProcessStart
from harness.evidence.run_directory import RunDirectory
from harness.evidence.sharing import Sharing
from harness.target import load_target
from harness.trace.edges import EDGES, obligations
from harness.trace.flow import Flow, Surroundings
from scenarios.bench.judge import judged
from scenarios.bench.judge_corpus import STACK, write_corpus
from tests.builders import Story, acted, exhausted_lead, moved_lead, qualified_lead, raw, received, settled, uid


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    root = tmp_path_factory.mktemp("corpus") / "run"
    assert write_corpus(root, operations=700) > 7_000
    return RunDirectory(root)


def test_the_corpus_keeps_every_promise_and_puts_each_to_the_test(corpus: RunDirectory) -> None:
    evidence = load_evidence(corpus.scenarios()[0], load_target())
    results = {prop.name: prop.check(evidence) for prop in ALL}
    assert {name: result.findings[:2] for name, result in results.items() if result.status == "fail"} == {}
    assert results["trace_complete"].status == results["no_leak"].status == "pass"
    assert len(evidence.operations) == 700


def test_the_bench_judges_in_a_process_of_its_own(corpus: RunDirectory) -> None:
    done = judged(corpus.root, lines=7_000)
    assert done.verdict == "pass"
    assert done.cpu_s > 0
    assert done.peak_mb > 10


# --- reading ----------------------------------------------------------------------------------------------------


def test_equal_texts_are_one_object(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"".join(raw(line) + b"\n" for line in qualified_lead().lines if line.instance == "crm-1"))
    log = read_process_log(path, ProcessStart(service="crm", file="log"))
    assert len({id(line.correlation_id) for line in log.lines}) == 1
    assert len({id(line.instance) for line in log.lines}) == 1


def test_sharing_changes_no_text() -> None:
    lines = qualified_lead().lines
    before = [raw(line) for line in lines]
    Sharing().share(lines)
    assert [raw(line) for line in lines] == before


def test_a_log_is_kept_until_it_changes_and_never_while_it_is_young(corpus: RunDirectory) -> None:
    path = sorted(corpus.logs(STACK).glob("crm-*.ndjson"))[-1]

    def the_log() -> ProcessLog:
        return next(log for log in read_logs(corpus, STACK) if log.file == path.name)

    ahead = time.time() + 60  # as young as can be, however slow this machine is
    os.utime(path, (ahead, ahead))
    assert the_log() is not the_log()
    long_ago = time.time() - 60
    os.utime(path, (long_ago, long_ago))
    old = [the_log() for _ in range(2)]
    assert old[0] is old[1]
    os.utime(path, (long_ago + 1, long_ago + 1))
    assert the_log() is not old[0]


# --- needles ----------------------------------------------------------------------------------------------------

TEXTS = st.text(alphabet='abAB"\\\n\0 äß€Σς', min_size=1, max_size=12)


@given(needles=st.lists(TEXTS, max_size=6), hay=st.lists(TEXTS, max_size=6))
def test_needles_are_found_as_by_looking_for_each(needles: list[str], hay: list[str]) -> None:
    expected = {folded(needle) for needle in needles if any(folded(needle) in folded(text) for text in hay)}
    assert Needles(needles).found_in(hay) == expected


def test_needles_that_begin_alike_are_told_apart() -> None:
    needles = Needles(["ada.lovelace@example.test", "ada.lovelace@example.org", "ada.love"])
    assert needles.found_in(["mailto:ADA.LOVELACE@example.org"]) == {b"ada.lovelace@example.org", b"ada.love"}


# --- flows ------------------------------------------------------------------------------------------------------


def test_no_edge_is_passed_over_because_of_the_kinds_that_open_it() -> None:
    """For stories of every kind, each with each of its lines missing."""
    around = Surroundings(rules_by_event_type={"lead.stage.changed": frozenset({"lead-qualified-create-deal"})})
    for story in (qualified_lead(), exhausted_lead()):
        for gone in range(len(story.lines)):
            flow = Flow(uid("moved"), story.lines[:gone] + story.lines[gone + 1 :])  # type: ignore[arg-type]
            everything = [o for edge in EDGES for o in edge(flow, around)]
            assert [(o.edge, o.state) for o in obligations(flow, around)] == [(o.edge, o.state) for o in everything]


def test_a_flow_of_many_deliveries_takes_steps_in_proportion_to_them() -> None:
    few, many = (_steps(partial(obligations, _redelivered(times), Surroundings())) for times in (100, 1_000))
    assert many < 15 * few, "ten times as many deliveries: a square would take a hundred times as many steps"


def _redelivered(times: int) -> Flow:
    story = moved_lead(Story())
    for number in range(times):
        received(story, "moved", f"d{number}", redelivered=True)
        settled(story, "moved", f"d{number}", "requeued")
    received(story, "moved", "last")
    acted(story, "last")
    settled(story, "moved", "last")
    return Flow(uid("moved"), story.lines)  # type: ignore[arg-type]


def _steps(what: Callable[[], object]) -> int:
    """Calls of functions, and resumptions of generators: a clock would tell less on a busy machine."""
    steps = Counter[str]()
    sys.setprofile(lambda _frame, event, _argument: steps.update((event,)))
    try:
        what()
    finally:
        sys.setprofile(None)
    return steps.total()
