"""A training with several windows on long texts: models and figures are those of whole texts."""

import shutil

import numpy as np
import pytest
from tiny_training import tiny_training

from textclf.runtime.backend import Timings
from textclf.runtime.loading import load_predictor, predictor_of_version
from textclf.stats.calibration import fit_temperature, softmax
from textclf.store.model_store import open_model
from textclf.training.encoders.preprocessing import tokenize_windows
from textclf.training.tf_setup import tf

MAX_LENGTH, WINDOWS = 8, 3
# Between float32 sums in batches of other sizes.
TOLERANCE = 1e-4


@pytest.fixture(scope="module")
def trained_on_long(tiny_checkpoint, reviews, tmp_path_factory):
    """The training, its version, and the test texts, nearly all of them longer than a window."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("textclf.training.export.engine_export._CALIBRATION_TEXTS", 4)
        folder = tmp_path_factory.mktemp("long")
        options = {"max_length": MAX_LENGTH, "windows": WINDOWS, "epochs": 2}
        training = tiny_training(tiny_checkpoint, reviews, folder, **options)
        version = open_model(training.save_model(folder / "model"))
    return training, version, training.dataset.test


@pytest.fixture(scope="module")
def by_hand(trained_on_long):
    """For each test text the logits of its windows, by the signature classify_ids one by one."""
    training, version, test = trained_on_long
    model = tf.saved_model.load(str(version.part("saved_model")))
    windows = tokenize_windows(training._compiled.preprocessing, test.texts)
    rows = [
        model.signatures["classify_ids"](input_word_ids=ids[None], input_mask=tf.ones_like(ids)[None])["logits"][0]
        for ids in map(tf.constant, np.split(windows.rows.ids, windows.rows.offsets[1:-1]))
    ]
    return np.split(np.array(rows), np.cumsum(windows.counts)[:-1])


@pytest.mark.slow
def test_logits_are_means_over_the_windows(trained_on_long, by_hand, tmp_path):
    training, version, test = trained_on_long
    expected, first = np.array([rows.mean(axis=0) for rows in by_hand]), np.array([rows[0] for rows in by_hand])
    assert [len(rows) for rows in by_hand].count(WINDOWS) > len(test) / 2
    of_first = np.abs(expected - first).max()
    assert of_first > 100 * TOLERANCE
    texts = tf.constant(test.texts)
    model = tf.saved_model.load(str(version.part("saved_model")))
    for found in (training.classifier_model(texts), model.signatures["serving_default"](text=texts)["logits"]):
        np.testing.assert_allclose(found, expected, atol=TOLERANCE)
    shutil.copytree(version.path, tmp_path / version.id, ignore=shutil.ignore_patterns("engine"))
    saved_model, engine = load_predictor(tmp_path / version.id), predictor_of_version(version, cascade=False)
    np.testing.assert_allclose(saved_model.predict_batch(test.texts).outputs.logits, expected, atol=TOLERANCE)
    # The engine computes in int8, so it is compared with its own outputs for each window.
    tokenizer = engine.backend.tokenizer
    windows = [tokenizer.windows(text.ids) for text in tokenizer(list(test.texts))]
    of_windows = [np.array([engine.backend.run([ids], Timings()).logits[0] for ids in rows]) for rows in windows]
    found = engine.predict_batch(test.texts).outputs.logits
    error = np.abs(found - [rows.mean(axis=0) for rows in of_windows]).max()
    assert error < np.abs(found - [rows[0] for rows in of_windows]).max() / 4


@pytest.mark.slow
def test_temperature_and_metrics_are_those_of_whole_texts(trained_on_long, by_hand):
    training, version, test = trained_on_long
    manifest, calibration_set = version.manifest, training.dataset.validation_calibrate
    logits = training.classifier_model(tf.constant(calibration_set.texts)).numpy()
    assert manifest.windows == WINDOWS
    assert manifest.temperature == pytest.approx(fit_temperature(logits, calibration_set.labels), rel=1e-3)
    probabilities = softmax(np.array([rows.mean(axis=0) for rows in by_hand]), manifest.temperature)
    assert manifest.calibration["n"] == len(calibration_set)
    assert manifest.metrics["test"]["accuracy"] == pytest.approx(np.mean(probabilities.argmax(axis=1) == test.labels))
    log_loss = -np.log(probabilities[np.arange(len(test)), test.labels]).mean()
    assert manifest.metrics["test"]["log_loss"] == pytest.approx(log_loss, abs=1e-3)
