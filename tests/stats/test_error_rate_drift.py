"""What labels say: error rates and the estimated accuracy."""

import numpy as np
import pytest
from drift_samples import changed, texts
from scipy.stats import fisher_exact

from textclf.drift.audit_run import AuditRun
from textclf.errors import InputError
from textclf.stats.calibration import softmax
from textclf.stats.drift_tests.error_rate_drift import AuditEvidence, error_rate_test, label_counts
from textclf.stats.drift_tests.estimated_accuracy import estimated_accuracy


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

    def test_a_label_that_is_not_a_class_is_an_error(self):
        found = changed(evidence([0, 0, 1, 0], [1, 1, 1, 0]), labels=np.array([-2, 0, 1, -2], np.int64))
        assert found.audited_errors().tolist() == [True, False, True]
        counts = label_counts(found)
        assert (counts.audit_texts, counts.audit_errors, counts.audit_unknown) == (3, 2, 1)
        assert (counts.other_texts, counts.other_errors, counts.other_unknown) == (1, 1, 1)

    def test_a_run_continues_only_with_the_same_reference_and_shift(self):
        earlier = AuditRun(80, 1000, 0.1, audits=60, errors=5, height=1.0, risen_audits=5, risen_errors=2)
        continued = changed(evidence([0], [1]), earlier=earlier)
        assert continued.run(0.1) == earlier
        assert continued.run(0.2) == AuditRun(80, 1000, 0.2)
        assert changed(continued, held_out_errors=81).run(0.1) == AuditRun(81, 1000, 0.1)

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
