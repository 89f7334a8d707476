"""Simulated decisions: the old rules were wrong often, the new ones are wrong rarely, on the same draws."""

import pytest

from bench.hardening import statistics_gate as simulated


def test_the_smallest_test_set_is_that_of_the_exact_decision():
    found = simulated.smallest_test_set()
    assert found["after"] == found["by the exact decision"]
    assert found["after"]["one gain and no loss"] <= 200 < found["before"]["one gain and no loss"]


@pytest.mark.statistics
def test_equal_calibration_is_rarely_rejected_and_a_wrong_temperature_is():
    found = simulated.calibration(200)
    equal = [f"{texts} texts, temperature 1" for texts in (500, 2000)]
    assert found["before"][equal[0]] > 0.05
    assert all(found["after"][name] <= 0.02 for name in equal)
    assert all(rate >= 0.9 for name, rate in found["after"].items() if name not in equal)


@pytest.mark.statistics
def test_several_tests_of_equal_models_keep_the_level():
    found = simulated.whole_gate(200)
    assert found["after"]["equal models rejected"] <= min(0.05, found["before"]["equal models rejected"])


def test_nothing_is_trained_that_can_not_be_decided():
    found = simulated.wasted_trainings(100)
    assert found["before"]["trainings without a decision"] >= 1.5
    assert found["after"]["trainings without a decision"] == 0


@pytest.mark.statistics
def test_small_losses_do_not_add_up():
    found = simulated.retrainings(100)
    assert found["before"]["all ten promoted"] > 0.9
    assert found["after"]["all ten promoted"] == found["after"]["lost more than 4 points"] == 0
    assert found["after"]["mean loss"] < 0.015
    assert found["after"]["a better one promoted"] > 0.95


@pytest.mark.statistics
def test_the_cascade_keeps_the_macro_f1_that_the_training_selected():
    found = simulated.cascade(1)
    assert found["before"]["macro F1 lost"] > 0.002
    assert found["after"]["macro F1 lost"] <= 0.001
