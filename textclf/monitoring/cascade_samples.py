"""Which of the logged texts can be compared with which reference, where a cascade may have answered them or not.

A server with CASCADE=off answers with the encoder alone, whose scores are other ones than those of the cascade.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray

from textclf.drift.features import Stage, TextFeatures
from textclf.drift.reference import Reference
from textclf.stats.drift_tests.compare import compared_stages, embedded


def comparable_samples(reference: Reference, latest: TextFeatures) -> tuple[Reference, NDArray[np.bool_], list[str]]:
    """The reference as most of the texts were answered, which texts these are, and what was passed over.

    Args:
        reference: of the version.
        latest: of n texts that the version answered.

    Returns:
        The reference, bool [n], and a sentence for each thing to know.
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
        answered = "with the cascade" if mostly_alone else "by the encoder alone"
        notes.append(f"{others:,} texts were answered {answered} and passed over: their scores do not compare.")
    return reference.without_cascade if mostly_alone else reference, chosen, notes


def with_both_stages(latest: TextFeatures, both: TextFeatures) -> TextFeatures:
    """The same n texts with the embeddings and disagreements of others, of n at most, which went through both stages.

    Every family of tests looks at columns of its own, so that rows need not belong together.
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
    """What to know of texts that a cascade answered, a sentence each; [] for others.

    Args:
        reference, latest: as they are compared.
        min_texts: that went through both stages, which a test needs.
    """
    if reference.stages is None or latest.stages is None or not len(latest):
        return []
    before, now = (float(np.mean(sample.stages == Stage.LINEAR)) for sample in (reference, latest))
    notes = [f"The linear stage answered {before:.0%} of the reference and {now:.0%} of the latest texts."]
    both = max(len(embedded(latest)), len(compared_stages(latest)))
    if both < min_texts:
        notes.append(
            f"{both:,} of the latest texts went through both stages: embeddings and disagreement of the stages need "
            f"{min_texts:,}."
        )
    return notes
