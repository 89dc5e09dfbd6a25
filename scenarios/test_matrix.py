"""The part of the matrix that every run goes through: any two of kind of far end, toxic and direction meet in it.

In a round, each kind of far end has a toxic of its own at the same time. The run's seed decides which edges.
"""

from __future__ import annotations

import pytest

from scenarios.matrix.cells import TOXICS
from scenarios.matrix.pairwise import covering, rounds
from scenarios.matrix.run_cell import run_cells
from scenarios.world import World

BATCHES = 3
"""What a toxic keeps away from another comes with the second; the third is for a bad day."""


@pytest.mark.needs_wire_proxy
@pytest.mark.parametrize("number", range(len(TOXICS)))
def test_each_kind_of_edge_is_poisoned_while_leads_go_their_way(world: World, number: int) -> None:
    cells = rounds(covering(world.target.edges, world.seed))[number]
    hits = run_cells(cells, world, batches=BATCHES)
    assert all(hit.hits for hit in hits), [f"{hit.cell.name}: {hit}" for hit in hits if not hit.hits]
