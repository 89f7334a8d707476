"""The CUSUM of audited errors, in one window and over many."""

import numpy as np
import pytest
from scipy.stats import binom

from textclf.drift.audit_run import AuditRun
from textclf.stats.drift_tests.error_cusum import MAX_RUN_AUDITS, cusum
from textclf.stats.drift_tests.error_rate_drift import error_rate_test

START = AuditRun(80, 1000, 0.1)


def test_is_pages_sum():
    is_wrong = np.random.default_rng(1).random(400) < np.where(np.arange(400) < 250, 0.08, 0.3)
    found = cusum(is_wrong, AuditRun(80, 1000, 0.1), 999, np.random.default_rng(2))
    rate = 80.5 / 1001
    height, highest = 0.0, 0.0
    for wrong in is_wrong:
        step = np.log((rate + 0.1) / rate) if wrong else np.log((1 - rate - 0.1) / (1 - rate))
        height = max(0.0, height + step)
        highest = max(highest, height)
    assert found.height == pytest.approx(highest)
    assert found.p == 1 / 1000
    assert abs(found.start - 250) < 20
    assert found.rise == pytest.approx(0.22, abs=0.08)


def test_sees_late_errors_that_the_rate_of_all_hides():
    is_wrong = np.concatenate([np.zeros(500, bool), np.tile([True, False], 15)])
    assert error_rate_test(is_wrong, 40, 1000).p > 0.5
    assert cusum(is_wrong, AuditRun(40, 1000, 0.1), 999, np.random.default_rng(3)).p == 1 / 1000


@pytest.mark.statistics
@pytest.mark.parametrize(("held_out", "audits", "rate"), [(200, 50, 0.08), (1000, 300, 0.03)])
def test_keeps_its_level_though_the_rate_is_only_estimated(held_out, audits, rate):
    rng = np.random.default_rng(4)
    runs = 400
    p_values = np.array(
        [
            cusum(rng.random(audits) < rate, AuditRun(int(rng.binomial(held_out, rate)), held_out, 0.1), 199, rng).p
            for _ in range(runs)
        ]
    )
    for alpha in (0.05, 0.2):
        assert np.sum(p_values <= alpha) <= binom.ppf(0.999, runs, alpha)


@pytest.mark.parametrize("errors", [0, 100])
def test_a_model_that_was_never_or_always_wrong(errors):
    rng = np.random.default_rng(5)
    assert cusum(np.full(50, errors > 0), AuditRun(errors, 100, 0.5), 99, rng).p > 0.1


def test_no_error_at_all():
    found = cusum(np.zeros(60, bool), AuditRun(5, 100, 0.1), 99, np.random.default_rng(6))
    assert (found.height, found.p, found.start) == (0, 1, 0)


def over_windows(is_wrong: np.ndarray, audits: int, run: AuditRun = START) -> list:
    """Results of consecutive windows of `audits` audits."""
    found = []
    for begin in range(0, len(is_wrong), audits):
        found.append(cusum(is_wrong[begin : begin + audits], run, 199, np.random.default_rng(7)))
        run = found[-1].run
    return found


def test_windows_add_up_to_the_sum_of_all_audits():
    is_wrong = np.random.default_rng(8).random(700) < 0.1
    rate = 80.5 / 1001
    height = 0.0
    for at, wrong in enumerate(is_wrong, 1):
        step = np.log((rate + 0.1) / rate) if wrong else np.log((1 - rate - 0.1) / (1 - rate))
        height = max(0.0, height + step)
        if at % 70 == 0:
            run = over_windows(is_wrong[:at], 70)[-1].run
            assert run.height == pytest.approx(height, abs=1e-9)
            assert run.audits == at


def test_a_rise_too_slow_for_one_window_is_found_in_several():
    # 16% errors instead of 8%, evenly spread: no window of 50 is unusual.
    is_wrong = np.arange(600) % 25 % 6 == 0
    alone = [cusum(is_wrong[at : at + 50], START, 999, np.random.default_rng(9)).p for at in range(0, 600, 50)]
    found = over_windows(is_wrong, 50)
    assert min(alone) > 0.02
    assert found[-1].p == 1 / 200
    assert found[-1].start < 0
    assert found[-1].rise == pytest.approx(is_wrong.mean() - 80.5 / 1001, abs=0.02)


def test_evidence_is_used_up_by_right_answers():
    """After a rise has ended, the alarm ends within two windows, however long the rise lasted."""
    for audits in (400, 4000):
        is_wrong = np.concatenate([np.arange(audits) % 4 == 0, np.arange(200) % 12 == 0])
        found = over_windows(is_wrong, 100)
        assert found[-3].p == 1 / 200
        assert found[-1].p > 0.01


def test_one_burst_is_one_alarm():
    is_wrong = np.concatenate([np.ones(8, bool), np.arange(92) % 12 == 0, np.arange(100) % 12 == 0])
    first, second = over_windows(is_wrong, 100)
    assert first.p == 1 / 200
    assert second.p > 0.05


def test_a_run_is_bounded():
    quiet, errors = np.zeros(50, bool), np.ones(50, bool)
    long = AuditRun(80, 1000, 0.1, audits=MAX_RUN_AUDITS)
    assert cusum(quiet, long, 99, np.random.default_rng(1)).run == START
    assert cusum(errors, long, 99, np.random.default_rng(1)).run.audits == MAX_RUN_AUDITS + 50
    longest = AuditRun(80, 1000, 0.1, audits=2 * MAX_RUN_AUDITS - 50)
    assert cusum(errors, longest, 99, np.random.default_rng(1)).run == START


@pytest.mark.statistics
@pytest.mark.parametrize(("errors", "held_out"), [(80, 1000), (24, 300)])
def test_every_window_of_a_run_keeps_the_level(errors, held_out):
    """The chance of a small p without a change is the same in the first window and in later ones."""
    windows, audits, runs, alpha = 12, 60, 300, 0.04
    rng = np.random.default_rng(10)
    alarms = np.zeros(windows, int)
    for rate in rng.beta(errors + 0.5, held_out - errors + 0.5, size=runs):
        run = AuditRun(errors, held_out, 0.1)
        for at in range(windows):
            found = cusum(rng.random(audits) < rate, run, 199, rng)
            run = found.run
            alarms[at] += found.p <= alpha
    assert alarms.max() <= binom.ppf(0.9999, runs, alpha)
    assert 0.7 * alpha * runs * windows <= alarms.sum() <= 1.3 * alpha * runs * windows


@pytest.mark.statistics
@pytest.mark.parametrize(("errors", "held_out", "min_found"), [(80, 1000, 32), (24, 300, 22)])
def test_a_rise_of_8_points_is_found_after_quiet_windows(errors, held_out, min_found):
    """The quiet audits teach the rate in control, so that a small reference does not hide the rise.

    Without them, a reference of 300 texts finds it in about 16 of 40 series.
    """
    rng = np.random.default_rng(11)
    found = 0
    for _ in range(40):
        is_wrong = rng.random((16, 50)) < np.repeat([0.08, 0.16], [6, 10])[:, None]
        run, p_values = AuditRun(errors, held_out, 0.1), []
        for window in is_wrong:
            result = cusum(window, run, 1999, rng)
            run = result.run
            p_values.append(result.p)
        found += min(p_values[6:]) < 0.001
    assert found >= min_found
