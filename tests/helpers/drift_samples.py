"""Features of imaginary texts: lengths, rates, words and logits, drawn from simple distributions."""

import dataclasses

import numpy as np

from textclf.drift.features import TextFeatures, TokenCounts

VOCABULARY = 2000


def texts(
    n: int,
    rng: np.random.Generator,
    classes: int = 2,
    words: int = 40,
    directions: int | None = 8,
    prior: np.ndarray | None = None,
    topic: float = 0.0,
) -> TextFeatures:
    """Draw features of n texts; the same arguments give the same distribution.

    Args:
        n: number of texts.
        rng: random generator.
        classes: number of classes; the logits mostly favour the class of the text.
        words: mean number of wordpieces per text.
        directions: dimensions of the embeddings; None: no embeddings.
        prior: probabilities of the classes; None: equal.
        topic: share of the texts with words and embeddings of another topic.
    """
    lengths = rng.poisson(words, n) + 2
    labels = rng.choice(classes, n, p=prior)
    is_new = rng.random(n) < topic
    # Zipf's law: a few wordpieces are everywhere, most are rare. New texts use the other half of the vocabulary.
    frequencies = 1 / np.arange(1, VOCABULARY // 2 + 1)
    drawn = rng.choice(VOCABULARY // 2, int(lengths.sum()), p=frequencies / frequencies.sum())
    drawn += np.repeat(is_new, lengths) * (VOCABULARY // 2)
    logits = rng.normal(0, 1, (n, classes))
    logits[np.arange(n), labels] += 2.0
    embeddings = None
    if directions is not None:
        embeddings = rng.normal(0, 1, (n, directions)) + 8.0 * is_new[:, None]
        embeddings[:, 0] += labels
        embeddings = embeddings.astype(np.float32)
    return TextFeatures(
        lengths=lengths.astype(np.int64),
        unknown_rates=(rng.binomial(lengths, 0.005) / lengths).astype(np.float32),
        continuation_rates=(rng.binomial(lengths, 0.1) / lengths).astype(np.float32),
        non_letter_rates=(rng.binomial(5 * lengths, 0.05) / (5 * lengths)).astype(np.float32),
        words=TokenCounts.of_ids(np.split(drawn, np.cumsum(lengths)[:-1])),
        logits=logits.astype(np.float32),
        predicted=logits.argmax(axis=1).astype(np.int64),
        embeddings=embeddings,
    )


def changed(features: TextFeatures, **columns: object) -> TextFeatures:
    """Return the texts with other values of some features."""
    return dataclasses.replace(features, **columns)
