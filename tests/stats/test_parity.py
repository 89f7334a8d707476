"""The parity check: numbers computed by hand, and every rule at its boundary."""

import dataclasses
import json

import numpy as np
import pytest

from textclf.stats.parity import Parity, margins, parity, parity_failures

SAME = Parity(
    texts=1000,
    agreement=1.0,
    clear_agreement=1.0,
    widest_margin_of_differing=0.0,
    accuracy_of_original=0.9,
    accuracy_of_copy=0.9,
    largest_logit_difference=0.0,
    mean_logit_difference=0.0,
)


def failures(**figures):
    return parity_failures(dataclasses.replace(SAME, **figures))


# --- the figures


def test_figures_of_four_texts():
    original = np.array([[2.0, 0.0], [0.0, 1.0], [0.3, 0.0], [0.0, 3.0]], np.float32)
    copy = np.array([[1.5, 0.0], [0.0, 1.0], [0.0, 0.1], [0.0, 3.2]], np.float32)
    figures = parity(
        labels=np.array([0, 1, 0, 0]),
        original=(np.array([0, 1, 0, 1]), original),
        copy=(np.array([0, 1, 1, 1]), copy),
        margins_of_original=np.array([0.8, 0.5, 0.15, 0.9]),
    )
    assert (figures.texts, figures.agreement, figures.clear_agreement) == (4, 0.75, 0.75)
    assert figures.widest_margin_of_differing == 0.15
    assert (figures.accuracy_of_original, figures.accuracy_of_copy) == (0.75, 0.5)
    assert figures.largest_logit_difference == pytest.approx(0.5)
    # 0.5 + 0.3 + 0.1 + 0.2 over eight logits.
    assert figures.mean_logit_difference == pytest.approx(1.1 / 8)


def test_the_widest_margin_is_of_the_texts_that_differ_only():
    ids, logits = np.array([0, 1, 1]), np.zeros((3, 2))
    figures = parity(ids, (ids, logits), (np.array([1, 0, 1]), logits), np.array([0.2, 0.3, 0.9]))
    assert figures.widest_margin_of_differing == 0.3
    assert parity(ids, (ids, logits), (ids, logits), np.array([0.2, 0.3, 0.9])).widest_margin_of_differing == 0.0


def test_texts_with_a_narrow_margin_count_as_agreeing_clearly():
    ids, logits = np.array([0, 1, 1, 0]), np.zeros((4, 2))
    figures = parity(ids, (ids, logits), (1 - ids, logits), np.array([0.0499, 0.05, 0.01, 0.9]))
    assert (figures.agreement, figures.clear_agreement) == (0.0, 0.5)


def test_figures_are_plain_numbers_for_json():
    ids, logits = np.array([0, 1], np.int64), np.zeros((2, 3), np.float32)
    figures = parity(ids, (ids, logits), (ids, logits), np.array([0.5, 0.5], np.float32))
    written = json.loads(json.dumps(figures.to_dict()))
    assert written == figures.to_dict()
    assert Parity.from_dict(written) == figures
    del written["clear_agreement"]
    assert Parity.from_dict(written).clear_agreement == 1.0
    written = figures.to_dict()
    assert set(written) == {field.name for field in dataclasses.fields(Parity)}


def test_the_margin_of_two_classes_is_measured_from_the_threshold():
    probabilities = np.array([[0.5, 0.5], [0.3, 0.7], [1.0, 0.0]])
    np.testing.assert_allclose(margins(probabilities), [0.0, 0.4, 1.0])
    np.testing.assert_allclose(margins(probabilities, 0.9), [0.8, 0.4, 1.8])


def test_the_margin_of_more_classes_is_between_the_best_two():
    probabilities = np.array([[0.2, 0.5, 0.3], [0.4, 0.2, 0.4], [0.05, 0.05, 0.9]])
    np.testing.assert_allclose(margins(probabilities), [0.2, 0.0, 0.85])
    # A threshold is a matter of two classes.
    np.testing.assert_allclose(margins(probabilities, 0.9), [0.2, 0.0, 0.85])


def test_with_a_threshold_of_a_half_both_ways_to_measure_agree():
    second = np.linspace(0, 1, 11)
    two = np.stack([1 - second, second], axis=1)
    three = np.concatenate([two, np.zeros((11, 1))], axis=1)
    np.testing.assert_allclose(margins(two), margins(three), atol=1e-12)


# --- the decision


def test_a_copy_that_answers_the_same_passes():
    assert parity_failures(SAME) == []


@pytest.mark.parametrize(("texts", "differing", "passes"), [
    (1000, 5, True), (1000, 6, False), (2000, 10, True), (2000, 11, False), (1001, 5, True), (1001, 6, False),
])  # fmt: skip
def test_from_a_thousand_texts_on_half_a_percent_may_differ_clearly(texts, differing, passes):
    share = 1 - differing / texts
    found = failures(texts=texts, agreement=share, clear_agreement=share, widest_margin_of_differing=1.0)
    assert (found == []) == passes
    if not passes:
        (message,) = found
        assert f"of {texts} texts with margins of at least 0.05; at most 0.5% is allowed" in message


@pytest.mark.parametrize(("texts", "differing", "passes"), [(1000, 10, True), (1000, 11, False), (2000, 21, False)])
def test_from_a_thousand_texts_on_one_percent_may_differ_in_all(texts, differing, passes):
    found = failures(texts=texts, agreement=1 - differing / texts, widest_margin_of_differing=0.04)
    assert (found == []) == passes
    if not passes:
        (message,) = found
        assert f"of {texts} texts; at least 99% is needed" in message


@pytest.mark.parametrize(("margin", "passes"), [(0.0, True), (0.0499, True), (0.05, False), (0.3, False)])
@pytest.mark.parametrize("texts", [1, 24, 999])
def test_with_fewer_texts_only_narrow_decisions_may_differ(texts, margin, passes):
    # However many of them.
    found = failures(texts=texts, agreement=0.5, widest_margin_of_differing=margin)
    assert (found == []) == passes
    if not passes:
        (message,) = found
        assert f"with margin {margin:.3f}; with {texts} texts, margins under 0.05 are allowed" in message


@pytest.mark.parametrize(
    ("texts", "lost", "passes"),
    [
        # Two texts, where that is more than .2 points: with a thousand texts both are the same …
        (24, 0, True), (24, 2, True), (24, 3, False), (999, 3, False), (1000, 2, True), (1000, 3, False),
        # … and .2 points where they are more.
        (1500, 3, True), (1500, 4, False), (2000, 4, True), (2000, 5, False), (10_000, 20, True), (10_000, 21, False),
        # A copy that is right more often is no worse.
        (24, -5, True), (2000, -100, True),
    ],
)  # fmt: skip
def test_accuracy_may_fall_by_two_texts_or_a_fifth_of_a_point(texts, lost, passes):
    right = texts * 3 // 4
    found = failures(texts=texts, accuracy_of_original=right / texts, accuracy_of_copy=(right - lost) / texts)
    assert (found == []) == passes
    if not passes:
        (message,) = found
        assert message.startswith("accuracy fell by ")
        assert f"on {texts} texts" in message


def test_every_failure_is_said():
    found = failures(agreement=0.5, clear_agreement=0.5, accuracy_of_copy=0.5)
    assert len(found) == 3
    found = failures(texts=10, widest_margin_of_differing=0.9, accuracy_of_copy=0.5)
    assert len(found) == 2


def test_logits_that_are_no_numbers_do_not_pass():
    """A copy that computes NaN decides for the first class, which may be right."""
    ids = np.zeros(10, np.int64)
    broken = np.full((10, 2), np.nan, np.float32)
    figures = parity(ids, (ids, np.zeros((10, 2))), (ids, broken), np.full(10, 0.9))
    assert parity_failures(figures) == ["logits are not finite numbers"]
