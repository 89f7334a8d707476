"""Exact values of the linear stage: each word gets the weights of its wordpieces; no evaluations are needed."""

import numpy as np
from numpy.typing import NDArray

from textclf.errors import ModelStoreError
from textclf.explain.word_spans import TextWords
from textclf.runtime.linear_stage import LinearStage, features_at
from textclf.stats.calibration import softmax
from textclf.tokenization.tokenizer import MAX_WORDPIECES

Floats = NDArray[np.float64]

# Nodes of a Gauss-Legendre rule, and the largest change of a logit for which they suffice.
_NODES = 16
_MAX_CHANGE = 4.0
# Largest difference between the prediction and the sum of the values that counts as a rounding error; relative to
# changes above 1.
MAX_REST = 1e-4
# Wordpieces whose weights are added at a time; bounds memory for many classes.
_SLICE = 4096


def linear_logit_values(linear: LinearStage, words: TextWords) -> tuple[Floats, Floats]:
    """The change of the linear stage's logits by each word, and the logits without words: [words, K], [K].

    A text is a set of hashed uni- and bigrams. The weight of a feature is divided equally among its occurrences, and
    the share of a bigram equally between the words of its two wordpieces.
    """
    owners = words.word_of_piece[:MAX_WORDPIECES]
    columns = len(linear.intercepts)
    values = np.zeros((len(words), columns))
    if len(owners):
        features = features_at(words.wordpieces[:MAX_WORDPIECES], linear.buckets)  # Unigrams, then bigrams.
        _, inverse, counts = np.unique(features, return_inverse=True, return_counts=True)
        shares = 1 / counts[inverse]
        pieces = len(owners)
        first = np.concatenate([owners, owners[:-1]])
        second = np.concatenate([owners, owners[1:]])
        for start in range(0, 2 * pieces - 1, _SLICE):
            part = slice(start, start + _SLICE)
            weights = linear.weights.take(features[part], axis=0).astype(np.float64) * (shares[part, None] / 2)
            np.add.at(values, first[part], weights)
            np.add.at(values, second[part], weights)
    base = linear.intercepts.astype(np.float64)
    if columns > 1:
        return values, base
    return np.concatenate([-values / 2, values / 2], axis=1), np.concatenate([-base / 2, base / 2])


def probability_values(logit_values: Floats, base_logits: Floats) -> tuple[Floats, Floats]:
    """Values in probabilities from values in logits, and the probabilities without words: [words, K], [K].

    They are the Aumann-Shapley values along the straight line from the base logits to those of the whole text: the
    integral over t of the gradient of the probabilities at base + t * change, times what each word adds to the logits
    (R. Aumann and L. Shapley, "Values of Non-Atomic Games", 1974; as "integrated gradients": M. Sundararajan, A. Taly
    and Q. Yan, ICML 2017, section 3).

    Args:
        logit_values: what each word adds to the logits, [words, K].
        base_logits: logits without words, [K].
    """
    change = logit_values.sum(axis=0)
    base, full = softmax(base_logits), softmax(base_logits + change)
    panels = max(1, int(np.ceil(np.ptp(change) / _MAX_CHANGE)))
    nodes, weights = np.polynomial.legendre.leggauss(_NODES)
    slopes = np.zeros((len(base), len(base)))  # Mean of the derivatives of probability k by logit j.
    for panel in range(panels):
        steps = (panel + (nodes + 1) / 2) / panels  # [nodes]
        path = softmax(base_logits + steps[:, None] * change)  # [nodes, K]
        part = weights / (2 * panels)
        slopes += np.diag(part @ path) - (path * part[:, None]).T @ path
    values = logit_values @ slopes  # slopes is symmetric.
    return exactly_adding_up(values, full - base), base


def exactly_adding_up(values: Floats, total: Floats) -> Floats:
    """Values whose sum is exactly `total`, [K]: the rest, a rounding error, is divided in proportion to their sizes.

    Raises:
        ModelStoreError: if the rest is more than a rounding error: then the values belong to another prediction.
    """
    if not len(values):
        return values
    rest = total - values.sum(axis=0)
    largest, limit = float(np.abs(rest).max()), MAX_REST * max(1.0, float(np.abs(total).max()))
    # Also true for NaN.
    if not largest <= limit:
        raise ModelStoreError(
            f"expected values of words that add up to the prediction within {limit:.2g}, found a difference of "
            f"{largest:.2g}; the explanation and the prediction do not belong together, so report this"
        )
    sizes = np.abs(values)
    sums = sizes.sum(axis=0)
    shares = np.where(sums > 0, sizes / np.where(sums > 0, sums, 1), 1 / len(values))
    return np.asarray(values + rest * shares)
