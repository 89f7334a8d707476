"""A version with several windows: SavedModel and engine agree, temperature and metrics are those of whole texts."""

import dataclasses
import shutil

import numpy as np
import pytest

from textclf.config import ModelOptions
from textclf.data.splits import Split
from textclf.errors import ConfigError, ModelStoreError, TrainingError
from textclf.graph.golden_texts import GOLDEN_TEXTS, golden_texts_of
from textclf.report.versions import describe_version
from textclf.runtime.loading import load_predictor, predictor_of_version
from textclf.stats.calibration import fit_temperature
from textclf.stats.floor import compare_with_floor
from textclf.store.model_store import open_model
from textclf.store.recorded_options import model_options_of
from textclf.training.encoders.preprocessing import TextPreprocessing, tokenize_texts, tokenize_windows
from textclf.training.export.saved_model_export import SavedClassifier
from textclf.training.export.tokenizer_parity import differing_texts, tokenizer_of_preprocessing
from textclf.training.export.version_writer import reexported_version, training_of_child
from textclf.training.measuring import measure_model, window_logits
from train_model import Training

MAX_LENGTH, WINDOWS = 32, 3
CAPACITY = MAX_LENGTH - 2
LENGTHS = (0, 1, CAPACITY, CAPACITY + 1, 2 * CAPACITY + 7, 3 * CAPACITY, 3 * CAPACITY + 1, 10 * CAPACITY)
WORDS = ("good", "film", "bad", "the", "was", "boring", "a", "lovely", "plot", "x", "?")
TEXTS = [" ".join(np.random.default_rng(length).choice(WORDS, length)) for length in LENGTHS]


@pytest.fixture(scope="module")
def parent(trained_version):
    return open_model(trained_version)


@pytest.fixture(scope="module")
def child(parent, reviews, tmp_path_factory):
    """A child of the trained version with three windows."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("textclf.training.export.engine_export._CALIBRATION_TEXTS", 4)
        folder = tmp_path_factory.mktemp("windows") / "store"
        shutil.copytree(parent.path.parent.parent, folder)
        return open_model(Training(dataset_path=str(reviews)).export_again(folder, windows=WINDOWS))


@pytest.fixture(scope="module")
def preprocessing(parent):
    return TextPreprocessing(parent.path / "saved_model", MAX_LENGTH, "head+tail", windows=WINDOWS)


def test_engine_and_saved_model_agree_on_every_length(child, tmp_path):
    shutil.copytree(child.path, tmp_path / child.id, ignore=shutil.ignore_patterns("engine"))
    engine, saved_model = predictor_of_version(child, cascade=False), load_predictor(tmp_path / child.id)
    found, expected = (predictor.predict_batch(TEXTS) for predictor in (engine, saved_model))
    assert child.manifest.engine["precision"] == "int8"
    np.testing.assert_allclose(found.outputs.logits, expected.outputs.logits, atol=0.2)
    for a, b in zip(found.predictions, expected.predictions, strict=True):
        assert (a.tokens, a.truncated) == (b.tokens, b.truncated)
    assert [prediction.truncated for prediction in found.predictions] == [False] * 6 + [True] * 2
    # In float32 the two agree except for rounding.
    alone = np.concatenate([saved_model.predict_batch([text]).outputs.logits for text in TEXTS])
    np.testing.assert_allclose(expected.outputs.logits, alone, atol=1e-4)


def test_short_texts_have_the_logits_of_the_parent(child, parent):
    short, logits = [text for text in TEXTS if len(text.split()) <= CAPACITY], []
    for version in (parent, child):
        predictor = predictor_of_version(version, cascade=False)
        logits.append(predictor.predict_batch(short).outputs.logits)
    np.testing.assert_allclose(*logits, atol=0.2)


def test_the_child_differs_in_what_depends_on_windows_only(child, parent, reviews):
    one, two = parent.manifest, child.manifest
    assert (one.windows, two.windows, two.parent) == (1, WINDOWS, one.id)
    for field in ("name", "class_names", "max_length", "truncation", "encoder", "data"):
        assert getattr(two, field) == getattr(one, field)
    # The floor was measured with one window.
    assert {**two.training, "floor": one.training["floor"]} == one.training
    assert "floor" not in two.training
    assert two.parity["saved_model_largest_logit_difference"] < 1e-3
    assert two.parity["engine"]["agreement"] == 1
    assert child.has("plots")
    assert two.golden_texts == (*GOLDEN_TEXTS, *two.golden_texts[-1:])
    (last,) = predictor_of_version(child).encode([two.golden_texts[-1]]).windows
    assert last > 1
    assert "up to 3 windows of 32 wordpieces, trained on head, lower case" in describe_version(child)
    assert model_options_of(two)["windows"] == WINDOWS
    # None of these reviews is long: the same temperature and metrics.
    assert two.temperature == pytest.approx(one.temperature, rel=1e-3)
    assert two.metrics["test"]["accuracy"] == one.metrics["test"]["accuracy"]


@pytest.mark.parametrize(("is_below", "keeps"), [(True, True), (False, False), (None, False)])
def test_only_a_floor_that_refuses_is_handed_on(is_below, keeps):
    labels = np.array([0, 1] * 50)
    predicted = np.zeros(100, int) if is_below else labels
    training = {"epochs": 3}
    if is_below is not None:
        training["floor"] = compare_with_floor(predicted, labels, labels).to_dict()
    assert training_of_child(training) == (training if keeps else {"epochs": 3})


def test_ids_of_serving_and_training_agree(preprocessing):
    tokenizer = tokenizer_of_preprocessing(preprocessing)
    assert tokenizer.settings.windows == WINDOWS
    assert differing_texts(preprocessing, tokenizer, [*TEXTS, *golden_texts_of(WINDOWS, MAX_LENGTH)]) == []
    windows = tokenize_windows(preprocessing, TEXTS)
    assert windows.counts.tolist() == [1, 1, 1, 2, 3, 3, 3, 3]
    assert len(windows.rows) == windows.counts.sum()
    # The training reads one window of each text.
    truncated = tokenize_texts(preprocessing, TEXTS)
    assert truncated.lengths.tolist() == [min(length + 2, MAX_LENGTH) for length in LENGTHS]


def test_other_windows_give_other_ids(preprocessing):
    tokenizer = tokenizer_of_preprocessing(preprocessing)
    other = dataclasses.replace(tokenizer.settings, windows=2)
    tokenizer.settings = other
    assert differing_texts(preprocessing, tokenizer, TEXTS) == TEXTS[4:]


def test_the_temperature_is_fitted_to_whole_texts(trained, tmp_path):
    """Logits of windows would be twice as many, and less spread than those of texts."""
    training, _ = trained
    ready = training._compiled
    calibration_set = ready.dataset.validation_calibrate
    long = Split(tuple(f"{text} {text} {text}" for text in calibration_set.texts), calibration_set.labels)
    layer = ready.preprocessing
    windowed = TextPreprocessing(layer.folder, 8, windows=WINDOWS)
    rows = tokenize_windows(windowed, long.texts)
    assert len(rows.rows) == 3 * len(long)
    logits = window_logits(ready._ids_to_logits, windowed, long.texts, "test")
    assert len(logits) == len(long)
    changed = dataclasses.replace(ready, preprocessing=windowed)
    data = dataclasses.replace(ready.dataset, validation_calibrate=long)
    assert measure_model(data, changed.logits, ()).temperature == fit_temperature(logits, long.labels)


def test_windows_that_need_a_training(parent, trained, monkeypatch):
    """A SavedModel of early software, and a model without held-out texts for another temperature."""
    options = {**parent.manifest.training["options"], "train_on": "all"}
    manifest = dataclasses.replace(parent.manifest, training={**parent.manifest.training, "options": options})
    fitted_to_all = dataclasses.replace(parent, manifest=manifest)
    with pytest.raises(TrainingError, match=r"not fitted to its calibration set, found one .* again with --windows"):
        reexported_version(fitted_to_all, trained[0].dataset, None, WINDOWS)
    monkeypatch.setattr("textclf.training.export.saved_model_export.IDS_SIGNATURE", "unknown")
    with pytest.raises(ModelStoreError, match="train the version again with --windows"):
        SavedClassifier(parent.path / "saved_model")


@pytest.mark.parametrize("windows", [0, 17])
def test_refused(windows):
    with pytest.raises(ConfigError, match="windows: expected a whole number"):
        ModelOptions(windows=windows)
