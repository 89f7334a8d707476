"""What labels say: error rates, CUSUM, the estimated class prior and the estimated accuracy."""

import numpy as np
import pytest
from drift_samples import changed, texts
from scipy.stats import binom, fisher_exact

from textclf.errors import InputError
from textclf.stats.calibration import softmax
from textclf.stats.drift_tests.error_rate_drift import AuditEvidence, cusum, error_rate_test, label_counts
from textclf.stats.drift_tests.estimated_accuracy import estimated_accuracy
from textclf.stats.drift_tests.label_shift import bbse_prior


def evidence(is_wrong: list[int], is_audit: list[int], times: list[float] | None = None) -> AuditEvidence:
    n = len(is_wrong)
    return AuditEvidence(
        labels=np.array(is_wrong, np.int64),
        predicted=np.zeros(n, np.int64),
        times=np.arange(n, dtype=float) if times is None else np.array(times, float),
        is_audit=np.array(is_audit, bool),
        held_out_errors=80,
        held_out_texts=1000,
    )


class TestEvidence:
    def test_only_audits_are_tested_and_in_the_order_of_time(self):
        found = evidence([1, 0, 1, 1], [1, 1, 0, 1], times=[3.0, 1.0, 0.0, 2.0]).audited_errors()
        assert found.tolist() == [False, True, True]

    def test_counts_are_kept_apart(self):
        found = label_counts(evidence([1, 0, 1, 1, 0], [1, 1, 0, 0, 0]))
        assert (found.audit_texts, found.audit_errors, found.other_texts, found.other_errors) == (2, 1, 3, 2)
        # Wilson's interval of 1 of 2: (.5 + z^2 / 4 -+ z sqrt(1/8 + z^2 / 16)) / (1 + z^2 / 2), z = 1.96.
        assert found.audit_interval == pytest.approx((0.0945, 0.9055), abs=1e-4)

    def test_without_audits_there_is_no_interval(self):
        assert label_counts(evidence([1], [0])).audit_interval is None

    @pytest.mark.parametrize(
        "change",
        [
            {"labels": np.zeros(3, np.int64)},
            {"is_audit": np.zeros(2, np.int64)},
            {"times": np.array([0.0, np.nan])},
            {"held_out_errors": 1001},
            {"held_out_texts": 0, "held_out_errors": 0},
        ],
    )
    def test_what_does_not_fit_is_refused(self, change):
        with pytest.raises(InputError, match="expected"):
            changed(evidence([0, 1], [1, 1]), **change)


class TestErrorRate:
    def test_is_fishers(self):
        is_wrong = np.arange(120) < 17
        found = error_rate_test(is_wrong, 80, 1000)
        assert found.p == pytest.approx(fisher_exact([[17, 103], [80, 920]], alternative="greater").pvalue)
        assert found.rise == pytest.approx(17 / 120 - 0.08)

    def test_fewer_errors_are_no_drift(self):
        assert error_rate_test(np.zeros(200, bool), 80, 1000).p == 1


class TestCusum:
    def test_is_pages_sum(self):
        is_wrong = np.random.default_rng(1).random(400) < np.where(np.arange(400) < 250, 0.08, 0.3)
        found = cusum(is_wrong, 80, 1000, 0.1, 999, np.random.default_rng(2))
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

    def test_sees_late_errors_that_the_rate_of_all_hides(self):
        is_wrong = np.concatenate([np.zeros(500, bool), np.tile([True, False], 15)])
        assert error_rate_test(is_wrong, 40, 1000).p > 0.5
        assert cusum(is_wrong, 40, 1000, 0.1, 999, np.random.default_rng(3)).p == 1 / 1000

    @pytest.mark.statistics
    @pytest.mark.parametrize(("held_out", "audits", "rate"), [(200, 50, 0.08), (1000, 300, 0.03)])
    def test_keeps_its_level_though_the_rate_is_only_estimated(self, held_out, audits, rate):
        rng = np.random.default_rng(4)
        runs = 400
        p_values = np.array(
            [
                cusum(rng.random(audits) < rate, int(rng.binomial(held_out, rate)), held_out, 0.1, 199, rng).p
                for _ in range(runs)
            ]
        )
        for alpha in (0.05, 0.2):
            assert np.sum(p_values <= alpha) <= binom.ppf(0.999, runs, alpha)

    @pytest.mark.parametrize("errors", [0, 100])
    def test_a_model_that_was_never_or_always_wrong(self, errors):
        rng = np.random.default_rng(5)
        assert cusum(np.full(50, errors > 0), errors, 100, 0.5, 99, rng).p > 0.1

    def test_no_error_at_all(self):
        found = cusum(np.zeros(60, bool), 5, 100, 0.1, 99, np.random.default_rng(6))
        assert (found.height, found.p, found.start) == (0, 1, 0)


class TestPrior:
    @staticmethod
    def predictions(counts: list[list[int]]) -> tuple[np.ndarray, np.ndarray]:
        """Labels and predictions with so many texts of label (row) and prediction (column)."""
        table = np.array(counts)
        labels, predicted = np.indices(table.shape).reshape(2, -1)
        return np.repeat(labels, table.ravel()), np.repeat(predicted, table.ravel())

    def test_recovers_a_prior_that_moved(self):
        labels, predicted = self.predictions([[90, 10], [20, 80]])
        # 30 % of class 0: predicted as 0 are .3 x .9 + .7 x .2 = 41 %.
        found = bbse_prior(labels, predicted, np.repeat([0, 1], [41, 59]), 2)
        assert found.reference == (0.5, 0.5)
        assert found.latest == pytest.approx((0.3, 0.7))

    def test_what_falls_below_zero_is_none(self):
        labels, predicted = self.predictions([[90, 10], [20, 80]])
        assert bbse_prior(labels, predicted, np.ones(50, np.int64), 2).latest == pytest.approx((0, 1))

    def test_a_class_without_labels_is_left_at_zero(self):
        labels, predicted = self.predictions([[90, 10], [20, 80]])
        found = bbse_prior(labels, predicted, np.repeat([0, 1], [41, 59]), 3)
        assert found.latest == pytest.approx((0.3, 0.7, 0))

    def test_a_model_that_only_guesses_tells_nothing(self):
        labels, predicted = self.predictions([[52, 48], [48, 52]])
        assert bbse_prior(labels, predicted, np.repeat([0, 1], [41, 59]), 2).latest is None

    def test_only_predictions_of_unknown_classes_tell_nothing(self):
        labels, predicted = self.predictions([[90, 10], [20, 80]])
        assert bbse_prior(labels, predicted, np.full(30, 2), 3).latest is None

    @pytest.mark.parametrize(
        ("labels", "predicted", "latest"),
        [([0], [0, 1], [0]), ([], [], [0]), ([0], [0], []), ([0], [2], [0]), ([0], [-1], [0])],
    )
    def test_what_makes_no_sense_is_refused(self, labels, predicted, latest):
        with pytest.raises(InputError, match="expected"):
            bbse_prior(*(np.array(ids, np.int64) for ids in (labels, predicted, latest)), 2)


class TestEstimatedAccuracy:
    def test_is_right_where_the_confidence_is(self):
        rng = np.random.default_rng(7)
        reference, latest = texts(4000, rng, classes=3), texts(4000, rng, classes=3, topic=0.5)
        latest = changed(latest, logits=latest.logits / 2)
        labels, latest_labels = (
            (softmax(sample.logits, 1.5).cumsum(axis=1) < rng.random((4000, 1))).sum(axis=1)
            for sample in (reference, latest)
        )
        found = estimated_accuracy(reference, labels, latest, temperature=1.5)
        # Standard errors of .8 points.
        assert found.estimate == pytest.approx(np.mean(latest.predicted == latest_labels), abs=0.03)
        assert found.reference_estimate == pytest.approx(found.reference_accuracy, abs=0.03)
        assert found.estimate < found.reference_estimate - 0.05
        assert "not a measurement" in found.caveat

    def test_its_bias_on_the_reference_is_shown(self):
        reference = changed(texts(100, np.random.default_rng(8)), logits=np.tile([[20.0, 0.0]], (100, 1)))
        reference = changed(reference, predicted=np.zeros(100, np.int64))
        found = estimated_accuracy(reference, np.arange(100) % 2, reference, temperature=1.0)
        assert (found.reference_estimate, found.reference_accuracy) == pytest.approx((1.0, 0.5))

    def test_the_class_that_was_predicted_counts(self):
        """With a threshold other than .5 it need not be the most probable one."""
        sample = changed(
            texts(10, np.random.default_rng(9)),
            logits=np.tile(np.log([[0.7, 0.3]]), (10, 1)),
            predicted=np.ones(10, np.int64),
        )
        assert estimated_accuracy(sample, np.ones(10, int), sample, 1.0).estimate == pytest.approx(0.3)

    def test_an_empty_sample_is_refused(self):
        sample = texts(10, np.random.default_rng(9))
        with pytest.raises(InputError, match="expected texts"):
            estimated_accuracy(sample, np.zeros(10, int), sample.take(np.arange(0)), 1.0)
        with pytest.raises(InputError, match="a label for each"):
            estimated_accuracy(sample, np.zeros(9, int), sample, 1.0)
