"""The interval of repeated measurements."""

import math

import numpy as np
import pytest

from textclf.stats.repeats import repeated_mean

VALUES = np.array([0.90, 0.92, 0.91, 0.95, 0.92])


def test_the_interval_is_students():
    found = repeated_mean(VALUES)
    # The quantile of t with 4 degrees of freedom is 2.776.
    assert (found.n, found.mean) == (5, pytest.approx(0.92))
    assert found.deviation == pytest.approx(0.0187083)
    assert found.half_width == pytest.approx(2.776445 * 0.0187083 / math.sqrt(5), rel=1e-5)


def test_folds_widen_the_interval():
    ratio = repeated_mean(VALUES, folds=5).half_width / repeated_mean(VALUES).half_width
    assert ratio == pytest.approx(math.sqrt((1 / 5 + 1 / 4) / (1 / 5)))


def test_one_value_has_no_interval_and_none_has_no_mean():
    assert repeated_mean(VALUES[:1]).half_width == math.inf
    with pytest.raises(ValueError, match="at least one value"):
        repeated_mean(VALUES[:0])


@pytest.mark.statistics
def test_the_interval_holds_the_mean_in_95_of_100_samples():
    rng = np.random.default_rng(0)
    samples = [repeated_mean(rng.normal(0.9, 0.01, 4)) for _ in range(4000)]
    held = np.mean([abs(one.mean - 0.9) <= one.half_width for one in samples])
    assert 0.94 < held < 0.96
