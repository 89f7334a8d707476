"""Choose the texts whose labels teach the model most: uncertain, disputed or unfamiliar, and unlike each other.

A text's value is its uncertainty (1 - the difference of its two largest probabilities), plus 1 if the stages of the
cascade disagree, plus 1 if it is unusual for the training texts. The first text is that of the largest value. Each
further one has the largest value times its distance from the nearest one chosen before. The distance is 1 - cosine of
the square roots of the wordpiece counts, hashed into 512 buckets.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from textclf.drift.features import TextFeatures, TokenCounts

UNCERTAIN, STAGES_DISAGREE = "uncertain", "stages_disagree"
# Texts below this uncertainty are chosen for other reasons.
_MIN_UNCERTAINTY = 0.5
_HASHED = 512
# A text that is alone in its kind is worth a little, too, so that the queue never ends early.
_MIN_VALUE = 0.01
_MIX = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True)
class Choice:
    """A chosen text: its position, and why it was chosen; no reason means that it differs from the others."""

    position: int
    reasons: tuple[str, ...]


def choose_informative(
    features: TextFeatures, unusual: Sequence[str | None], count: int, temperature: float = 1.0
) -> list[Choice]:
    """Choose up to `count` of n texts, the most informative first; equal input gives equal choices.

    Args:
        features: features of the n texts.
        unusual: for each text the reason why it is unusual for the training texts (see UnusualTexts), or None.
        count: number of texts.
        temperature: divides the logits.
    """
    uncertainty = _uncertainty(features.logits, temperature)
    disputed = np.zeros(len(features)) if features.disagreements is None else np.nan_to_num(features.disagreements)
    is_unusual = np.array([reason is not None for reason in unusual], bool)
    value = np.maximum(uncertainty + disputed + is_unusual, _MIN_VALUE)
    directions = _directions(features.words)
    distance = np.ones(len(features))
    chosen: list[Choice] = []
    for _ in range(min(count, len(features))):
        at = int(np.argmax(value * distance))
        reasons = [name for name in (unusual[at],) if name is not None]
        reasons += [STAGES_DISAGREE] * bool(disputed[at]) + [UNCERTAIN] * bool(uncertainty[at] >= _MIN_UNCERTAINTY)
        chosen.append(Choice(at, tuple(reasons)))
        distance = np.minimum(distance, np.maximum(1 - directions @ directions[at], 1e-6))
        distance[at] = -1.0
    return chosen


def _uncertainty(logits: NDArray[np.float32], temperature: float) -> NDArray[np.float64]:
    """1 - (largest probability - second), float64 [n]."""
    scaled = logits.astype(np.float64) / temperature
    weights = np.exp(scaled - scaled.max(axis=1, keepdims=True, initial=-np.inf))
    probabilities = np.sort(weights / weights.sum(axis=1, keepdims=True), axis=1)
    return np.asarray(1 - (probabilities[:, -1] - probabilities[:, -2]))


def _directions(words: TokenCounts) -> NDArray[np.float32]:
    """Hashed square roots of the wordpiece counts with length 1, float32 [n, _HASHED]; 0 for a text without words."""
    rows = np.repeat(np.arange(len(words)), np.diff(words.offsets))
    buckets = ((words.ids.astype(np.uint64) * _MIX) >> np.uint64(64 - _HASHED.bit_length() + 1)).astype(np.int64)
    hashed = np.zeros((len(words), _HASHED), np.float32)
    np.add.at(hashed, (rows, buckets), np.sqrt(words.counts.astype(np.float32)))
    lengths = np.linalg.norm(hashed, axis=1, keepdims=True)
    lengths[lengths == 0] = 1
    return np.asarray(hashed / lengths, np.float32)
