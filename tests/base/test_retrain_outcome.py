"""Outcomes of a retraining: exit statuses, actions of the decision log, values on disk."""

import json

import pytest

from textclf.retrain_outcome import RetrainOutcome

STATUSES = {"promoted": 0, "failed": 1, "rejected": 3, "inconclusive": 4, "busy": 5, "held": 6, "nothing": 7}


def test_exit_statuses_are_fixed():
    assert {outcome: outcome.exit_status for outcome in RetrainOutcome} == STATUSES


@pytest.mark.parametrize(("name", "status"), STATUSES.items())
def test_exit_status_gives_the_outcome(name, status):
    assert RetrainOutcome.of_exit_status(status) is RetrainOutcome(name)


@pytest.mark.parametrize("status", [2, 8, 137, -9])
def test_unknown_exit_status_is_a_failure(status):
    assert RetrainOutcome.of_exit_status(status) is RetrainOutcome.FAILED


def test_actions_of_the_decision_log():
    actions = ("promote", "reject", "inconclusive", "held", "overtaken")
    expected = ["promoted", "rejected", "inconclusive", "held", "held"]
    assert [RetrainOutcome.of_action(action) for action in actions] == expected


def test_outcome_is_its_value_in_json():
    assert json.dumps({"outcome": RetrainOutcome.HELD}) == '{"outcome": "held"}'
