"""Positions for the nodes and edges of a small directed graph, drawn from top to bottom in ranks.

A reduced form of the layered method of K. Sugiyama, S. Tagawa and M. Toda ("Methods for Visual Understanding of
Hierarchical System Structures", IEEE Trans. SMC 11(2), 1981).
"""

import graphlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

# Distances from the last node of a rank to the first edge that passes the rank, and from there to the next edge.
_TO_PASSING_EDGE, _BETWEEN_PASSING_EDGES = 0.7, 0.4


@dataclass(frozen=True)
class Layout:
    """A drawing in units of one node's width (across) and one rank (down).

    Attributes:
        places: node to (x, rank); rank 0 is at the top, and the nodes of each rank are centred on x = 0.
        edges: (parent, child) to the points of the edge, both ends included.
    """

    places: dict[str, tuple[float, int]]
    edges: dict[tuple[str, str], list[tuple[float, int]]]


def layered_layout(parents: Mapping[str, Sequence[str]]) -> Layout:
    """A drawing of the graph that is given as node to its parents.

    The nodes of a rank are ordered by the mean x of their parents. An edge that skips a rank passes it on the right.

    Raises:
        ValueError: if a parent is not a node, or the graph has a cycle.
    """
    for node, above in parents.items():
        for parent in above:
            if parent not in parents:
                raise ValueError(f"{node!r}: expected parents among the nodes, got {parent!r}")
    ranks = _ranks(parents)
    places: dict[str, tuple[float, int]] = {}
    ends = [0.0] * (max(ranks.values(), default=-1) + 1)
    for rank in range(len(ends)):
        row = [node for node in parents if ranks[node] == rank]
        row.sort(key=lambda node: fmean(places[parent][0] for parent in parents[node]) if parents[node] else 0.0)
        left = -(len(row) - 1) / 2
        places |= {node: (left + i, rank) for i, node in enumerate(row)}
        ends[rank] = -left + _TO_PASSING_EDGE
    edges: dict[tuple[str, str], list[tuple[float, int]]] = {}
    for node, above in parents.items():
        for parent in dict.fromkeys(above):
            passed = range(ranks[parent] + 1, ranks[node])
            edges[parent, node] = [places[parent], *((ends[rank], rank) for rank in passed), places[node]]
            for rank in passed:
                ends[rank] += _BETWEEN_PASSING_EDGES
    return Layout({node: places[node] for node in parents}, edges)


def _ranks(parents: Mapping[str, Sequence[str]]) -> dict[str, int]:
    """Longest path from the top; an input is placed just above its first child."""
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
