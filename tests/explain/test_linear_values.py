"""Exact values of the linear stage."""

import time

import numpy as np
import pytest
from tiny_bert import vocabulary
from tiny_engine import tiny_linear

from textclf.errors import ModelStoreError
from textclf.explain.linear_values import exactly_adding_up, linear_logit_values, probability_values
from textclf.explain.word_spans import text_words
from textclf.runtime.linear_stage import LinearStage, features_at
from textclf.stats.calibration import softmax
from textclf.tokenization.tokenizer import Tokenizer

TOKENIZER = Tokenizer(vocabulary(), lower_case=True, max_length=32)


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("text", ["", "good", "the film was good, good and very good!", "bad " * 9000])
def test_values_add_up_to_the_logits(classes, text):
    linear, words = tiny_linear(classes), text_words(text, TOKENIZER)
    values, base = linear_logit_values(linear, words)
    assert base + values.sum(axis=0) == pytest.approx(linear([words.wordpieces.tolist()])[0], abs=1e-4)
    probabilities, base = probability_values(values, base)
    logits = linear([words.wordpieces.tolist()])[0].astype(np.float64)
    assert base + probabilities.sum(axis=0) == pytest.approx(softmax(logits), abs=1e-4)


def test_a_weight_is_divided_among_the_places_of_its_feature():
    weights = np.zeros((2**12, 3), np.float16)
    linear = LinearStage(weights, np.zeros(3, np.float32))
    words = text_words("good film good", TOKENIZER)
    good, film, again, good_film, film_good = features_at(words.wordpieces, 2**12).tolist()
    assert good == again
    assert len({good, film, good_film, film_good}) == 4
    weights[good], weights[film], weights[good_film], weights[film_good] = 4, 1, 2, 6
    values, _ = linear_logit_values(linear, words)
    assert values[:, 0].tolist() == [2 + 1, 1 + 1 + 3, 2 + 3]


def test_probabilities_of_a_word_alone_are_its_change():
    """One word gets the whole change, however steep."""
    for size in (0.1, 5.0, 60.0):
        values, base = probability_values(np.array([[-size, size], [0.0, 0.0]]), np.array([1.0, -1.0]))
        full = softmax(np.array([1.0 - size, size - 1.0]))
        assert values[0] == pytest.approx(full - base, abs=1e-12)
        assert values[1] == pytest.approx([0, 0], abs=1e-12)


def test_probabilities_follow_the_straight_line():
    """Against a fine sum over the line."""
    rng = np.random.default_rng(0)
    logit_values, base_logits = rng.normal(0, 2, (5, 4)), rng.normal(size=4)
    values, _ = probability_values(logit_values, base_logits)
    expected = np.zeros((5, 4))
    steps = 20_000
    for step in (np.arange(steps) + 0.5) / steps:
        p = softmax(base_logits + step * logit_values.sum(axis=0))
        expected += logit_values @ (np.diag(p) - np.outer(p, p)) / steps
    assert values == pytest.approx(expected, abs=1e-6)


def test_a_rest_is_divided_in_proportion():
    values = exactly_adding_up(np.array([[1.0, 0.0], [-3.0, 0.0]]), np.array([-2.0 + 4e-5, 1e-5]))
    assert values == pytest.approx(np.array([[1.0 + 1e-5, 0.5e-5], [-3.0 + 3e-5, 0.5e-5]]), abs=1e-12)


@pytest.mark.parametrize("rest", [2e-4, -1.0, np.nan])
def test_values_of_another_prediction_are_refused(rest):
    with pytest.raises(ModelStoreError, match="expected values of words that add up to the prediction"):
        exactly_adding_up(np.array([[0.25, 0.5]]), np.array([0.25, 0.5 + rest]))


@pytest.mark.parametrize("spread", [0.1, 3.0, 30.0])
def test_the_integral_needs_no_correction(spread, monkeypatch):
    monkeypatch.setattr("textclf.explain.linear_values.exactly_adding_up", lambda values, total: values - 0)
    rng = np.random.default_rng(0)
    logit_values, base_logits = rng.normal(0, spread, (20, 3)), rng.normal(size=3)
    values, base = probability_values(logit_values, base_logits)
    assert base + values.sum(axis=0) == pytest.approx(softmax(base_logits + logit_values.sum(axis=0)), abs=1e-8)


def test_an_ordinary_text_takes_milliseconds():
    words = text_words("the film was good and the plot was very moving " * 25, TOKENIZER)
    linear = tiny_linear()
    seconds = []
    for _ in range(7):
        start = time.thread_time()
        probability_values(*linear_logit_values(linear, words))
        seconds.append(time.thread_time() - start)
    assert min(seconds) < 0.005
