"""The matrix as a plan: which cells there are, which small part of it meets all pairs, and how the table tells them."""

from __future__ import annotations

from collections import Counter
from itertools import product

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaos.proxy.client import ATTRIBUTES
from harness.checks.judge import ScenarioVerdict
from harness.checks.verdict import Result
from harness.target import load_target
from reports.grid import Grid, GridFile, final_text, markdown
from reports.grid_live import fill
from scenarios.matrix.cells import FAR_ENDS, STREAMS, TOXICS, Cell, cells, far_end, not_applicable
from scenarios.matrix.pairwise import covering, rounds
from scenarios.matrix.parameters import attributes

EDGES = load_target().edges
ALL = cells(load_target())


def test_every_edge_has_every_toxic_in_both_directions() -> None:
    assert len(ALL) == len(set(ALL)) == 14 * 8 * 2
    assert {(cell.edge, cell.toxic, cell.stream) for cell in ALL} == set(product(EDGES, TOXICS, STREAMS))


def test_cells_have_names_of_their_own() -> None:
    assert len({cell.name for cell in ALL}) == len(ALL)


def test_only_what_cannot_be_is_not_applicable_and_each_has_its_reason() -> None:
    reasons = {cell: why for cell in ALL if (why := not_applicable(cell)) is not None}
    down = {Cell(edge, "down", "downstream") for edge in EDGES}
    assert set(reasons) == down | {Cell("automation→webhook", "slow_close", "downstream")}
    assert all(reasons.values())


def test_every_kind_of_far_end_is_told_from_the_edge() -> None:
    assert far_end("client→crm") == "client side"
    assert far_end("automation→mail") == "sink"
    assert {far_end(edge) for edge in EDGES} == set(FAR_ENDS)


@pytest.mark.parametrize("cell", [cell for cell in ALL if cell.toxic != "down"], ids=lambda cell: cell.name)
def test_every_toxic_has_the_attributes_that_the_proxy_knows(cell: Cell) -> None:
    assert set(attributes(cell)) <= ATTRIBUTES[cell.toxic]
    assert all(value > 0 for value in attributes(cell).values())


# --- pairwise ---------------------------------------------------------------------------------------------------


@given(st.integers(0, 10**6))
def test_the_small_part_meets_every_pair_that_there_is(seed: int) -> None:
    """And every edge. What is not applicable is in no pair."""
    chosen = covering(EDGES, seed)
    possible = [cell for cell in ALL if not_applicable(cell) is None]
    assert set(chosen) <= set(possible)
    assert {(c.far_end, c.toxic) for c in chosen} == {(c.far_end, c.toxic) for c in possible}
    assert {(c.toxic, c.stream) for c in chosen} == {(c.toxic, c.stream) for c in possible}
    assert {(c.far_end, c.stream) for c in chosen} == {(c.far_end, c.stream) for c in possible}
    assert {c.edge for c in chosen} == set(EDGES)


@given(st.integers(0, 10**6))
def test_the_small_part_is_as_small_as_it_can_be(seed: int) -> None:
    assert len(covering(EDGES, seed)) == len(FAR_ENDS) * len(TOXICS)


def test_the_same_seed_chooses_the_same_cells_and_another_one_others() -> None:
    assert covering(EDGES, 7) == covering(EDGES, 7)
    assert covering(EDGES, 7) != covering(EDGES, 8)


def test_over_many_seeds_every_applicable_cell_has_its_turn() -> None:
    seen = {cell for seed in range(300) for cell in covering(EDGES, seed)}
    assert seen == {cell for cell in ALL if not_applicable(cell) is None}


def test_a_target_without_a_kind_of_far_end_is_covered_too() -> None:
    chosen = covering(["client→crm", "crm→database"], 1)
    assert {cell.far_end for cell in chosen} == {"client side", "database"}
    assert {cell.toxic for cell in chosen} == set(TOXICS)


@given(st.integers(0, 10**6))
def test_a_round_meets_each_kind_of_far_end_once_and_no_toxic_twice(seed: int) -> None:
    chosen = covering(EDGES, seed)
    made = rounds(chosen)
    assert sorted(cell for cells in made for cell in cells) == sorted(chosen)
    for one in made:
        assert max(Counter(cell.far_end for cell in one).values()) == 1
        assert max(Counter(cell.toxic for cell in one).values()) == 1


# --- the table --------------------------------------------------------------------------------------------------


def _grid() -> Grid:
    grid = Grid("matrix", "edge")
    for cell in (Cell("a→b", "latency", "upstream"), Cell("a→b", "latency", "downstream")):
        grid.add(cell.name, row=cell.edge, column=cell.toxic)
    grid.add("dead", row="a→b", column="down", not_applicable="it cannot be")
    grid.add("red", row="a→c", column="latency")
    return grid


def _verdict(name: str, *results: Result) -> ScenarioVerdict:
    verdict = "fail" if any(r.status == "fail" for r in results) else "unknown" if results else "pass"
    return ScenarioVerdict(scenario=name, verdict=verdict, results=results)  # type: ignore[arg-type]


def _filled() -> Grid:
    grid = _grid()
    up, down = "matrix a→b latency upstream", "matrix a→b latency downstream"
    broken = Result(property="stage_chain", status="fail", seen=1, floor=1)
    doubtful = Result(property="no_leak", status="unknown", seen=0, floor=1, doubts=("nothing was seen",))
    steps = [
        (up, None, "", 0.0), (up, _verdict(up), "3 chunks", 2.0),
        (down, None, "", 0.0), (down, _verdict(down, doubtful), "", 2.0),
        ("red", None, "", 0.0), ("red", _verdict("red", broken), "", 2.0),
    ]  # fmt: skip
    fill(grid, steps, Grid.live)
    return grid


def test_the_table_shows_each_verdict_and_why_it_is_not_green() -> None:
    told = markdown(_filled(), 9.0)
    assert "| a→b | ✓? | – |" in told
    assert "| a→c | ✗ |  |" in told
    assert "red: broken: stage\\_chain" in told or "red: broken: stage_chain" in told
    assert "no_leak unknown: nothing was seen" in told
    assert "not applicable (1): it cannot be" in told
    assert "1 pass, 1 fail, 1 unknown, 1 not applicable · 9 s" in told


def test_what_an_interrupted_run_did_not_come_to_is_not_called_green() -> None:
    grid = _grid()

    def interrupted() -> object:
        yield "red", None, "", 0.0
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fill(grid, interrupted(), Grid.live)  # type: ignore[arg-type]
    assert grid.counts == {"not run": 3, "not applicable": 1}


def test_the_file_holds_all_that_the_table_tells() -> None:
    grid = _filled()
    written = msgspec.json.decode(msgspec.json.encode(grid.file(seed=4, took_s=9.04)), type=GridFile)
    assert (written.seed, written.took_s) == (4, 9.0)
    assert {entry.name: entry.state for entry in written.entries} == {
        name: entry.state for name, entry in grid.entries.items()
    }
    assert [entry.hit for entry in written.entries if entry.state == "pass"] == ["3 chunks"]
    assert final_text(grid, 9.0)
