"""Training by the number of labels: the recipe, its measurement by cross-fitting, and a model below its floor."""

import dataclasses
import json
import shlex

import numpy as np
import pytest
from click.testing import CliRunner
from tiny_bert import write_reviews
from tiny_training import tiny_training

import train_model
from retraining import Retrain
from textclf.config import TrainingOptions
from textclf.drift.reference import REFERENCE_FILE, load_reference
from textclf.errors import ConfigError, DatasetError
from textclf.report.training_lines import floor_sentences
from textclf.stats.calibration import fit_temperature, softmax
from textclf.stats.floor import compare_with_floor
from textclf.store.model_store import ModelStore, open_model
from textclf.training.compiled_training import compile_training
from train_model import Training

RARE = ("rare", "often")


@pytest.fixture(scope="module")
def few(tmp_path_factory):
    """Twelve labels per class, and a test part."""
    return write_reviews(tmp_path_factory.mktemp("few") / "reviews", per_class=12, seed=3)


def options_of(tiny_checkpoint, few, folder):
    return [
        "--dataset-path", str(few), "--encoder", str(tiny_checkpoint), "--max-length", "32", "--precision", "float32",
        "--data-dir", str(folder / "datasets"), "--runs-dir", str(folder / "runs"),
        "--model-dir", str(folder / "model"),
    ]  # fmt: skip


@pytest.fixture(scope="module")
def trained_on_few(tiny_checkpoint, few, tmp_path_factory):
    """The output of the command and the version that it saves; two options of the recipe are given."""
    folder = tmp_path_factory.mktemp("recipe")
    (folder / "costs.toml").write_text("unsure = 0.25\n", encoding="utf-8")
    arguments = [*options_of(tiny_checkpoint, few, folder), "--init-lr", "5e-3", "--min-steps", "12"]
    result = CliRunner().invoke(train_model.main, [*arguments, "--costs", str(folder / "costs.toml")])
    assert result.exit_code == 0, result.output
    return result, open_model(folder / "model")


def test_the_recipe_is_printed_recorded_and_overridden(trained_on_few):
    result, version = trained_on_few
    manifest = version.manifest
    reason = "the median class has 12 labels, all classes 24"
    assert manifest.training["recipe"] == {"name": "probe, then fine-tuning", "reason": reason}
    assert f"recipe:        probe, then fine-tuning, because {reason}: pooling mean" in result.stdout
    options = manifest.training["options"]
    assert (options["init_lr"], options["batch_size"], options["head_init"]) == (5e-3, 8, "probe")
    assert (options["train_on"], options["select"], manifest.training["pooling"]) == ("all", "last", "mean")
    assert options["min_steps"] <= manifest.training["steps"] < options["min_steps"] + 3
    assert set(manifest.training["history"]) == {"loss", "learning_rate"}


def test_cross_fitting_measures_what_was_fitted_to_all_labels(trained_on_few):
    result, version = trained_on_few
    manifest = version.manifest
    assert set(manifest.metrics) == {"out_of_fold", "test"}
    assert manifest.metrics["out_of_fold"]["n"] == manifest.calibration["n"] == 24
    assert manifest.calibration["split"] == "out_of_fold"
    floor = manifest.training["floor"]
    assert floor["texts"] == 24
    assert floor["accuracy"] == manifest.metrics["out_of_fold"]["accuracy"]
    assert manifest.cascade["why_off"].startswith("the encoder was fitted to all texts")
    # A probe leaves the encoder as it was, so its embeddings of training texts are those of new texts.
    reference = load_reference(version.part(REFERENCE_FILE))
    assert (reference.features.embeddings is None) == (not manifest.training["is_probe"])
    # An accuracy of few texts has its interval, and no calibration error.
    (line,) = [line for line in result.stdout.splitlines() if line.startswith("out_of_fold:")]
    assert " to " in line
    assert "calibration error" not in line


def test_thresholds_of_unsure_predictions_are_chosen_on_texts_that_the_model_was_not_fitted_to(trained_on_few):
    result, version = trained_on_few
    manifest = version.manifest
    assert manifest.training["options"]["costs"] == '{"unsure": 0.25, "errors": {}}'
    reference = load_reference(version.part(REFERENCE_FILE))
    assert manifest.unsure["texts"] == len(reference.labels)
    assert manifest.unsure_below == pytest.approx((0.75, 0.75))
    confidences = softmax(reference.features.logits, manifest.temperature).max(axis=1)
    assert manifest.unsure["sure"] == (confidences >= 0.75).sum()
    assert manifest.unsure["test"]["texts"] == manifest.metrics["test"]["n"]
    assert "unsure:        cost of an unsure prediction 0.25: " in result.stdout


@pytest.mark.slow
def test_the_reference_has_the_logits_of_models_that_did_not_see_the_text(tiny_checkpoint, few, tmp_path):
    training = tiny_training(
        tiny_checkpoint, few, tmp_path, select="last", train_on="all", head_init="probe", epochs=0, pooling="mean"
    )
    version = open_model(training.save_model(tmp_path / "model"))
    fitted = training._fitted
    assert fitted is not None
    reference = load_reference(version.part(REFERENCE_FILE))
    n = len(training.dataset.validation_calibrate)
    assert reference.features.embeddings is not None
    np.testing.assert_allclose(reference.features.logits, fitted.out_of_fold[-n:], atol=1e-6)
    every = training.dataset.train.joined(training.dataset.validation_select, training.dataset.validation_calibrate)
    assert version.manifest.temperature == pytest.approx(fit_temperature(fitted.out_of_fold, every.labels))
    # Without fine-tuning the model is its own floor, and there is no curve.
    assert version.manifest.training["steps"] == 0
    assert version.manifest.training["floor"]["accuracy"] == version.manifest.training["floor"]["probe_accuracy"]
    assert {path.name for path in (version.path / "plots").iterdir()} == {"confusion_matrix.png", "reliability.png"}


@pytest.mark.slow
def test_a_model_below_its_floor_is_reported_and_becomes_current_only_on_request(tiny_checkpoint, reviews, tmp_path):
    # A rate of nothing leaves the random classification layer; the probe of the same encoder learns the words.
    slow = ["--epochs", "1", "--init-lr", "1e-9", "--pooling", "mean", "--head-init", "random", "--train-on", "train"]
    arguments = [*options_of(tiny_checkpoint, reviews, tmp_path), *slow, "--select", "last"]
    result = CliRunner().invoke(train_model.main, arguments)
    assert result.exit_code == 0, result.output
    assert "warning: the trained model is below its floor: on 48 held-out texts" in result.stderr
    said = (
        "current:       none, because the model is below its floor; to make the new version current: textclf versions"
    )
    assert result.stdout.count(said) == 1
    store = ModelStore(tmp_path / "model")
    (bad,) = store.version_ids()
    assert store.current_id() is None
    assert store.open(bad).manifest.training["floor"]["is_significant"]
    # The child of such a version has the same weights.
    exported = CliRunner().invoke(train_model.main, [*arguments, "--export-again", bad])
    assert exported.exit_code == 0, exported.output
    assert exported.stdout.count(said) == 1
    assert store.version_ids()[-1] != bad
    assert store.current_id() is None
    result = CliRunner().invoke(train_model.main, [*arguments, "--promote"])
    assert "warning: the trained model is below its floor" in result.stderr
    assert store.current_id() == store.version_ids()[-1]


def test_the_advice_of_a_model_below_its_floor_is_its_probe(tiny_checkpoint, few, tmp_path):
    floor = compare_with_floor(np.array([0, 1, 1, 1]), np.array([0, 0, 1, 1]), np.array([0, 0, 1, 1]))
    (sentence,) = floor_sentences(floor)
    assert "which may be chance" in sentence
    advice = shlex.split(sentence[sentence.index("--") :])
    context = train_model.main.make_context("train", [*options_of(tiny_checkpoint, few, tmp_path), *advice])
    assert (context.params["epochs"], context.params["head_init"], context.params["pooling"]) == (0, "probe", "mean")
    TrainingOptions(epochs=0, head_init="probe")


def test_a_retraining_keeps_the_options_of_the_champion_or_chooses_again(trained_on_few, tmp_path):
    def training_with(**options):
        store = trained_on_few[1].path.parent.parent
        return Retrain(tmp_path, tmp_path, tmp_path / "combined", None, None, model_dir=store, **options)._training

    kept = training_with()
    recorded = trained_on_few[1].manifest.training["options"]
    # JSON has no tuples, and the precision is that of the machine.
    options = json.loads(json.dumps(kept.training_options.to_dict() | {"precision": "float32"}))
    assert (kept.recipe, options) == ("none", recorded)
    chosen = training_with(recipe="auto", batch_size=4)
    assert (chosen.recipe, chosen._given) == ("auto", {"batch_size"})
    # Before the data is read, the options that it decides have their defaults; the other ones are the champion's.
    again = chosen.training_options
    assert (again.head_init, again.train_on, again.select, again.min_steps, again.batch_size) == (
        "random", "train", "best", 0, 4,
    )  # fmt: skip
    assert (chosen.model_options.pooling, chosen.model_options.max_length) == ("cls", 32)


def test_options_that_fit_the_champion_or_the_recipe_are_not_refused_before_they_are_complete(trained_on_few, tmp_path):
    store = trained_on_few[1].path.parent.parent
    for changes in ({"train_on": "all"}, {"epochs": 0}):
        given = {"epochs": None, "init_lr": None, **changes}
        options = Retrain(
            tmp_path, tmp_path, tmp_path / "combined", model_dir=store, **given
        )._training.training_options
        assert {name: getattr(options, name) for name in changes} == changes
    Training(0, recipe="auto")
    Training(recipe="auto", train_on="all")


@pytest.mark.parametrize("recalls", [pytest.param(None, marks=pytest.mark.slow), (0.5, 0.6)])
def test_a_rare_class_gets_weights_if_they_help_a_probe(tiny_checkpoint, tmp_path, capsys, monkeypatch, recalls):
    # One of three texts is in each split, so the probe needs all of them.
    root = write_reviews(tmp_path / "reviews", per_class=66, classes=RARE)
    for path in sorted((root / "train" / "rare").iterdir())[3:]:
        path.unlink()
    if recalls is not None:
        monkeypatch.setattr("textclf.training.class_weights.recalls_by_weights", lambda *_: recalls)
    training = tiny_training(tiny_checkpoint, root, tmp_path, recipe="auto")
    training.read_dataset()
    # A retraining compares these with the recorded options.
    decided = training.decided_options
    out = capsys.readouterr().out
    assert "because the mean recall of a probe is " in out
    if recalls is not None:
        assert "class weights: on, because the mean recall of a probe is 60.0% with them and 50.0% without" in out
        assert decided.class_weights
    assert training._compiled is not None
    assert decided.class_weights == training._compiled.options.class_weights == ("class weights: on" in out)


@pytest.mark.slow
def test_too_few_texts_to_hold_one_out_are_no_traceback(tiny_checkpoint, tmp_path, capsys):
    root = write_reviews(tmp_path / "reviews", per_class=3)
    probe = {"epochs": 0, "head_init": "probe", "select": "last"}
    training = tiny_training(tiny_checkpoint, root, tmp_path, recipe="auto", read_test=False, **probe)
    training.predict_model()
    assert training._fitted is not None
    assert training._fitted.is_probe
    with pytest.raises(DatasetError, match="expected at least 3 distinct training texts of every class"):
        tiny_training(
            tiny_checkpoint, write_reviews(tmp_path / "two", per_class=2), tmp_path, recipe="auto", read_test=False
        ).compile()


@pytest.mark.slow
def test_the_floor_is_the_encoder_before_it_reads_the_texts(tiny_checkpoint, few, tmp_path):
    def compiled(**options):
        training = tiny_training(tiny_checkpoint, few, tmp_path, select="last", epochs=1, **options)
        training.compile()
        assert training._compiled is not None
        return training._compiled

    pretrained, plain = compiled(mlm_epochs=1, mlm_lr=0.01).fit(), compiled().fit()
    np.testing.assert_allclose(pretrained.probed, plain.probed, atol=1e-4)


@pytest.mark.slow
def test_the_floor_has_no_texts_that_chose_the_epoch(tiny_checkpoint, few, tmp_path):
    training = tiny_training(tiny_checkpoint, few, tmp_path)
    training.compile()
    best, data = training._compiled, training.dataset
    assert best is not None
    last = dataclasses.replace(best, options=dataclasses.replace(best.options, select="last"))
    assert len(best.held_out_split) == len(data.validation_calibrate)
    assert len(last.held_out_split) == len(data.validation_calibrate) + len(data.validation_select)


@pytest.mark.slow
def test_weights_of_all_texts_that_are_fitted_name_the_run(tiny_checkpoint, few, tmp_path):
    training = tiny_training(tiny_checkpoint, few, tmp_path)
    training.compile()
    ready = training._compiled
    assert ready is not None

    def run_with(train_on, weights):
        data = dataclasses.replace(
            ready.dataset, validation_select=dataclasses.replace(ready.dataset.validation_select, weights=weights)
        )
        options = dataclasses.replace(ready.options, select="last", train_on=train_on)
        folders, model = ready.folders, ready.model_options
        compiled = compile_training(data, folders, ready.preprocessing, ready.classifier, model, options, tmp_path)
        return compiled.run.path

    weights = np.linspace(1, 2, len(ready.dataset.validation_select))
    assert run_with("train", weights) == run_with("train", None)
    assert len({run_with("all", None), run_with("all", weights), run_with("all", weights + 1)}) == 3


def test_python_gives_options_by_name_or_by_another_value():
    training = Training(7, recipe="auto", pooling="cls")
    assert training._given == {"epochs", "pooling"}
    assert Training(recipe="auto", given=["epochs"])._given == {"epochs"}
    with pytest.raises(ConfigError, match="recipe: expected one of auto, none, got 'best'"):
        Training(recipe="best")
    with pytest.raises(ConfigError, match="train_on: expected 'train' without a test part"):
        Training(read_test=False, train_on="all", select="last")
    with pytest.raises(ConfigError, match="train_on: expected 'train' with select 'best'"):
        Training(train_on="all")
