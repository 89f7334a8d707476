"""When monitoring may retrain by itself, and which windows call for it."""

import dataclasses

import pytest

from textclf.drift.state import DRIFT, NO_DRIFT, DriftState, RetrainTry, Window
from textclf.errors import ConfigError
from textclf.monitoring.retrain_policy import RetrainPolicy, WindowRule, why_not_retrain
from textclf.retrain_outcome import RetrainOutcome

HOUR = 3600.0
POLICY = RetrainPolicy(min_new_labels=200, cool_down=24 * HOUR)
TRIED = DriftState(last_retrain=RetrainTry(1e9, RetrainOutcome.REJECTED, "a", 500))


def test_the_first_needs_labels_only():
    assert why_not_retrain(DriftState(), "a", 200, 1e9, POLICY) is None
    assert "199" in why_not_retrain(DriftState(), "a", 199, 1e9, POLICY)


def test_the_cool_down_counts_from_the_start_of_the_last():
    later = 1e9 + 24 * HOUR
    assert why_not_retrain(TRIED, "b", 700, later, POLICY) is None
    why = why_not_retrain(TRIED, "b", 700, later - HOUR, POLICY)
    assert "23.0 h ago" in why
    assert "1.0 h" in why
    # A clock that was set back must not stop retraining for ever.
    assert why_not_retrain(TRIED, "b", 700, 1e9 - HOUR, POLICY) is None


def test_the_labels_must_have_changed():
    assert "not changed" in why_not_retrain(TRIED, "a", 500, 2e9, POLICY)


def test_only_new_labels_count():
    assert "199" in why_not_retrain(TRIED, "b", 699, 2e9, POLICY)
    assert "there are 0 " in why_not_retrain(TRIED, "b", 300, 2e9, POLICY)
    assert why_not_retrain(TRIED, "b", 700, 2e9, POLICY) is None


def test_too_few_labels_to_decide_start_no_retraining():
    policy = dataclasses.replace(POLICY, min_labels=500)
    why = why_not_retrain(DriftState(), "a", 499, 1e9, policy)
    assert why == "there are 499 labelled texts, and it takes about 500 to decide about a model"
    assert why_not_retrain(DriftState(), "a", 500, 1e9, policy) is None
    assert "199" in why_not_retrain(DriftState(), "a", 199, 1e9, policy)


def test_a_failure_does_not_use_up_the_labels_but_is_followed_by_the_cool_down():
    first = DriftState(last_retrain=RetrainTry(1e9, RetrainOutcome.FAILED))
    assert why_not_retrain(first, "a", 200, 1e9 + HOUR, POLICY) is not None
    assert why_not_retrain(first, "a", 200, 2e9, POLICY) is None
    second = DriftState(last_retrain=dataclasses.replace(TRIED.last_retrain, outcome=RetrainOutcome.FAILED))
    assert why_not_retrain(second, "b", 700, 2e9, POLICY) is None
    assert why_not_retrain(second, "a", 500, 2e9, POLICY) is not None


@pytest.mark.parametrize("text", ["2of3", "1of1", "2 of 3", "100of100"])
def test_a_rule_is_read(text):
    assert str(WindowRule.parse(text)) == text.replace(" ", "")


@pytest.mark.parametrize("text", ["", "2", "2/3", "3of2", "0of2", "-1of2", "2of101", "twoof3", "2of3of4", "²of3"])
def test_what_is_no_rule_is_refused(text):
    with pytest.raises(ConfigError, match="such as 2of3"):
        WindowRule.parse(text)


def windows(verdicts: str, version: str = "v") -> list[Window]:
    return [
        Window(at, at + 1, version, DRIFT if verdict == "D" else NO_DRIFT, 500) for at, verdict in enumerate(verdicts)
    ]


@pytest.mark.parametrize(("verdicts", "count"), [("", 0), ("D", 1), ("DND", 2), ("DDNN", 1), ("DDD", 3), ("DDDDN", 2)])
def test_only_the_last_windows_count(verdicts, count):
    assert WindowRule(2, 3).alarms(windows(verdicts), "v") == count


def test_windows_of_another_version_do_not_count():
    assert WindowRule(2, 3).alarms([*windows("DD", "v1"), *windows("D", "v2")], "v2") == 1


@pytest.mark.parametrize("values", [{"min_new_labels": 0}, {"cool_down": -1.0}, {"min_new_labels": 2.5}])
def test_a_policy_that_makes_no_sense_is_refused(values):
    with pytest.raises(ConfigError):
        RetrainPolicy(**values)
