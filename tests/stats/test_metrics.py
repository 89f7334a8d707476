"""classification_metrics against values worked out by hand."""

import json
import math

import numpy as np
import pytest

from textclf.config import SELECTION_METRICS
from textclf.errors import ConfigError, InputError
from textclf.stats.metrics import Metrics, classification_metrics, is_better, selection_value

# Predicted: neg neg pos pos pos neg; true: neg neg neg pos pos pos.
BINARY = ((0.9, 0.1), (0.6, 0.4), (0.3, 0.7), (0.2, 0.8), (0.05, 0.95), (0.7, 0.3))
BINARY_LABELS = (0, 0, 0, 1, 1, 1)


@pytest.fixture
def binary() -> Metrics:
    return classification_metrics(BINARY, BINARY_LABELS, ["neg", "pos"])


class TestTwoClasses:
    def test_counts(self, binary):
        assert binary.n == 6
        assert binary.accuracy == pytest.approx(4 / 6)
        assert binary.confusion_matrix == [[2, 1], [1, 2]]

    def test_each_class(self, binary):
        for name in ("neg", "pos"):
            assert binary.per_class[name] == pytest.approx(
                {"precision": 2 / 3, "recall": 2 / 3, "f1": 2 / 3, "support": 3}
            )
        assert binary.macro_f1 == pytest.approx(2 / 3)

    def test_roc_auc_counts_the_pairs_in_order(self, binary):
        # P(pos) of pos: .8 .95 .3; of neg: .1 .4 .7. Of nine pairs 3 + 3 + 1 are in order.
        assert binary.roc_auc == pytest.approx(7 / 9)

    def test_log_loss(self, binary):
        expected = -np.mean(np.log([0.9, 0.6, 0.3, 0.8, 0.95, 0.3]))
        assert binary.log_loss == pytest.approx(expected, abs=1e-12)

    def test_expected_calibration_error(self, binary):
        # Fifteenths: .9 in the 14th bin, .6 in the 9th, .7 twice in the 11th, .8 in the 12th, .95 in the 15th.
        gaps = [abs(1 - 0.9), abs(1 - 0.6), 2 * abs(0 - 0.7), abs(1 - 0.8), abs(1 - 0.95)]
        assert binary.expected_calibration_error == pytest.approx(sum(gaps) / 6, abs=1e-12)

    def test_a_certain_mistake_has_a_finite_log_loss(self):
        metrics = classification_metrics([[1.0, 0.0], [0.0, 1.0]], [1, 1], ["neg", "pos"])
        assert 10 < metrics.log_loss < 40

    @pytest.mark.parametrize("precision", [np.float16, np.float32])
    def test_low_precision_does_not_warn(self, precision):
        rng = np.random.default_rng(0)
        p = rng.random(1000).astype(precision)
        classification_metrics(np.stack([1 - p, p], axis=1), rng.integers(0, 2, 1000), ["neg", "pos"])


class TestUndefined:
    def test_labels_without_one_of_two_classes(self):
        metrics = classification_metrics([[0.9, 0.1], [0.2, 0.8]], [1, 1], ["neg", "pos"])
        assert metrics.roc_auc is None
        # "neg" was predicted once, wrongly: its precision is 0, and there was nothing to recall.
        assert metrics.per_class["neg"] == {"precision": 0.0, "recall": None, "f1": 0.0, "support": 0}
        assert metrics.per_class["pos"] == {"precision": 1.0, "recall": 0.5, "f1": pytest.approx(2 / 3), "support": 2}
        assert metrics.macro_f1 == pytest.approx(1 / 3)

    def test_a_class_neither_true_nor_predicted_does_not_count_in_macro_f1(self):
        metrics = classification_metrics([[0.9, 0.1, 0.0], [0.2, 0.8, 0.0]], [0, 1], ["a", "b", "c"])
        assert metrics.per_class["c"] == {"precision": None, "recall": None, "f1": None, "support": 0}
        assert metrics.macro_f1 == 1.0
        assert metrics.roc_auc is None

    def test_a_class_never_predicted_has_f1_zero(self):
        metrics = classification_metrics([[0.9, 0.1], [0.8, 0.2]], [0, 1], ["neg", "pos"])
        assert metrics.per_class["pos"] == {"precision": None, "recall": 0.0, "f1": 0.0, "support": 1}

    def test_json_is_strict_and_gives_the_same_back(self):
        for labels in (BINARY_LABELS, (1,) * 6):
            metrics = classification_metrics(BINARY, labels, ["neg", "pos"])
            text = json.dumps(metrics.to_dict(), allow_nan=False)
            assert Metrics.from_dict(json.loads(text)) == metrics


class TestMoreClasses:
    def test_golden_values(self):
        probabilities = [[0.8, 0.1, 0.1], [0.3, 0.6, 0.1], [0.2, 0.3, 0.5], [0.5, 0.2, 0.3]]
        metrics = classification_metrics(probabilities, [0, 1, 2, 2], ["a", "b", "c"])
        assert metrics.confusion_matrix == [[1, 0, 0], [0, 1, 0], [1, 0, 1]]
        assert metrics.accuracy == 0.75
        assert metrics.macro_f1 == pytest.approx((2 / 3 + 1 + 2 / 3) / 3)
        # One against the rest, every column orders its class first.
        assert metrics.roc_auc == pytest.approx(1.0)

    def test_roc_auc_is_the_mean_of_each_class_against_the_rest(self):
        probabilities = [[0.5, 0.3, 0.2], [0.6, 0.3, 0.1], [0.1, 0.2, 0.7], [0.2, 0.3, 0.5]]
        metrics = classification_metrics(probabilities, [0, 1, 2, 1], ["a", "b", "c"])
        # a: .5 against .6 .1 .2: 2 of 3. b: .3 .3 against .3 .2: ties count half, 3 of 4. c: .7 above all.
        assert metrics.roc_auc == pytest.approx((2 / 3 + 3 / 4 + 1) / 3)

    def test_151_classes_of_which_some_have_no_text(self):
        rng = np.random.default_rng(0)
        probabilities = rng.dirichlet(np.ones(151), size=300).astype(np.float32)
        metrics = classification_metrics(probabilities, rng.integers(0, 100, 300), [f"c{k}" for k in range(151)])
        assert sum(figures["support"] for figures in metrics.per_class.values()) == 300
        assert np.sum(metrics.confusion_matrix) == 300
        assert math.isfinite(metrics.log_loss)


class TestRefused:
    @pytest.mark.parametrize("names", [["neg"], ["a", "b", "c"], ["neg", "neg"]])
    def test_class_names_that_do_not_fit(self, names):
        with pytest.raises(InputError, match="2 different class names"):
            classification_metrics(BINARY, BINARY_LABELS, names)

    def test_no_text(self):
        with pytest.raises(InputError, match="with a text"):
            classification_metrics(np.empty((0, 2)), [], ["neg", "pos"])

    def test_logits_instead_of_probabilities(self):
        with pytest.raises(InputError, match="probabilities in"):
            classification_metrics([[3.0, -1.0]], [0], ["neg", "pos"])

    @pytest.mark.parametrize("change", [{"f1": 1.0}, {"n": ...}])
    def test_an_unknown_or_missing_key(self, binary, change):
        values = binary.to_dict() | change
        values = {key: value for key, value in values.items() if value is not ...}
        with pytest.raises(InputError, match=next(iter(change))):
            Metrics.from_dict(values)


class TestSelection:
    def test_every_selection_metric_has_a_value(self, binary):
        assert {name: selection_value(binary, name) for name in SELECTION_METRICS} == {
            "accuracy": binary.accuracy,
            "macro_f1": binary.macro_f1,
            "roc_auc": binary.roc_auc,
            "log_loss": binary.log_loss,
        }

    @pytest.mark.parametrize(
        ("name", "value", "than", "expected"),
        [
            ("accuracy", 0.9, 0.8, True),
            ("accuracy", 0.8, 0.8, False),
            ("log_loss", 0.2, 0.3, True),
            ("log_loss", 0.4, 0.3, False),
            ("roc_auc", 0.1, None, True),
            ("roc_auc", None, 0.1, False),
            ("roc_auc", None, None, False),
        ],
    )
    def test_is_better(self, name, value, than, expected):
        assert is_better(name, value, than) is expected

    def test_an_unknown_metric_is_refused(self, binary):
        with pytest.raises(ConfigError, match="expected one of accuracy"):
            selection_value(binary, "n")
        with pytest.raises(ConfigError, match="expected one of accuracy"):
            is_better("n", 1, 2)
