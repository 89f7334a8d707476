"""Scores labelled texts with the engine that serves, for the evaluation of a version."""

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from textclf.data.datasets import Dataset
from textclf.data.splits import Split
from textclf.runtime.predictor import Predictor
from textclf.store.evaluation import MAX_TEXTS, ClassWord, Evaluation


def drawn_rows(n: int, max_texts: int = MAX_TEXTS, seed: int = 0) -> NDArray[np.int64]:
    """The positions of up to `max_texts` of n texts, drawn at random, ascending; equal numbers give equal positions."""
    return np.sort(np.random.default_rng(seed).permutation(n)[:max_texts]).astype(np.int64)


def evaluated_split(dataset: Dataset) -> tuple[str, Split]:
    """The name and the texts of the evaluated split: test, or if it was not read the selection set.

    If the selection set chose the epoch (TrainingOptions.select), results on it are optimistic.
    """
    name = "validation_select" if dataset.test is None else "test"
    return name, dataset.splits[name]


def evaluate(
    predictor: Predictor,
    split: str,
    texts: Sequence[str],
    labels: NDArray[np.integer[Any]],
    words: tuple[tuple[ClassWord, ...], ...] = (),
) -> Evaluation:
    """The evaluation of a predictor on the drawn rows of a split's texts, at least one.

    Raises:
        InputError: if a text is not well-formed.
        ModelStoreError: if the model can't score them.
    """
    rows = drawn_rows(len(texts))
    start = time.perf_counter()
    batch = predictor.predict_batch([texts[row] for row in rows])
    seconds = time.perf_counter() - start
    counts = batch.encoded.token_counts
    return Evaluation(
        split=split,
        found=len(texts),
        labels=np.asarray(labels, np.int64)[rows],
        predicted=batch.predicted,
        confidences=np.array([found.probabilities[found.label] for found in batch.predictions], np.float64),
        lengths=np.asarray(batch.encoded.lengths if counts is None else counts, np.int64),
        seconds=seconds,
        words=words,
    )
