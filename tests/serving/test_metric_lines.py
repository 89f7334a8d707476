"""Lines of metrics, read with the regular expressions that SageMaker gets."""

import math
import re

import pytest

from serving.sagemaker.metric_lines import epoch_line, final_line, metric_definitions
from textclf.stats.metrics import classification_metrics


def found(*lines: str) -> dict[str, list[float]]:
    """Name to values, as SageMaker reads them from a log."""
    log = "\n".join(lines)
    values = {item["Name"]: [float(value) for value in re.findall(item["Regex"], log)] for item in metric_definitions()}
    return {name: numbers for name, numbers in values.items() if numbers}


def test_each_metric_has_a_value_per_epoch():
    history = {"loss": 0.5, "val_loss": 1e-05, "val_accuracy": 1.0, "val_macro_f1": 0.25, "learning_rate": 3e-5}
    assert found(epoch_line(1, history), epoch_line(2, {**history, "loss": 0.125})) == {
        "train_loss": [0.5, 0.125],
        "val_loss": [1e-05, 1e-05],
        "val_accuracy": [1.0, 1.0],
        "val_macro_f1": [0.25, 0.25],
    }


def test_the_line_of_an_epoch():
    assert epoch_line(3, {"loss": 0.6931471}) == "textclf:epoch=3; textclf:train_loss=0.693147;"


def test_a_progress_bar_before_the_line_does_no_harm():
    assert found(f"\rtraining:  50%|#####     | 3/6 [00:01<00:01]{epoch_line(1, {'loss': 2})}") == {"train_loss": [2.0]}


@pytest.mark.parametrize("split", ["validation_select", "test", "out_of_fold"])
def test_final_metrics_have_names_of_their_own(split):
    metrics = classification_metrics([[0.25, 0.75], [0.5, 0.5]], [1, 0], ("neg", "pos")).to_dict()
    names = {
        name.removeprefix(f"final_{split.removesuffix('_select')}_") for name in found(final_line({split: metrics}))
    }
    assert names == {"accuracy", "macro_f1", "roc_auc", "log_loss", "expected_calibration_error"}


def test_undefined_metrics_are_left_out():
    assert found(epoch_line(1, {"loss": math.nan}), final_line({"test": {"roc_auc": None, "accuracy": 0.5}})) == {
        "final_test_accuracy": [0.5]
    }
    assert final_line({}) == ""


def test_definitions_are_within_the_limits_of_sagemaker():
    definitions = metric_definitions()
    # A tuning job takes 20 unless an account asks for more.
    assert len(definitions) <= 20
    assert len({item["Name"] for item in definitions}) == len(definitions)
    for item in definitions:
        assert len(item["Name"]) <= 255
        assert len(item["Regex"]) <= 500
        assert re.compile(item["Regex"]).groups == 1
