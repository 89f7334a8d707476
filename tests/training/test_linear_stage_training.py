"""Fitting the linear stage: log-count ratios worked out by hand, the size rule, and what it learns."""

import math

import numpy as np
import pytest
from scipy import sparse
from sklearn.linear_model import LogisticRegression
from tiny_engine import tiny_linear, tiny_reviews, wordpieces_of_texts

from textclf.runtime.linear_stage import features_of
from textclf.training import linear_stage_training as training
from textclf.training.linear_stage_training import MAX_BYTES, buckets_for, fit_linear_stage


def test_log_count_ratios_of_three_texts_by_hand():
    """Features a b c; the texts ab, b | bc, the last outside. Counts inside, smoothed: 2 3 1; outside: 1 2 2."""
    counts = sparse.csr_matrix(np.array([[1, 1, 0], [0, 1, 0], [0, 1, 1]], np.float32))
    found = training.log_count_ratios(counts, np.array([True, True, False]))
    expected = [math.log((2 / 6) / (1 / 5)), math.log((3 / 6) / (2 / 5)), math.log((1 / 6) / (2 / 5))]
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_weights_are_ratios_times_those_of_a_logistic_regression_on_features_scaled_by_them():
    rng = np.random.default_rng(0)
    is_inside = rng.random(40) < 0.5
    counts = sparse.csr_matrix((rng.random((40, 6)) < np.where(is_inside, 0.6, 0.3)[:, None]).astype(np.float32))
    weights, intercept = training._one_against_rest(counts, is_inside)
    ratios = training.log_count_ratios(counts, is_inside)
    model = LogisticRegression(C=1.0).fit(counts.toarray() * ratios, is_inside)
    np.testing.assert_allclose(weights, model.coef_[0] * ratios, atol=1e-3)
    assert intercept == pytest.approx(model.intercept_[0], abs=1e-3)
    assert np.abs(weights).min() > 1e-3, "none is trivially right"


def test_a_text_has_a_feature_or_has_it_not():
    counts, features = training._matrix([[7, 7, 8, 7, 8], [8], []], 2**15)
    assert counts.shape == (3, len(features)) == (3, 5)  # 7, 8, 7 7, 7 8, 8 7
    assert counts.sum(axis=1).ravel().tolist() == [[5, 1, 0]]
    assert set(counts.data.tolist()) == {1}
    assert features.tolist() == sorted(features.tolist())
    assert features[counts[1].indices].tolist() == features_of([8], 2**15).tolist()


@pytest.mark.parametrize(
    ("classes", "buckets"),
    [(2, 2**20), (3, 2**20), (32, 2**20), (33, 2**19), (150, 2**17), (1024, 2**15), (1025, None)],
)
def test_the_more_classes_the_fewer_buckets_and_in_the_end_none(classes, buckets):
    assert buckets_for(classes) == buckets
    if buckets is not None:
        assert buckets * (1 if classes == 2 else classes) * 2 <= MAX_BYTES


def test_too_many_classes_have_no_linear_stage():
    assert fit_linear_stage([[1]] * 1025, np.arange(1025), 1025) is None


@pytest.mark.parametrize("classes", [2, 3])
def test_it_tells_what_it_was_not_fitted_to(classes):
    linear = tiny_linear(classes)
    assert linear.classes == classes
    assert linear.weights.dtype == np.float16
    texts, labels = zip(*tiny_reviews(200, seed=5, classes=classes), strict=True)
    found = linear(wordpieces_of_texts(list(texts))).argmax(axis=1)
    assert np.mean(found == np.array(labels)) > 0.97


def test_the_same_texts_give_the_same_weights():
    texts, labels = zip(*tiny_reviews(60), strict=True)
    one, two = (fit_linear_stage(wordpieces_of_texts(list(texts)), labels, 2) for _ in range(2))
    np.testing.assert_array_equal(one.weights, two.weights)
    np.testing.assert_array_equal(one.intercepts, two.intercepts)


def test_only_what_occurs_has_weights():
    texts, labels = zip(*tiny_reviews(60), strict=True)
    pieces = wordpieces_of_texts(list(texts))
    linear = fit_linear_stage(pieces, labels, 2)
    seen = {feature for ids in pieces for feature in features_of(ids, linear.buckets).tolist()}
    assert set(np.flatnonzero(linear.weights[:, 0]).tolist()) <= seen


def test_weights_stay_within_what_float16_holds(monkeypatch):
    monkeypatch.setattr(training, "LogisticRegression", lambda **_: _Huge())
    linear = fit_linear_stage([[7], [8]], [0, 1], 2)
    assert np.isfinite(linear.weights).all()
    assert np.abs(linear.weights).max() == np.finfo(np.float16).max


class _Huge:
    coef_, intercept_ = np.array([[1e9, -1e9]]), np.array([0.0])

    def fit(self, *_):
        pass


def test_class_weights_make_rare_classes_count():
    """Two overlapping words; the rare class is named only if it weighs as much as the other."""
    rng = np.random.default_rng(0)
    labels = np.array([0] * 950 + [1] * 50)
    texts = [[7] if rng.random() < (0.3 if label == 0 else 0.8) else [8] for label in labels]
    plain, weighted = (fit_linear_stage(texts, labels, 2, class_weights=on) for on in (False, True))
    assert plain([[7], [8]]).argmax(axis=1).tolist() == [0, 0]
    assert weighted([[7], [8]]).argmax(axis=1).tolist() == [1, 0]


def test_a_rough_fit_predicts_almost_the_same():
    texts, labels = zip(*tiny_reviews(300, seed=5), strict=True)
    others = wordpieces_of_texts([text for text, _ in tiny_reviews(200, seed=6)])
    exact, rough = (
        fit_linear_stage(wordpieces_of_texts(list(texts)), labels, 2, is_rough=is_rough)(others)
        for is_rough in (False, True)
    )
    assert np.mean(exact.argmax(axis=1) == rough.argmax(axis=1)) >= 0.99
    np.testing.assert_allclose(exact, rough, atol=0.5)
