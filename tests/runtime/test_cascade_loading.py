"""A version with a cascade from disk: it answers, can be left out, and what is damaged is one clear error."""

import hashlib
import json
import shutil

import numpy as np
import pytest
from tiny_engine import CASCADE, tiny_linear, tiny_reviews, write_version

from inference import Inference
from textclf.drift.reference import REFERENCE_FILE, load_reference
from textclf.errors import ModelStoreError
from textclf.runtime.linear_stage import LINEAR_FILE, LinearStage
from textclf.runtime.loading import load_predictor
from textclf.stats.cascade_rules import CascadeSettings
from textclf.store.model_store import open_model

TEXTS = [text for text, _ in tiny_reviews(40, seed=9)]


@pytest.fixture(scope="module")
def version(tmp_path_factory):
    return write_version(tmp_path_factory.mktemp("cascade") / "model", cascade=True)


@pytest.fixture
def copy(version, tmp_path):
    return shutil.copytree(version, tmp_path / version.name)


def rewrite(version, change):
    """Let `change` edit the manifest, with the hash of linear.npz as it is now, so that only its content tells."""
    path = version / "manifest.json"
    manifest = json.loads(path.read_text(encoding="utf-8"))
    linear = version / "engine" / LINEAR_FILE
    manifest["files"][f"engine/{LINEAR_FILE}"] = hashlib.sha256(linear.read_bytes()).hexdigest()
    change(manifest)
    path.write_text(json.dumps(manifest), encoding="utf-8")


def test_it_answers_with_stages(version):
    predictor = load_predictor(version)
    assert predictor.cascade.settings == CASCADE
    stages = [prediction.stage for prediction in predictor.predict(TEXTS)]
    assert set(stages) == {"linear", "encoder"}
    assert [prediction.stage for prediction in Inference(version).predict(TEXTS)] == stages
    assert f"engine/{LINEAR_FILE}" in open_model(version).manifest.files


def test_three_classes(tmp_path):
    predictor = load_predictor(write_version(tmp_path, ("a", "b", "c"), cascade=True, reference_texts=[]))
    predictions = predictor.predict([text for text, _ in tiny_reviews(60, seed=9, classes=3)])
    assert {prediction.stage for prediction in predictions} == {"linear", "encoder"}
    for prediction in predictions:
        assert prediction.score == max(prediction.probabilities.values())


def test_without_the_cascade_the_encoder_answers_as_a_version_without_one_does(version, tmp_path):
    alone = load_predictor(write_version(tmp_path, reference_texts=[])).predict_batch(TEXTS)
    for predictor in (load_predictor(version, cascade=False), Inference(version, cascade=False).predictor):
        assert predictor.cascade is None
        batch = predictor.predict_batch(TEXTS)
        for one, other in zip(batch.predictions, alone.predictions, strict=True):
            assert one.stage is None
            assert one.label == other.label
        np.testing.assert_allclose(batch.outputs.logits, alone.outputs.logits, atol=1e-5)


def test_with_early_answers_off_and_the_encoder_weighted_alone_nothing_changes(tmp_path):
    neutral = CascadeSettings(2.0, 1.0, 0.0, None)
    version = write_version(tmp_path, cascade=neutral, reference_texts=[])
    with_it, without = (load_predictor(version, cascade=cascade).predict_batch(TEXTS) for cascade in (True, False))
    np.testing.assert_array_equal(with_it.outputs.logits, without.outputs.logits)
    one, other = ([prediction.probabilities for prediction in batch.predictions] for batch in (with_it, without))
    assert one == other


def test_a_cascade_that_is_off_is_none(copy):
    rewrite(copy, lambda manifest: manifest.update(cascade={"settings": None, "why_off": "too few texts"}))
    predictor = load_predictor(copy)
    assert predictor.cascade is None
    assert predictor.predict(["a film"])[0].stage is None


def test_the_reference_was_written_with_the_cascade(version):
    reference = load_reference(version / REFERENCE_FILE)
    texts = [text for text, _ in tiny_reviews(200)]
    answer = load_predictor(version).predict_batch(texts, both_stages=True)
    np.testing.assert_allclose(reference.features.logits, answer.outputs.logits, atol=1e-4)


def test_a_missing_linear_stage(copy):
    (copy / "engine" / LINEAR_FILE).unlink()
    with pytest.raises(ModelStoreError, match=LINEAR_FILE):
        load_predictor(copy)


def test_a_linear_stage_that_was_left_out_of_the_files_too(copy):
    """Its hash is gone with it, and the settings still ask for it."""
    path = copy / "engine" / LINEAR_FILE

    rewrite(copy, lambda manifest: manifest["files"].pop(f"engine/{LINEAR_FILE}"))
    path.unlink()
    with pytest.raises(ModelStoreError, match=rf"{LINEAR_FILE}: expected the linear stage of a version"):
        load_predictor(copy)
    assert load_predictor(copy, cascade=False).predict(["a film"])[0].stage is None


def test_a_damaged_linear_stage(copy):
    path = copy / "engine" / LINEAR_FILE
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ModelStoreError, match=rf"{LINEAR_FILE}: damaged"):
        load_predictor(copy)
    rewrite(copy, lambda manifest: None)
    with pytest.raises(ModelStoreError, match=rf"{LINEAR_FILE}: expected the linear stage of a version"):
        load_predictor(copy)


def test_a_linear_stage_of_other_weights(copy):
    linear = tiny_linear()
    LinearStage(linear.weights * np.float16(1.1), linear.intercepts).save(copy / "engine")
    rewrite(copy, lambda manifest: None)
    with pytest.raises(ModelStoreError, match="gives other logits on the golden texts than where it was fitted"):
        load_predictor(copy)


def test_golden_logits_that_are_others(copy):
    def change(manifest):
        manifest["cascade"]["golden_logits"][0][0] += 0.02

    rewrite(copy, change)
    with pytest.raises(ModelStoreError, match=r"gives other logits on the golden texts .*--export-again"):
        load_predictor(copy)


@pytest.mark.parametrize(
    "change",
    [
        lambda cascade: cascade["settings"].update(exit_share=0.5),
        lambda cascade: cascade["settings"].pop("linear_weight"),
        lambda cascade: cascade["settings"].update(linear_temperature=-1),
        lambda cascade: cascade.update(settings=[1, 2]),
        lambda cascade: cascade.update(settings="on"),
        lambda cascade: cascade.pop("golden_logits"),
        lambda cascade: cascade.update(golden_logits="none"),
        lambda cascade: cascade.update(golden_logits=[[1.0, 2.0], [3.0]]),
        lambda cascade: cascade.update(golden_logits=[]),
        lambda cascade: cascade.update(golden_logits=None),
    ],
)
def test_a_manifest_that_does_not_say_how_to_answer(copy, change):
    rewrite(copy, lambda manifest: change(manifest["cascade"]))
    with pytest.raises(ModelStoreError, match=copy.name) as refused:
        load_predictor(copy)
    assert "export it again" in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_cascade_of_another_number_of_classes(copy):
    """Sound in itself, but not of this model."""
    linear = tiny_linear(3)
    texts = load_predictor(copy).backend.tokenizer(open_model(copy).manifest.golden_texts)
    linear.save(copy / "engine")

    def change(manifest):
        manifest["cascade"]["golden_logits"] = linear([text.wordpieces for text in texts]).tolist()

    rewrite(copy, change)
    with pytest.raises(ModelStoreError, match="expected a linear stage of 2 classes, got one of 3"):
        load_predictor(copy)
