"""The rules of a cascade: which texts exit, and final logits worked out by hand."""

import math

import numpy as np
import pytest

from textclf.errors import ConfigError, InputError
from textclf.stats.calibration import softmax
from textclf.stats.cascade_rules import CascadeSettings, StageOutputs, exit_confidences, exits, final_logits

SETTINGS = CascadeSettings(linear_temperature=2.0, encoder_weight=0.75, linear_weight=0.5, exit_confidence=0.9)
NAN = math.nan


def answers(encoder, linear, temperature=4.0):
    return StageOutputs(np.array(encoder, np.float32), np.array(linear, np.float32), temperature)


def test_final_logits_by_hand():
    """Linear logits go from their temperature, 2, to the encoder's, 4."""
    both = answers([[NAN, NAN], [1.0, 3.0]], [[-3.0, 3.0], [2.0, 0.0]])
    found = final_logits(SETTINGS, both, np.array([True, False]))
    assert found.dtype == np.float32
    assert found.tolist() == [[-6.0, 6.0], [0.75 * 1 + 0.5 * 4, 0.75 * 3]]


def test_an_exit_has_the_linear_stage_calibrated_probabilities():
    linear = np.random.default_rng(0).normal(0, 3, (20, 3)).astype(np.float32)
    both = answers(np.full((20, 3), NAN), linear, temperature=0.7)
    found = softmax(final_logits(SETTINGS, both, np.ones(20, np.bool_)), 0.7)
    np.testing.assert_allclose(found, softmax(linear, 2.0), atol=1e-6)


def test_others_are_a_product_of_both_stages_probabilities():
    rng = np.random.default_rng(1)
    encoder, linear = (rng.normal(0, 3, (20, 3)).astype(np.float32) for _ in range(2))
    found = softmax(final_logits(SETTINGS, answers(encoder, linear, temperature=0.7), np.zeros(20, np.bool_)), 0.7)
    product = softmax(encoder, 0.7) ** 0.75 * softmax(linear, 2.0) ** 0.5
    np.testing.assert_allclose(found, product / product.sum(axis=1, keepdims=True), atol=1e-6)


def test_with_the_encoder_weighted_alone_its_logits_are_final():
    encoder = np.random.default_rng(2).normal(0, 3, (20, 2)).astype(np.float32)
    alone = CascadeSettings(1.7, 1.0, 0.0, None)
    both = answers(encoder, np.random.default_rng(3).normal(0, 3, (20, 2)), temperature=0.6)
    np.testing.assert_array_equal(final_logits(alone, both, exits(alone, both.linear_logits)), encoder)


def test_exits_are_sure():
    """Probability .9 at temperature 2 is a difference of 2 log 9 in logits."""
    edge = 2 * math.log(9)
    linear = np.array([[0, edge + 1e-4], [0, edge - 1e-4], [edge + 1e-4, 0], [0, 0]], np.float32)
    assert exits(SETTINGS, linear).tolist() == [True, False, True, False]
    confidences = exit_confidences(SETTINGS, linear)
    assert confidences[[0, 2]] == pytest.approx(0.9, abs=1e-4)
    assert confidences[3] == 0.5


def test_short_texts_are_the_encoders_alone():
    """However sure the linear stage is of them."""
    settings = CascadeSettings(2.0, 0.75, 0.5, 0.9, least_length=10)
    linear = np.array([[0, 50], [0, 50], [0, 1]], np.float32)
    encoder = np.array([[1, 0], [1, 0], [1, 0]], np.float32)
    lengths = np.array([9, 10, 9])
    assert exits(settings, linear, lengths).tolist() == [False, True, False]
    assert exits(settings, linear).tolist() == [True, True, False]
    both = StageOutputs(encoder, linear, 4.0, lengths)
    found = final_logits(settings, both, exits(settings, linear, lengths))
    assert found.tolist() == [[1, 0], [0, 100], [1, 0]]
    assert both.take(np.array([1, 2])).lengths.tolist() == [10, 9]
    with pytest.raises(InputError, match="2 lengths"):
        StageOutputs(encoder, linear, 4.0, lengths[:2])


def test_without_a_confidence_none_exits():
    never = CascadeSettings(2.0, 1.0, 0.5, None)
    assert not exits(never, np.array([[0, 1e6]], np.float32)).any()


def test_no_texts():
    nothing = np.empty((0, 2), np.float32)
    assert exits(SETTINGS, nothing).shape == (0,)
    assert final_logits(SETTINGS, answers(nothing, nothing), np.empty(0, np.bool_)).shape == (0, 2)


def test_taking_some_of_the_texts():
    both = answers([[1, 2], [3, 4], [5, 6]], [[7, 8], [9, 10], [11, 12]])
    assert len(both) == 3
    for rows in (np.array([True, False, True]), np.array([0, 2])):
        some = both.take(rows)
        assert some.encoder_logits.tolist() == [[1, 2], [5, 6]]
        assert some.linear_logits.tolist() == [[7, 8], [11, 12]]
        assert some.encoder_temperature == 4.0


@pytest.mark.parametrize(("encoder", "linear"), [([[1, 2]], [[1, 2], [3, 4]]), ([[1, 2]], [[1, 2, 3]])])
def test_answers_to_other_texts_are_refused(encoder, linear):
    with pytest.raises(InputError, match="the same texts, got shapes"):
        answers(encoder, linear)


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"linear_temperature": 0.0}, "linear_temperature"),
        ({"linear_temperature": NAN}, "linear_temperature"),
        ({"linear_temperature": True}, "linear_temperature"),
        ({"linear_temperature": "1"}, "linear_temperature"),
        ({"encoder_weight": -0.1}, "encoder_weight"),
        ({"linear_weight": math.inf}, "linear_weight"),
        ({"linear_weight": None}, "linear_weight"),
        ({"linear_weight": 1e308}, "linear_weight"),
        ({"encoder_weight": 101}, "encoder_weight"),
        ({"linear_temperature": 1e-9}, "linear_temperature"),
        ({"least_length": -1}, "least_length"),
        ({"least_length": 1.5}, "least_length"),
        ({"encoder_weight": 0.0, "linear_weight": 0.0}, "encoder_weight"),
        ({"exit_confidence": 0.0}, "exit_confidence"),
        ({"exit_confidence": 1.01}, "exit_confidence"),
        ({"exit_confidence": "0.9"}, "exit_confidence"),
    ],
)
def test_settings_that_make_no_sense_are_refused(changes, name):
    with pytest.raises(ConfigError, match=f"{name}: expected"):
        CascadeSettings(**(SETTINGS.to_dict() | changes))


def test_settings_through_json_and_with_unknown_keys():
    assert CascadeSettings.from_dict(SETTINGS.to_dict()) == SETTINGS
    with pytest.raises(ConfigError, match="exit_share"):
        CascadeSettings.from_dict(SETTINGS.to_dict() | {"exit_share": 0.5})
