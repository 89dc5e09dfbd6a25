"""Reading a process's log: whatever is done to the file is named, and a lost line is told from a broken one."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.contract.log_lines import Line, kind_of
from harness.evidence.evidence import within
from harness.evidence.log_files import END, ProcessLog, last_line, read_process_log
from harness.evidence.log_tail import LogTail
from harness.evidence.records import ProcessStart
from tests.builders import decoded, line_fields, moment, raw, read_lines, read_raw, steady

PLACES = pytest.mark.parametrize("place", [0, 3, 6], ids=["start", "middle", "end"])


def process(count: int = 7) -> list[Line]:
    """One process: started, so many messages, stopped; seq and seconds count from 0."""
    kinds = ["service.started", *["library.message"] * (count - 2), "service.stopped"]
    return [decoded(line_fields("crm", kind, seq=seq, at=seq)) for seq, kind in enumerate(kinds)]


def content(lines: Sequence[Line]) -> bytes:
    return b"".join(raw(line) + b"\n" for line in lines)


def problems(log: ProcessLog) -> list[tuple[int, str]]:
    return [(broken.number, broken.problem) for broken in log.broken]


def told(log: ProcessLog) -> tuple[list[bytes], ProcessLog]:
    return [raw(line) for line in log.lines], replace(log, lines=())


def holes(log: ProcessLog) -> list[tuple[int, int | None]]:
    return [(lost.first, lost.last) for lost in log.lost]


def test_a_whole_log_is_read_without_remark(tmp_path: Path) -> None:
    log = read_lines(tmp_path / "crm-1.ndjson", process(), "stopped")
    assert (log.service, log.instance, log.file, log.killed) == ("crm", "crm-1", "crm-1.ndjson", False)
    assert [line.seq for line in log.lines] == list(range(7))
    assert (log.broken, log.lost) == ((), ())


# --- one line removed, duplicated, swapped, altered -------------------------------------------------------------


@PLACES
def test_a_removed_line_is_named_as_lost_and_nothing_else(tmp_path: Path, place: int) -> None:
    lines = process()
    del lines[place]
    log = read_lines(tmp_path / "log", lines, "stopped")
    assert holes(log) == [(place, None if place == 6 else place)]
    assert (log.lost[0].service, log.lost[0].instance, log.lost[0].file) == ("crm", "crm-1", "log")
    assert log.broken == ()


@PLACES
def test_a_duplicated_line_is_named_as_duplicated_and_nothing_else(tmp_path: Path, place: int) -> None:
    lines = process()
    lines.insert(place, lines[place])
    log = read_lines(tmp_path / "log", lines, "stopped")
    assert problems(log) == [(place + 2, f"seq {place} stands there a second time: the line was duplicated")]
    assert log.lost == ()


@pytest.mark.parametrize("place", [0, 3, 5], ids=["start", "middle", "end"])
def test_two_swapped_lines_are_named_as_swapped_and_nothing_else(tmp_path: Path, place: int) -> None:
    lines = process()
    lines[place], lines[place + 1] = lines[place + 1], lines[place]
    log = read_lines(tmp_path / "log", lines, "stopped")
    assert problems(log) == [(place + 2, f"seq {place} stands after seq {place + 1}: lines were swapped")]
    assert log.lost == ()


@pytest.mark.parametrize("place", [0, 3, 5], ids=["start", "middle", "end"])
def test_an_altered_line_is_named_as_broken_and_holds_its_place(tmp_path: Path, place: int) -> None:
    written = [raw(line) for line in process()]
    written[place] = written[place].replace(b'"level":"info"', b'"level":"loud"')
    log = read_raw(tmp_path / "log", b"\n".join(written) + b"\n")
    assert [number for number, _ in problems(log)] == [place + 1]
    assert "loud" in log.broken[0].problem
    assert log.broken[0].excerpt == written[place].decode()[:300]
    assert log.lost == ()


def test_an_altered_service_stopped_leaves_the_end_in_doubt(tmp_path: Path) -> None:
    written = content(process()).replace(b'"status":"graceful"', b'"status":"rude"')
    log = read_raw(tmp_path / "log", written)
    assert [number for number, _ in problems(log)] == [7]
    assert holes(log) == [(7, None)]


def test_an_unreadable_line_is_broken_and_its_seq_is_missing(tmp_path: Path) -> None:
    written = [raw(line) for line in process()]
    written[3] = b"Traceback (most recent call last):"
    log = read_raw(tmp_path / "log", b"\n".join(written) + b"\n")
    assert [number for number, _ in problems(log)] == [4]
    assert holes(log) == [(3, 3)]


def test_a_line_altered_to_a_negative_seq_makes_no_hole_below_zero(tmp_path: Path) -> None:
    written = content(process()).replace(b'"seq":3,', b'"seq":-5,')
    log = read_raw(tmp_path / "log", written)
    assert [number for number, _ in problems(log)] == [4]
    assert holes(log) == [(3, 3)]


def test_a_line_of_another_instance_is_named(tmp_path: Path) -> None:
    lines = process()
    lines[3] = decoded(line_fields("crm", "library.message", seq=3, at=3, instance="crm-2"))
    log = read_lines(tmp_path / "log", lines, "stopped")
    assert problems(log) == [(4, "instance 'crm-2' in the file of 'crm-1'")]


def test_several_holes_are_several_doubts(tmp_path: Path) -> None:
    lines = [line for line in process(10) if line.seq not in (2, 3, 6)]
    log = read_lines(tmp_path / "log", lines, "stopped")
    assert holes(log) == [(2, 3), (6, 6)]
    assert [(lost.since, lost.until) for lost in log.lost] == [(moment(1), moment(4)), (moment(5), moment(7))]


def test_a_doubt_says_which_lines_of_which_instance_and_where(tmp_path: Path) -> None:
    lines = [line for line in process(10) if line.seq not in (2, 3, 6)]
    one, two = read_lines(tmp_path / "log", lines, "stopped").lost[1], read_lines(tmp_path / "log", lines).lost[0]
    assert str(one) == (f"line seq 6 of instance crm-1 is missing from log (after {moment(5)}, before {moment(7)})")
    assert str(two).startswith("lines seq 2–3 of instance crm-1 is missing from log")


# --- the end of a log -------------------------------------------------------------------------------------------


def test_a_torn_last_line_of_a_running_process_is_still_being_written(tmp_path: Path) -> None:
    log = read_raw(tmp_path / "log", content(process(5)) + b'{"ts":"2026', "running")
    assert (len(log.lines), log.broken, log.lost) == (5, (), ())


@pytest.mark.parametrize("how", ["stopped", "killed"])
def test_a_torn_last_line_of_an_ended_process_is_reported(tmp_path: Path, how: str) -> None:
    log = read_raw(tmp_path / "log", content(process(5)) + b'{"ts":"2026', how)  # type: ignore[arg-type]
    assert problems(log) == [(6, "the last line is torn: no newline at its end")]
    assert log.broken[0].excerpt == '{"ts":"2026'


def test_a_whole_last_line_without_its_newline_is_torn_all_the_same(tmp_path: Path) -> None:
    log = read_raw(tmp_path / "log", content(process()).removesuffix(b"\n"))
    assert problems(log) == [(7, "the last line is torn: no newline at its end")]
    assert holes(log) == [(6, None)]


def test_a_stopped_process_that_does_not_say_so_has_lost_its_last_lines(tmp_path: Path) -> None:
    log = read_lines(tmp_path / "log", process()[:-1], "stopped")
    assert holes(log) == [(6, None)]
    assert (log.lost[0].since, log.lost[0].until) == (moment(5), END)
    assert str(log.lost[0]) == (
        f"everything from seq 6 of instance crm-1 is missing from log (after {moment(5)}, before its end)"
    )


@pytest.mark.parametrize("how", ["running", "killed"])
def test_a_process_that_was_not_asked_to_stop_need_not_say_so(tmp_path: Path, how: str) -> None:
    log = read_lines(tmp_path / "log", process()[:-1], how)  # type: ignore[arg-type]
    assert (log.broken, log.lost, log.killed) == ((), (), how == "killed")


@pytest.mark.parametrize(("how", "says"), [("forced", "when it was asked to"), ("crashed", "by itself")])
def test_a_process_that_ended_badly_is_reported_and_explains_nothing(tmp_path: Path, how: str, says: str) -> None:
    log = read_lines(tmp_path / "log", process()[:-1], how)  # type: ignore[arg-type]
    assert len(log.broken) == 1
    assert says in log.broken[0].problem
    assert not log.killed


def test_an_empty_log_of_a_stopped_process_is_wholly_lost(tmp_path: Path) -> None:
    log = read_raw(tmp_path / "log", b"")
    assert (log.instance, log.lines, holes(log)) == ("", (), [(0, None)])


def test_an_empty_log_of_a_running_process_says_nothing_yet(tmp_path: Path) -> None:
    log = read_raw(tmp_path / "log", b"", "running")
    assert (log.lines, log.broken, log.lost) == ((), (), ())


@given(
    cuts=st.lists(st.tuples(st.integers(0, 6), st.sampled_from([0, 0, 9])), min_size=1, max_size=4).map(sorted),
    order=st.sampled_from(["0123456", "012456", "0122345", "0132456", "01x3456", "0123b56"]),
    skew_s=st.sampled_from([0.0, 3600.0]),
)
def test_a_log_that_grows_is_read_on_as_if_it_were_read_at_once(
    cuts: list[tuple[int, int]], order: str, skew_s: float
) -> None:
    early = decoded(line_fields("crm", "library.message", seq=4, at=0))
    written_as = {str(line.seq): raw(line) for line in process()} | {"x": b"nonsense", "b": raw(early)}
    written = [written_as[place] + b"\n" for place in order]
    start = ProcessStart(service="crm", file="log", how="running", skew_s=skew_s)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "log"
        known: ProcessLog | None = None
        for whole, torn_bytes in (*cuts, (7, 0)):
            path.write_bytes(b"".join(written[:whole]) + b"".join(written[whole:])[:torn_bytes])
            known = read_process_log(path, start, known=known)
            assert told(known) == told(read_process_log(path, start))
        assert bool(known and known.read_bytes) == (order == "0123456")


def test_what_has_been_read_is_not_read_again_while_the_process_runs(tmp_path: Path) -> None:
    lines = process()
    path, start = tmp_path / "log", ProcessStart(service="crm", file="log", how="running")
    path.write_bytes(content(lines[:4]))
    known = read_process_log(path, start)
    path.write_bytes(content(lines))
    whole = read_process_log(path, start, known=known)
    assert [line.seq for line in whole.lines] == list(range(7))
    assert all(one is other for one, other in zip(known.lines, whole.lines, strict=False))


# --- bytes that nobody should write -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "foreign",
    [
        b"\x00" * 512,
        b"",
        b'{"ts":"\xff\xfe"}',
        b"\xf0\x28\x8c\x28",
        b"x" * 1_000_000,
        b'{"seq":1e999}',
        b'{"seq":1,"x":' + b"[" * 500_000 + b"]" * 500_000 + b"}",
    ],
    ids=["nul", "empty", "utf8", "utf8 alone", "1 MB", "infinite seq", "deep"],
)
@PLACES
def test_a_foreign_line_is_one_broken_line_at_its_place(tmp_path: Path, foreign: bytes, place: int) -> None:
    written = [raw(line) for line in process()]
    written.insert(place, foreign)
    log = read_raw(tmp_path / "log", b"\n".join(written) + b"\n")
    assert [number for number, _ in problems(log)] == [place + 1]
    assert len(log.broken[0].excerpt) <= 1200
    assert (len(log.lines), log.lost) == (7, ())


def test_a_valid_line_of_1_mb_is_read(tmp_path: Path) -> None:
    lines = process()
    lines[3] = decoded(line_fields("crm", "library.message", seq=3, at=3, message="x" * 1_000_000))
    log = read_lines(tmp_path / "log", lines, "stopped")
    assert (len(log.lines), log.broken, log.lost) == (7, (), ())


def test_crlf_at_the_end_of_lines_is_read_as_their_end(tmp_path: Path) -> None:
    log = read_raw(tmp_path / "log", content(process()).replace(b"\n", b"\r\n"))
    assert (len(log.lines), log.broken, log.lost) == (7, (), ())


def test_a_log_that_begins_with_a_broken_line_still_learns_its_instance(tmp_path: Path) -> None:
    log = read_raw(tmp_path / "log", b"boom\n" + content(process()[1:]))
    assert log.instance == "crm-1"
    assert [(lost.instance, lost.first) for lost in log.lost] == [("crm-1", 0)]


# --- the window of a scenario -----------------------------------------------------------------------------------


def test_a_window_holds_what_came_after_its_beginning_until_its_end(tmp_path: Path) -> None:
    log = within(read_lines(tmp_path / "log", process()), moment(2), moment(4))
    assert [line.seq for line in log.lines] == [3, 4]


@pytest.mark.parametrize(
    ("since", "until", "belongs"), [(0, 1, True), (0, 2, True), (3, 4, True), (4, 5, False), (-1, 0, False)]
)
def test_a_hole_belongs_to_every_window_in_which_it_may_have_been(
    tmp_path: Path, since: int, until: int, belongs: bool
) -> None:
    lines = [line for line in process() if line.seq not in (2, 3)]  # lost between 1 and 4
    log = read_lines(tmp_path / "log", lines)
    begin = "" if since < 0 else moment(since)
    assert bool(within(log, begin, moment(until)).lost) == belongs


def test_a_broken_line_belongs_to_the_window_of_its_own_timestamp(tmp_path: Path) -> None:
    written = content(process()).replace(raw(process()[3]), raw(process()[3]).replace(b'"info"', b'"loud"'))
    log = read_raw(tmp_path / "log", written, "running")
    assert not within(log, "", moment(2)).broken
    assert within(log, moment(2), moment(4)).broken


def test_a_broken_line_with_a_timestamp_of_the_past_stays_behind_the_line_before_it(tmp_path: Path) -> None:
    broken = raw(process()[3]).replace(b'"info"', b'"loud"').replace(b'"ts":"2026', b'"ts":"1026')
    log = read_raw(tmp_path / "log", content(process()).replace(raw(process()[3]), broken), "running")
    assert log.broken[0].ts == moment(2)


@pytest.mark.parametrize("ts", ["~~", "zzz", ""])
def test_a_broken_line_with_no_timestamp_at_all_keeps_its_seq_and_its_place(tmp_path: Path, ts: str) -> None:
    broken = raw(process()[3]).replace(moment(3).encode(), ts.encode())
    log = read_raw(tmp_path / "log", content(process()).replace(raw(process()[3]), broken))
    assert [(line.number, line.ts) for line in log.broken] == [(4, moment(2))]
    assert log.lost == ()


def test_a_broken_line_before_any_timestamp_is_found_after_the_last_scenario(tmp_path: Path) -> None:
    log = read_raw(tmp_path / "log", b"boom\n", "running")
    assert not within(log, "", moment(9)).broken
    assert within(log, moment(9), END).broken


# --- following a log --------------------------------------------------------------------------------------------


def test_a_tail_gives_whole_new_lines_and_passes_over_broken_ones(tmp_path: Path) -> None:
    old, new = process()[:2], [raw(line) for line in process()[2:5]]
    path = tmp_path / "crm-1.ndjson"
    path.write_bytes(content(old))
    tail = LogTail(tmp_path)
    assert tail.read_on() == []
    path.write_bytes(content(old) + new[0] + b"\nboom\n" + new[1][:20])
    assert [line.seq for line in tail.read_on()] == [2]
    path.write_bytes(content(old) + new[0] + b"\nboom\n" + new[1] + b"\n")
    (tmp_path / "crm-2.ndjson").write_bytes(new[2] + b"\n")
    assert [line.seq for line in tail.read_on()] == [2, 3, 4]
    assert all(kind_of(line) == "library.message" for line in tail.lines)


# --- a skewed clock ---------------------------------------------------------------------------------------------


def fast_by_an_hour(lines: Sequence[Line]) -> bytes:
    return content(lines).replace(b'"2026-01-01T00:', b'"2026-01-01T01:')


@pytest.mark.parametrize("torn", [b"", b"boom\n"], ids=["faultless", "with a broken line"])
def test_the_lines_of_a_process_with_a_skewed_clock_say_when_they_were_written_by_the_true_one(
    tmp_path: Path, torn: bytes
) -> None:
    (tmp_path / "log").write_bytes(fast_by_an_hour(process()[:5]) + torn)
    start = ProcessStart(service="crm", file="log", how="killed", ended_at=moment(9), skew_s=3600.0)
    log = read_process_log(tmp_path / "log", start)
    assert [line.ts for line in log.lines] == [moment(second) for second in range(5)]
    assert [problem for _, problem in problems(log) if "ts" in problem] == []
    assert len(within(log, moment(1), moment(3)).lines) == 2
    found = last_line(tmp_path / "log", skew_s=3600.0)
    assert found is not None
    assert found.ts == moment(4)


def test_a_broken_line_of_a_process_with_a_skewed_clock_keeps_its_place_in_true_time(tmp_path: Path) -> None:
    lines = fast_by_an_hour(process()).replace(b'"level":"info"', b'"level":"loud"')
    (tmp_path / "log").write_bytes(lines)
    log = read_process_log(tmp_path / "log", ProcessStart(service="crm", file="log", how="running", skew_s=3600.0))
    assert [broken.ts for broken in log.broken] == [moment(second) for second in range(7)]


def test_a_process_whose_clock_was_right_after_all_is_read_as_wrong(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(content(process()))
    start = ProcessStart(service="crm", file="log", how="stopped", ended_at=moment(9), skew_s=-3600.0)
    assert "when its process had ended" in problems(read_process_log(tmp_path / "log", start))[-1][1]


def test_a_tail_corrects_what_a_process_with_a_skewed_clock_writes(tmp_path: Path) -> None:
    tail = LogTail(tmp_path, skews_s=lambda: {"crm-2.ndjson": 3600.0})
    (tmp_path / "crm-1.ndjson").write_bytes(content(process()[:2]))
    (tmp_path / "crm-2.ndjson").write_bytes(fast_by_an_hour(process()[2:4]))
    assert [line.ts for line in tail.read_on()] == [moment(second) for second in range(4)]


# --- against a slow, obvious twin -------------------------------------------------------------------------------


@steady
@given(st.lists(st.integers(0, 9), max_size=12))
def test_holes_duplicates_and_swaps_are_those_of_a_brute_force_reading(seqs: list[int]) -> None:
    lines = [decoded(line_fields("crm", "library.message", seq=seq, at=at)) for at, seq in enumerate(seqs)]
    with tempfile.TemporaryDirectory() as folder:
        log = read_lines(Path(folder) / "log", lines)
    altered, seqs = altered_one_by_one(seqs)
    assert [number for number, problem in problems(log) if "the seq was altered" in problem] == altered
    lost = {seq for first, last in holes(log) for seq in range(first, (last or 0) + 1)}
    assert lost == set(range(max(seqs, default=-1) + 1)) - set(seqs)
    duplicated = [number for number, problem in problems(log) if "a second time" in problem]
    assert duplicated == [at + 1 for at, seq in enumerate(seqs) if seq in seqs[:at]]
    swapped = [number for number, problem in problems(log) if "swapped" in problem]
    assert swapped == [
        at + 1 for at, seq in enumerate(seqs) if seq not in seqs[:at] and any(before > seq for before in seqs[:at])
    ]


def altered_one_by_one(seqs: list[int]) -> tuple[list[int], list[int]]:
    """Line numbers of each lone seq between n - 1 and n + 1 that is not n, which nobody else has; and all put right."""
    numbers, right = [], list(seqs)
    for at in range(len(seqs) - 1):
        n = [-1, *seqs][at] + 1
        if seqs[at + 1] == n + 1 and n not in seqs and seqs.count(seqs[at]) == 1:
            numbers.append(at + 1)
            right[at] = n
    return numbers, right


# --- seq and ts altered -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("place", "to"), [(0, 90), (3, 90), (5, 90), (3, 0)])
def test_an_altered_seq_is_named_and_makes_no_hole(tmp_path: Path, place: int, to: int) -> None:
    lines = process()
    lines[place].seq = to
    log = read_lines(tmp_path / "log", lines, "stopped")
    if to == 90:
        assert problems(log) == [(place + 1, f"seq 90 stands where seq {place} should: the seq was altered")]
        assert log.lost == ()
    else:  # that seq has another line, so nobody can tell where it belongs
        assert problems(log) == [(4, "seq 0 stands there a second time: another line has it, so one was altered")]
        assert holes(log) == [(3, 3)]


def test_an_altered_seq_of_the_last_line_leaves_a_hole_before_it(tmp_path: Path) -> None:
    lines = process()
    lines[6].seq = 9
    assert holes(read_lines(tmp_path / "log", lines, "stopped")) == [(6, 8)]


@pytest.mark.parametrize(("place", "to", "named"), [(3, 0, 4), (6, 0, 7), (0, 900, 2), (3, 900, 5)])
def test_a_ts_that_goes_backwards_is_named_and_belongs_to_its_neighbours_time(
    tmp_path: Path, place: int, to: int, named: int
) -> None:
    lines = process()
    lines[place].ts = moment(to)
    log = read_lines(tmp_path / "log", lines, "stopped")
    ((number, problem),) = problems(log)
    assert number == named
    assert problem.startswith("ts 2026-01-01T00:")
    assert "is before" in problem
    assert moment(0) <= log.broken[0].ts <= moment(7)


def test_two_lines_of_one_ts_are_in_order(tmp_path: Path) -> None:
    lines = process()
    lines[3].ts = lines[4].ts
    assert problems(read_lines(tmp_path / "log", lines, "stopped")) == []


def test_a_line_after_the_end_of_its_process_is_named(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(content(process()))
    ended = ProcessStart(service="crm", file="log", how="stopped", ended_at=moment(6))
    assert read_process_log(path, ended).broken == ()
    early = msgspec.structs.replace(ended, ended_at=moment(5))
    ((number, problem),) = problems(read_process_log(path, early))
    assert number == 7
    assert "when its process had ended" in problem


@pytest.mark.parametrize("torn", [b"", b"boom\n"], ids=["faultless", "with a broken line"])
def test_a_line_before_the_start_of_its_process_is_named(tmp_path: Path, torn: bytes) -> None:
    path = tmp_path / "log"
    path.write_bytes(content(process()) + torn)
    started = ProcessStart(service="crm", file="log", how="stopped", started_at=moment(0), ended_at=moment(9))
    assert [problem for _, problem in problems(read_process_log(path, started)) if "ts" in problem] == []
    late = msgspec.structs.replace(started, started_at=moment(3))
    ((number, problem),) = [found for found in problems(read_process_log(path, late)) if "ts" in found[1]]
    assert number == 1
    assert problem == f"ts {moment(0)} is before {moment(3)}, when its process was started"


# --- past the log, and the way it ends --------------------------------------------------------------------------


@pytest.mark.parametrize("torn", [b"", b"boom\n"], ids=["faultless", "with a broken line"])
def test_what_a_process_writes_past_its_log_is_broken_line_by_line(tmp_path: Path, torn: bytes) -> None:
    (tmp_path / "crm-1.ndjson").write_bytes(content(process()[:5]) + torn)
    (tmp_path / "crm-1.stderr").write_text("Traceback (most recent call last):\n\n  boom\n")
    start = ProcessStart(service="crm", file="crm-1.ndjson", how="running")
    log = read_process_log(tmp_path / "crm-1.ndjson", start)
    past = [broken for broken in log.broken if broken.file == "crm-1.stderr"]
    assert [(broken.number, broken.excerpt) for broken in past] == [
        (1, "Traceback (most recent call last):"),
        (3, "  boom"),
    ]
    assert len(log.broken) == 2 + bool(torn)


def test_what_was_written_past_the_log_belongs_where_its_file_was_last_written(tmp_path: Path) -> None:
    (tmp_path / "crm-1.ndjson").write_bytes(content(process()[:5]))
    (tmp_path / "crm-1.stderr").write_text("boom\n")
    wrote_at = datetime.fromisoformat(moment(3)).timestamp()
    os.utime(tmp_path / "crm-1.stderr", (wrote_at, wrote_at))
    start = ProcessStart(service="crm", file="crm-1.ndjson", how="running")
    log = read_process_log(tmp_path / "crm-1.ndjson", start)
    windows = [within(log, moment(since), moment(since + 2)) for since in (0, 2, 4)]
    assert [len(window.broken) for window in windows] == [0, 1, 0]


def test_a_process_that_writes_nothing_past_its_log_is_read_without_remark(tmp_path: Path) -> None:
    (tmp_path / "crm-1.ndjson").write_bytes(content(process()))
    (tmp_path / "crm-1.stderr").touch()
    start = ProcessStart(service="crm", file="crm-1.ndjson", how="stopped", exit_code=0)
    assert read_process_log(tmp_path / "crm-1.ndjson", start).broken == ()


@pytest.mark.parametrize("whole", [True, False], ids=["after its goodbye", "without any"])
def test_a_process_that_falls_dead_when_it_is_asked_to_end_is_named_and_has_lost_no_line(
    tmp_path: Path, whole: bool
) -> None:
    (tmp_path / "log").write_bytes(content(process() if whole else process()[:5]))
    start = ProcessStart(service="crm", file="log", how="stopped", ended_at=moment(9), exit_code=-15)
    log = read_process_log(tmp_path / "log", start)
    ((_, problem),) = problems(log)
    assert problem == "it was asked to end, and fell dead (exit code -15): the log just stops"
    assert (log.broken[0].ts, log.lost) == (moment(9), ())


def test_a_process_that_is_killed_has_its_exit_code_from_us(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(content(process()[:5]))
    start = ProcessStart(service="crm", file="log", how="killed", ended_at=moment(9), exit_code=-9)
    assert problems(read_process_log(tmp_path / "log", start)) == []
