"""Stands for the comparisons of bench.drift, in the processes that bench.drift_runs starts: imports next to nothing."""

from bench.drift_runs import Figures, Resample


def figures_of(resample: Resample) -> Figures:
    """Says that it was made in this run."""
    return {**resample._asdict(), "families": {}, "fresh": True}


def prepared():
    return figures_of
