"""Versions with thresholds: from the command line to marked predictions, and what the manifest tells of them."""

import json
import shutil

import numpy as np
import pytest
from click.testing import CliRunner
from labelled_sets import write_set
from tiny_engine import tiny_reviews, write_version

from serving.api.responses import marks_of
from textclf.__main__ import main
from textclf.config import TrainingOptions
from textclf.data.datasets import load_dataset
from textclf.drift.reference import load_reference
from textclf.errors import ConfigError, DatasetError, ModelStoreError
from textclf.evaluation.cost_table import CostTable
from textclf.evaluation.scoring import evaluate
from textclf.evaluation.unsure_thresholds import LabelledScores, UnsureTarget, chosen_thresholds
from textclf.evaluation.unsure_version import held_out_scores, save_child, thresholds_of_new_version
from textclf.report.evaluation_html import evaluation_page
from textclf.report.model_card import model_card
from textclf.report.unsure import curve_chart, curve_rows, unsure_lines
from textclf.runtime.loading import load_predictor
from textclf.stats.calibration import softmax
from textclf.stats.selective import coverage_curve
from textclf.store.evaluation import Evaluation
from textclf.store.manifest import Manifest
from textclf.store.model_store import ModelStore, open_model
from textclf.store.recorded_options import target_options_of
from textclf.tokenization.text_key import TextKeys

CLASSES = ("neg", "pos")
COSTS = CostTable(0.3, {"neg": {"pos": 4.0}})
TEXTS = ["a dull film", "fine"]


def scores(seed, n=2000):
    """Calibrated predictions of two classes."""
    random = np.random.default_rng(seed)
    predicted = random.integers(2, size=n)
    confidences = 1 - 0.5 * random.random(n) ** 3
    labels = np.where(random.random(n) < confidences, predicted, 1 - predicted)
    probabilities = np.stack([confidences, 1 - confidences], axis=1)
    probabilities[predicted == 1] = probabilities[predicted == 1][:, ::-1]
    return LabelledScores(labels, predicted, probabilities)


def evaluation_of(found, split="test"):
    n = len(found.labels)
    return Evaluation(split, n, found.labels, found.predicted, found.confidences, np.full(n, 9), 1.0)


def manifest_with(unsure, **changes):
    encoder = dict.fromkeys(("model_name", "name_to_handle", "model_to_handle"), "tiny")
    return Manifest("tiny", CLASSES, encoder, 32, "head", 0.25, True, unsure=unsure, **changes)


@pytest.fixture(scope="module")
def parent(tmp_path_factory):
    return write_version(tmp_path_factory.mktemp("unsure") / "model", CLASSES, cascade=True)


@pytest.fixture(scope="module")
def chosen():
    return chosen_thresholds(CLASSES, scores(0), UnsureTarget(0.95), evaluation_of(scores(1)))


# --- choosing


def test_the_curves_in_the_manifest_are_the_measured_ones(chosen):
    for found, data in ((chosen, scores(0)), (chosen["test"], scores(1))):
        confidences = np.round(data.confidences, 4) if found is not chosen else data.confidences
        for row in found["curve"]:
            limit = round(row["confidence"], 4) if found is not chosen else row["confidence"]
            is_above = confidences >= limit
            wrong = (data.labels != data.predicted)[is_above].sum()
            assert (row["texts"], row["errors"]) == (is_above.sum(), wrong)
            assert row["error_low"] <= row["errors"] / row["texts"] <= row["error_high"]
    assert chosen["curve"][-1]["texts"] == chosen["texts"] == chosen["test"]["texts"] == 2000
    assert 1 - chosen["test"]["errors"] / chosen["test"]["sure"] > 0.94
    assert json.loads(json.dumps(chosen)) == chosen
    every = coverage_curve(scores(0).confidences, scores(0).labels == scores(0).predicted)
    assert {row["confidence"] for row in chosen["curve"]} <= {point.confidence for point in every}


def test_other_splits_are_not_a_test_part():
    selection = evaluation_of(scores(1), "validation_select")
    assert "test" not in chosen_thresholds(CLASSES, scores(0), UnsureTarget(0.95), selection)


def test_a_target_that_no_threshold_reaches_is_an_error():
    with pytest.raises(DatasetError, match=r"precision of 0\.999 on 50 calibration texts; to show it, at least 2,994"):
        chosen_thresholds(CLASSES, scores(0, 50), UnsureTarget(0.999))


def test_thresholds_by_costs_are_the_cheaper_ones():
    found = chosen_thresholds(CLASSES, scores(0), UnsureTarget(costs=COSTS))
    assert found["costs"] == COSTS.to_dict()
    # An error of the class pos costs four times as much.
    assert found["thresholds"] == pytest.approx({"neg": 0.7, "pos": 1 - 0.3 / 4})
    assert found["mean_cost"] < min(found["mean_cost_all_sure"], 0.3)
    assert [row["basis"] for row in found["classes"]] == ["cost", "cost"]
    assert json.loads(json.dumps(found)) == found
    with pytest.raises(ConfigError, match="found odd"):
        chosen_thresholds(CLASSES, scores(0), UnsureTarget(costs=CostTable(1.0, {"odd": {}})))


@pytest.mark.parametrize("values", [{}, {"precision": 0.9, "costs": COSTS}])
def test_a_target_is_a_precision_or_costs(values):
    with pytest.raises(ConfigError, match="expected --target-precision or --costs"):
        UnsureTarget(**values)


# --- a training, and what a retraining takes from it


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, None),
        ({"target_precision": 0.4}, UnsureTarget(0.4)),
        ({"costs": COSTS.to_json()}, UnsureTarget(None, COSTS)),
    ],
)
def test_the_options_of_a_training_are_the_target(parent, options, expected, capsys):
    manifest = manifest_with({}, training={"options": TrainingOptions(**options).to_dict()})
    assert UnsureTarget.of_version(manifest) == expected
    reference = load_reference(parent / "reference.npz")
    found = thresholds_of_new_version(manifest, reference, evaluation_of(scores(1)))
    assert bool(found) == (expected is not None)
    assert ("unsure:        " in capsys.readouterr().out) == bool(found)


def test_a_training_is_not_lost_for_a_target_that_is_not_reached(parent, capsys):
    manifest = manifest_with({}, training={"options": {"target_precision": 0.99}})
    reference = load_reference(parent / "reference.npz")
    assert thresholds_of_new_version(manifest, reference, evaluation_of(scores(1))) == {}
    assert "warning: the version has no thresholds of unsure predictions: no threshold" in capsys.readouterr().err


def test_the_target_of_a_child_replaces_that_of_the_training(chosen):
    recorded = {"options": TrainingOptions(target_precision=0.8).to_dict()}
    assert target_options_of(manifest_with({}, training=recorded)) == {}
    assert target_options_of(manifest_with(chosen)) == {"target_precision": 0.95, "costs": ""}
    by_costs = manifest_with(chosen_thresholds(CLASSES, scores(0), UnsureTarget(costs=COSTS)), training=recorded)
    assert UnsureTarget.of_version(by_costs) == UnsureTarget(None, COSTS)


# --- reports


def test_lines_page_and_card_show_thresholds_and_curves(chosen):
    lines = unsure_lines(chosen)
    assert lines[0].startswith("target precision 0.95: ")
    assert lines[1].startswith("measured: ")
    assert " of 2,000 test texts sure (" in lines[1]
    rows = curve_rows(chosen)
    assert rows[-1].calibration.coverage == 1
    # A text of the test part may be less confident than every calibration text.
    assert rows[-1].test.coverage == pytest.approx(1, abs=0.01)
    chart = curve_chart(rows, 100, 50)
    assert chart is not None
    assert len(chart.line.split()) == len(chart.test_line.split()) == len(rows) == len(chart.band.split()) / 2
    manifest = manifest_with(chosen, data={"source": "data"})
    page, card = evaluation_page(manifest, evaluation_of(scores(1))), model_card(manifest)
    for shown in (page, card):
        assert lines[1] in shown
        assert "95% interval" in shown
    assert "## Unsure predictions" in card
    assert "<polygon" in page
    assert "Unsure predictions" not in evaluation_page(manifest_with({}), None)
    assert "Unsure predictions" not in model_card(manifest_with({}))


def test_lines_of_costs():
    found = chosen_thresholds(CLASSES, scores(0), UnsureTarget(costs=CostTable(0.3, {"pos": {"neg": 0.1}})))
    lines = unsure_lines(found)
    assert lines[0].startswith("cost of an unsure prediction 0.3: ")
    assert lines[1].startswith("mean cost of a calibration text: ")
    assert lines[2].startswith("neg: never unsure; ")
    assert lines[3].startswith("pos: unsure below 0.7000; ")


@pytest.mark.parametrize("thresholds", [{"neg": 0.5}, {"neg": 0.5, "pos": 2}, {"neg": 0.5, "pos": True}, []])
def test_a_manifest_with_other_thresholds_is_refused(thresholds):
    with pytest.raises(ModelStoreError, match="unsure: expected a threshold from 0 to 1, or null, for each class"):
        manifest_with({"thresholds": thresholds})


# --- child versions


def run(*arguments):
    return CliRunner().invoke(main, ["versions", "unsure", *map(str, arguments)])


def test_a_child_keeps_labels_and_scores_and_marks_unsure_predictions(parent):
    store = ModelStore(parent.parents[1])
    held_out = held_out_scores(open_model(parent))
    child = save_child(store, open_model(parent), held_out, UnsureTarget(costs=CostTable(1e-6, {})))
    assert (child.manifest.parent, child.manifest.files) == (parent.name, open_model(parent).manifest.files)
    assert store.current_id() == parent.name
    before, after = (load_predictor(path).predict(TEXTS) for path in (parent, child.path))
    assert [(item.label, item.score) for item in before] == [(item.label, item.score) for item in after]
    # An unsure prediction costs so little that hardly any other is worth it.
    assert [marks_of(item).get("unsure") for item in after] == [True, True]
    assert not any("unsure" in marks_of(item) for item in before)


def test_the_held_out_texts_are_those_of_the_reference_as_they_are_served(parent):
    found = held_out_scores(open_model(parent))
    texts, labels = zip(*tiny_reviews(200), strict=True)
    assert found.labels.tolist() == list(labels)
    batch = load_predictor(parent).predict_batch(list(texts))
    assert found.predicted.tolist() == batch.predicted.tolist()
    np.testing.assert_allclose(found.probabilities, softmax(batch.outputs.logits, 1.0), atol=1e-5)


def test_the_command_uses_the_reference_or_a_data_set(parent, tmp_path):
    store = ModelStore(parent.parents[1])
    (tmp_path / "costs.toml").write_text("unsure = 0.2\n", encoding="utf-8")
    of_store = parent.name, "--model-dir", store.path
    reviews = tiny_reviews(400)
    data = write_set(tmp_path / "data", reviews[:300], reviews[300:])
    for more, key in (
        (("--target-precision", "0.1"), "target_precision"),
        (("--costs", tmp_path / "costs.toml"), "costs"),
        (("--target-precision", "0.1", "--dataset-path", data), "target_precision"),
    ):
        result = run(*of_store, *more)
        assert result.exit_code == 0, result.output
        child = store.open(store.version_ids()[-1])
        assert key in child.manifest.unsure
        assert (child.manifest.unsure["texts"] == 200) == ("--dataset-path" not in more)
        assert ("is not the data set of the training" in result.stderr) == ("--dataset-path" in more)
        assert f"textclf versions promote {child.id}" in result.output
    impossible = run(*of_store, "--target-precision", "0.9999")
    assert impossible.exit_code == 1
    assert "no threshold reaches a precision of 0.9999" in impossible.output
    assert "expected --target-precision or --costs" in run(*of_store).output


def test_a_child_measures_its_thresholds_on_the_test_part_of_the_version(parent, tmp_path):
    texts, labels = zip(*tiny_reviews(50, 3), strict=True)
    path = write_version(tmp_path / "model", CLASSES)
    store = ModelStore(tmp_path / "model")
    found = evaluate(load_predictor(path), "test", texts, np.array(labels))
    with store.new_version() as draft:
        shutil.copytree(path, draft.path, ignore=shutil.ignore_patterns("manifest.json"), dirs_exist_ok=True)
        found.save(draft.path)
        draft.manifest = open_model(path).manifest
    version = store.open(draft.id)
    child = save_child(store, version, held_out_scores(version), UnsureTarget(0.2))
    assert child.manifest.unsure["test"]["texts"] == 50


def test_texts_that_the_model_was_not_fitted_to(tmp_path):
    reviews = tiny_reviews(200)
    data = write_set(tmp_path / "data", reviews[:150], reviews[150:])
    fingerprints = load_dataset(data, text_keys=TextKeys()).fingerprints
    store = tmp_path / "model"
    write_version(
        store,
        CLASSES,
        reference_texts=[],
        data={"fingerprint": fingerprints, "options": {"equal_texts": "wordpieces"}},
        training={"options": {"train_on": "all"}},
    )
    fitted = run("--model-dir", store, "--target-precision", "0.1", "--dataset-path", data)
    assert "texts that version" in fitted.output
    assert "leave --dataset-path out" in fitted.output
    missing = run("--model-dir", store, "--target-precision", "0.1")
    assert missing.exit_code == 1
    assert "with a drift reference, found none; give labelled texts that the model was not fitted to" in missing.output
    other = write_set(tmp_path / "other", reviews[50:], reviews[:50])
    found = run("--model-dir", store, "--target-precision", "0.1", "--dataset-path", other)
    assert found.exit_code == 0, found.output


@pytest.mark.parametrize("precision", [float("nan"), 0.0, 1.0, -0.5])
def test_a_target_is_a_precision_between_0_and_1(precision):
    with pytest.raises(ConfigError, match="expected a number above 0 and below 1, got "):
        UnsureTarget(precision)
