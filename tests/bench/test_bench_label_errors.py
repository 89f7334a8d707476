"""The benchmark of the audit: flips, the figure, and the table; the models are tested elsewhere."""

import numpy as np
import pytest

from bench.accuracy.label_errors import AUDIT, CLEANLAB, FAST, MARGIN, flipped, precision_at_flips, table


@pytest.mark.parametrize("classes", [2, 5])
def test_every_flip_is_to_another_class(classes):
    labels = np.arange(400) % classes
    noisy, is_flipped = flipped(labels, classes, seed=1)
    assert is_flipped.sum() == 20
    assert ((noisy != labels) == is_flipped).all()
    assert set(noisy) <= set(range(classes))
    assert not np.array_equal(is_flipped, flipped(labels, classes, seed=2)[1])


def test_precision_counts_the_flips_among_the_lowest():
    confidence = np.array([0.9, 0.1, 0.2, np.nan, 0.05, 0.8])
    assert precision_at_flips(confidence, np.array([False, True, False, False, True, False])) == 1.0
    assert precision_at_flips(confidence, np.array([False, True, False, True, False, False])) == 0.5


def test_the_table_has_means_and_spreads():
    results = {
        f"trec/{seed}": {AUDIT: value, FAST: 0.5, CLEANLAB: 0.5, MARGIN: 0.25, "flips": 10, "listed": 8, "right": 4}
        for seed, value in enumerate((0.6, 0.8))
    }
    lines = table(results, ["trec"]).splitlines()
    assert "0.70 (0.60 to 0.80)" in next(line for line in lines if line.startswith(f"| {AUDIT} "))
    assert "0.40 (0.40 to 0.40)" in lines[-1]
