"""Where to draw the nodes and edges of a small directed graph, from top to bottom.

The layered method of K. Sugiyama, S. Tagawa and M. Toda ("Methods for Visual Understanding of
Hierarchical System Structures", IEEE Trans. SMC 11(2), 1981): ranks by longest path, way points
where an edge passes a rank, order within a rank by the mean place of the neighbours.
"""

import graphlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean

_SWEEPS = 8
# A way point needs less room than a node.
_WAY_POINT_WIDTH = 0.4


@dataclass(frozen=True)
class Layout:
    """A drawing in units of one node's width (across) and one rank (down).

    Attributes:
        places: node to (x, rank); rank 0 is at the top, the x of all are centred on 0.
        edges: (parent, child) to the points the edge goes through, both ends included.
    """

    places: dict[str, tuple[float, int]]
    edges: dict[tuple[str, str], list[tuple[float, int]]]


def layered_layout(parents: Mapping[str, Sequence[str]]) -> Layout:
    """A drawing of the graph given as node to its parents.

    Raises:
        ValueError: a parent is not a node, or the graph has a cycle.
    """
    for node, above in parents.items():
        for parent in above:
            if parent not in parents:
                raise ValueError(f"{node!r}: expected parents among the nodes, got {parent!r}")
    ranks = _ranks(parents)
    chains: dict[tuple[str, str], list[str]] = {}
    by_rank: list[list[str]] = [[] for _ in range(max(ranks.values(), default=-1) + 1)]
    neighbours: dict[str, list[str]] = {node: [] for node in parents}
    way_points = set()
    for node, rank in ranks.items():
        by_rank[rank].append(node)
    for node, above in parents.items():
        for parent in dict.fromkeys(above):
            passed = [f"{parent}\0{node}\0{rank}" for rank in range(ranks[parent] + 1, ranks[node])]
            for rank, way_point in enumerate(passed, ranks[parent] + 1):
                by_rank[rank].append(way_point)
                way_points.add(way_point)
            chain = [parent, *passed, node]
            chains[parent, node] = chain
            for upper, lower in pairwise(chain):
                neighbours.setdefault(upper, []).append(lower)
                neighbours.setdefault(lower, []).append(upper)
    widths = {name: _WAY_POINT_WIDTH if name in way_points else 1.0 for row in by_rank for name in row}
    across = _across(by_rank, neighbours, widths)
    down = {name: rank for rank, row in enumerate(by_rank) for name in row}
    return Layout(
        places={node: (across[node], down[node]) for node in parents},
        edges={ends: [(across[name], down[name]) for name in chain] for ends, chain in chains.items()},
    )


def _ranks(parents: Mapping[str, Sequence[str]]) -> dict[str, int]:
    """Longest path from the top; an input stands just above the first node that takes it."""
    try:
        order = list(graphlib.TopologicalSorter(parents).static_order())
    except graphlib.CycleError as error:
        raise ValueError(f"expected a graph without cycles, got {' -> '.join(error.args[1])}") from error
    ranks: dict[str, int] = {}
    for node in order:
        ranks[node] = 1 + max((ranks[parent] for parent in parents[node]), default=-1)
    for node in order:
        below = [ranks[child] for child, above in parents.items() if node in above]
        if not parents[node] and below:
            ranks[node] = min(below) - 1
    return ranks


def _across(
    by_rank: list[list[str]], neighbours: Mapping[str, Sequence[str]], widths: Mapping[str, float]
) -> dict[str, float]:
    """The x of every node and way point: near the mean of its neighbours, none over another."""
    x: dict[str, float] = {}
    for row in by_rank:
        x.update(_spread(row, [0.0] * len(row), widths))
    for sweep in range(_SWEEPS):
        for row in by_rank if sweep % 2 == 0 else by_rank[::-1]:
            wanted = {
                name: fmean(x[other] for other in neighbours[name]) if neighbours[name] else x[name] for name in row
            }
            row.sort(key=lambda name: wanted[name])
            x.update(_spread(row, [wanted[name] for name in row], widths))
    left = min((x[name] - widths[name] / 2 for name in x), default=0.0)
    right = max((x[name] + widths[name] / 2 for name in x), default=0.0)
    return {name: value - (left + right) / 2 for name, value in x.items()}


def _spread(row: Sequence[str], wanted: Sequence[float], widths: Mapping[str, float]) -> dict[str, float]:
    """The wanted places of a row, pushed apart until nothing overlaps, their weighted mean kept."""
    placed: list[float] = []
    for name, place in zip(row, wanted, strict=True):
        if placed:
            previous = row[len(placed) - 1]
            place = max(place, placed[-1] + (widths[previous] + widths[name]) / 2)
        placed.append(place)
    total = sum(widths[name] for name in row)
    shift = sum(widths[name] * (want - place) for name, want, place in zip(row, wanted, placed, strict=True))
    return {name: place + shift / total for name, place in zip(row, placed, strict=True)}
