"""A small part of the matrix in which every two of its factors meet: kind of far end × toxic × direction.

Each kind of far end has to meet each toxic, so there is one cell for each of these pairs and no more; its direction is
the one that its toxic, its kind and its edge have seen less of, and edges of a kind take turns. Another seed begins
with other edges, so that many runs come round to all of them.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Sequence

from scenarios.matrix.cells import FAR_ENDS, STREAMS, TOXICS, Cell, FarEnd, far_end, not_applicable


def covering(edges: Sequence[str], seed: int) -> list[Cell]:
    """Applicable cells in which every (kind, toxic), (toxic, direction), (kind, direction) and every edge occurs.

    The same seed gives the same cells. A pair that no applicable cell has is not covered.
    """
    draw = random.Random(f"pairwise/{seed}")
    toxics = draw.sample(TOXICS, len(TOXICS))
    seen: Counter[tuple[str, str]] = Counter()
    chosen = []
    for kind in FAR_ENDS:
        of_kind = [edge for edge in edges if far_end(edge) == kind]
        draw.shuffle(of_kind)
        for toxic in toxics if of_kind else ():
            options = [cell for edge in of_kind for cell in _applicable(edge, toxic)]
            best = min(options, key=lambda cell: _familiarity(cell, seen))  # the first of equals
            seen.update(_pairs(best))
            chosen.append(best)
    return chosen


def rounds(chosen: Sequence[Cell]) -> list[list[Cell]]:
    """The cells by turns: in a round, each kind of far end is met once at most, and so is each toxic."""
    by_kind: dict[FarEnd, list[Cell]] = {kind: [cell for cell in chosen if cell.far_end == kind] for kind in FAR_ENDS}
    made: list[list[Cell]] = [[] for _ in TOXICS]
    for shift, of_kind in enumerate(by_kind.values()):
        for number, cell in enumerate(of_kind):
            made[(number + shift) % len(made)].append(cell)
    return [cells for cells in made if cells]


def _applicable(edge: str, toxic: str) -> list[Cell]:
    both = (Cell(edge, toxic, stream) for stream in STREAMS)
    return [cell for cell in both if not_applicable(cell) is None]


def _pairs(cell: Cell) -> Iterator[tuple[str, str]]:
    yield cell.toxic, cell.stream
    yield cell.far_end, cell.stream
    yield "edge", cell.edge
    yield cell.edge, cell.stream


def _familiarity(cell: Cell, seen: Counter[tuple[str, str]]) -> tuple[bool, int]:
    """How little is new about a cell: what has to be covered first, then what evens things out."""
    counts = [seen[pair] for pair in _pairs(cell)]
    return 0 not in counts[:3], sum(counts)
