"""Distances to the nearest texts, and which of them are outliers."""

import tracemalloc

import numpy as np

from textclf.stats import neighbours
from textclf.stats.neighbours import neighbour_distances, outlying


def test_distances_are_those_of_all_pairs(monkeypatch):
    monkeypatch.setattr(neighbours, "_BLOCK", 7)
    embeddings = np.random.default_rng(0).normal(size=(40, 6))
    unit = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    distances = 1 - unit @ unit.T
    np.fill_diagonal(distances, np.inf)
    np.testing.assert_allclose(
        neighbour_distances(embeddings, 3), np.sort(distances, axis=1)[:, :3].mean(axis=1), atol=1e-5
    )


def test_a_block_is_in_memory_once():
    embeddings = np.random.default_rng(0).normal(size=(6000, 8)).astype(np.float32)
    block = 512 * len(embeddings) * 4
    tracemalloc.start()
    try:
        neighbour_distances(embeddings)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert block < peak < 1.5 * block


def test_a_text_far_from_all_others_is_an_outlier():
    rng = np.random.default_rng(1)
    embeddings = rng.normal([5, 0, 0, 0], 0.3, size=(200, 4))
    embeddings[17] = [-5, 0, 0, 0]
    embeddings[90] = [0, 5, 0, 0]
    assert outlying(neighbour_distances(embeddings)).tolist()[:2] == [17, 90]


def test_few_texts_have_no_outliers():
    assert neighbour_distances(np.ones((1, 3))).tolist() == [0.0]
    assert outlying(neighbour_distances(np.ones((20, 3)))).size == 0
