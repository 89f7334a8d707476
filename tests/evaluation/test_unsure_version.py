"""Child versions with thresholds: from the command line to marked predictions."""

import json

import numpy as np
import pytest
from click.testing import CliRunner
from labelled_sets import write_set
from tiny_engine import tiny_reviews, write_version

from serving.api.responses import marks_of
from textclf.__main__ import main
from textclf.errors import DatasetError, ModelStoreError
from textclf.evaluation.unsure_thresholds import chosen_thresholds, save_child
from textclf.report.unsure import unsure_lines
from textclf.runtime.loading import load_predictor
from textclf.stats.selective import coverage_curve
from textclf.store.manifest import Manifest
from textclf.store.model_store import ModelStore, open_model

CLASSES = ("neg", "pos")


def unsure_of(thresholds):
    return {"thresholds": dict(zip(CLASSES, thresholds, strict=True))}


@pytest.fixture(scope="module")
def parent(tmp_path_factory):
    return write_version(tmp_path_factory.mktemp("unsure") / "model", CLASSES, cascade=True)


@pytest.mark.parametrize(("thresholds", "expected"), [((None, None), True), ((0.0, 0.0), False)])
def test_predictions_below_the_threshold_are_unsure_and_keep_label_and_score(parent, thresholds, expected):
    store = ModelStore(parent.parents[1])
    child = store.open(save_child(store, open_model(parent), unsure_of(thresholds)))
    assert (child.manifest.parent, child.manifest.files) == (parent.name, open_model(parent).manifest.files)
    assert store.current_id() == parent.name
    before, after = (load_predictor(path).predict(["a dull film", "fine"]) for path in (parent, child.path))
    assert [(item.label, item.score) for item in before] == [(item.label, item.score) for item in after]
    assert [item.unsure for item in after] == [expected] * 2
    assert [marks_of(item).get("unsure") for item in after] == [expected or None] * 2
    assert not any("unsure" in marks_of(item) for item in before)


def test_the_curve_in_the_manifest_is_the_measured_one():
    random = np.random.default_rng(0)
    predicted = random.integers(2, size=2000)
    confidences = 1 - 0.5 * random.random(2000) ** 3
    labels = np.where(random.random(2000) < confidences, predicted, 1 - predicted)
    found = chosen_thresholds(CLASSES, labels, predicted, confidences, 0.95)
    measured = {point.confidence: point for point in coverage_curve(confidences, labels == predicted)}
    for row in found["curve"]:
        assert (row["texts"], row["errors"]) == measured[row["confidence"]][1:]
        assert row["error_low"] <= row["errors"] / row["texts"] <= row["error_high"]
    assert found["curve"][-1]["texts"] == 2000
    assert json.loads(json.dumps(found)) == found
    assert len(unsure_lines(found)) == 3
    with pytest.raises(DatasetError, match=r"precision of 0\.999 on 50 calibration texts; at least"):
        chosen_thresholds(CLASSES, labels[:50], predicted[:50], confidences[:50], 0.999)


@pytest.mark.parametrize("thresholds", [{"neg": 0.5}, {"neg": 0.5, "pos": 2}, {"neg": 0.5, "pos": True}, []])
def test_a_manifest_with_other_thresholds_is_refused(thresholds):
    encoder = dict.fromkeys(("model_name", "name_to_handle", "model_to_handle"), "tiny")
    with pytest.raises(ModelStoreError, match="unsure: expected a threshold from 0 to 1, or null, for each class"):
        Manifest("tiny", CLASSES, encoder, 32, "head", 0.25, True, unsure={"thresholds": thresholds})


def test_the_command(parent, tmp_path):
    reviews = tiny_reviews(400)
    data = write_set(tmp_path / "data", reviews[:300], reviews[300:])
    store = ModelStore(parent.parents[1])
    arguments = ["versions", "unsure", parent.name, "--model-dir", str(store.path), "--dataset-path", str(data)]
    result = CliRunner().invoke(main, [*arguments, "--target-precision", "0.1"])
    assert result.exit_code == 0, result.output
    child = store.open(store.version_ids()[-1])
    assert child.manifest.unsure["target_precision"] == 0.1
    assert f"textclf versions promote {child.id}" in result.output
    impossible = CliRunner().invoke(main, [*arguments, "--target-precision", "0.9999"])
    assert impossible.exit_code == 1
    assert "no class reaches a precision of 0.9999" in impossible.output


def test_the_command_chooses_on_the_calibration_set_and_saves_a_child(parent, tmp_path, capsys):
    store = ModelStore(parent.parents[1])
    texts = [f"{word} {number}" for number in range(300) for word in ("a dull film", "fine", "the plot", "good day")]
    labels = [item.label for item in load_predictor(parent).predict(texts)]
    data = tmp_path / "data.csv"
    rows = zip(texts, labels, strict=True)
    data.write_text("text,label\n" + "".join(f"{text},{label}\n" for text, label in rows))
    arguments = ["versions", "unsure", parent.name, "--model-dir", str(store.path), "--dataset-path", str(data)]
    with pytest.raises(SystemExit) as end:
        main([*arguments, "--target-precision", "0.9"], prog_name="textclf")
    printed = capsys.readouterr()
    assert not end.value.code, printed.err
    assert "is not the data set of the training" in printed.err
    child = store.open(store.version_ids()[-1])
    assert child.manifest.parent == parent.name
    assert child.manifest.unsure["target_precision"] == 0.9
    assert store.current_id() == parent.name
