"""Select the logged texts and the reference that can be compared if the model has a cascade.

A server with CASCADE=off predicts with the encoder alone, whose scores differ from those of the cascade.
"""

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray

from textclf.drift.features import Stage, TextFeatures
from textclf.drift.reference import Reference
from textclf.stats.drift_tests.compare import compared_stages, embedded


def comparable_samples(reference: Reference, latest: TextFeatures) -> tuple[Reference, NDArray[np.bool_], list[str]]:
    """Select the texts that most of the sample was predicted like: with the cascade or without.

    Returns the reference with or without the cascade, True for each selected text as bool [n], and notes.
    """
    everything = np.ones(len(latest), np.bool_)
    if reference.alone is None or not len(latest):
        return reference, everything, []
    is_alone = np.equal(latest.stages, Stage.ALONE) if latest.stages is not None else everything
    mostly_alone = bool(is_alone.mean() > 0.5)
    chosen = is_alone if mostly_alone else ~is_alone
    others = int(np.sum(~chosen))
    notes = []
    if others:
        predicted = "with the cascade" if mostly_alone else "by the encoder alone"
        notes.append(f"{others:,} texts were predicted {predicted} and left out: their scores are not comparable.")
    return reference.without_cascade if mostly_alone else reference, chosen, notes


def with_both_stages(latest: TextFeatures, both: TextFeatures) -> TextFeatures:
    """Replace embeddings and disagreements of n texts by those of up to n texts that both stages scored.

    Each test family uses its own columns, so the columns of a row may come from different texts.
    """
    size = min(len(latest), len(both))
    columns: dict[str, Any] = {}
    for name in ("embeddings", "disagreements"):
        known = getattr(both, name)
        if known is not None:
            values = np.full((len(latest), *known.shape[1:]), np.nan, np.float32)
            values[:size] = known[:size]
            columns[name] = values
    return dataclasses.replace(latest, **columns) if columns else latest


def stage_notes(reference: TextFeatures, latest: TextFeatures, min_texts: int) -> list[str]:
    """Notes about texts that a cascade predicted; [] for a model without one.

    A test needs at least `min_texts` texts with both stages.
    """
    if reference.stages is None or latest.stages is None or not len(latest):
        return []
    before, now = (float(np.mean(sample.stages == Stage.LINEAR)) for sample in (reference, latest))
    notes = [f"The linear stage predicted {before:.0%} of the reference and {now:.0%} of the latest texts."]
    both = max(len(embedded(latest)), len(compared_stages(latest)))
    if both < min_texts:
        notes.append(
            f"Both stages scored {both:,} of the latest texts; tests of embeddings and of disagreement need "
            f"{min_texts:,}."
        )
    return notes
