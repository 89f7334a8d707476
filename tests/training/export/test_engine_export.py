"""From a trained SavedModel to an engine: the same answers, the gate and its fallbacks, and what is refused."""

import dataclasses
import itertools
import json
import re
import shutil

import numpy as np
import pytest
from tiny_bert import vocabulary

from inference import Inference
from textclf.data.datasets import load_dataset
from textclf.errors import ModelStoreError, TrainingError
from textclf.graph.engine_graph import build_graph
from textclf.graph.golden_texts import GOLDEN_TEXTS
from textclf.runtime.engine import load_engine
from textclf.runtime.loading import predictor_of_version
from textclf.runtime.predictor import Predictor
from textclf.stats.calibration import softmax
from textclf.stats.parity import Parity, margins, parity, parity_failures
from textclf.store.model_store import ModelStore, open_model
from textclf.tokenization.tokenizer import Tokenizer
from textclf.training.encoders.preprocessing import TextPreprocessing
from textclf.training.export import engine_export as export
from textclf.training.export.engine_export import EngineTexts, checked_tokenizer, export_engine
from textclf.training.tf_setup import tf
from train_model import Training

# The same sums in another order, of logits around 1.
TOLERANCE = 1e-4
# Of the tiny encoder and its classifier: embeddings (those of types are part of the positions'), two layers, the head.
_LAYER = 4 * (32 * 32 + 32) + (32 * 64 + 64) + (64 * 32 + 32) + 4 * 32
WEIGHTS = (200 + 64) * 32 + 2 * _LAYER + (32 * 32 + 32) + (32 * 2 + 2)


@pytest.fixture(scope="module")
def version(trained):
    return open_model(trained[1])


@pytest.fixture(scope="module")
def data(reviews):
    return load_dataset(reviews)


@pytest.fixture(scope="module")
def tokenizer(version):
    return Tokenizer.load(version.part("engine"))


@pytest.fixture(scope="module")
def texts(data):
    return EngineTexts(data.train.texts[:24], data.validation_calibrate)


@pytest.fixture(scope="module")
def manifest(version):
    """As it was before the export."""
    before = {"saved_model_largest_logit_difference": 0.0}
    return dataclasses.replace(version.manifest, engine={}, golden_texts=(), parity=before)


@pytest.fixture
def exported(version, tokenizer, manifest, texts, tmp_path):
    """Export a SavedModel, by default that of the version: (manifest, predictor of the new version)."""

    def run(saved_model=version.path / "saved_model", **changes):
        with ModelStore(tmp_path / "model").new_version() as draft:
            arguments = {"tokenizer": tokenizer, "manifest": manifest, "texts": texts} | changes
            draft.manifest = export_engine(saved_model, folder=draft.path / "engine", **arguments).manifest
        new = ModelStore(tmp_path / "model").open(draft.id)
        return new.manifest, predictor_of_version(new, threads=1)

    return run


def gate(refusals):
    """A gate that refuses the first so many forms, whatever they answer."""
    forms = itertools.count()
    return lambda figures: ["forged"] if next(forms) < refusals else []


def outputs_of(predictor, texts):
    """(logits, embeddings) of texts."""
    outputs = predictor.run(predictor.encode(list(texts)))
    return outputs.logits, outputs.embeddings


@pytest.fixture(scope="module")
def original(version, tokenizer):
    """What the SavedModel gives: texts -> (logits, embeddings)."""
    model = tf.saved_model.load(str(version.path / "saved_model"))

    def answer(texts):
        logits, embeddings = [], []
        for text in tokenizer(texts):
            ids = tf.constant([text.ids], tf.int32)
            outputs = model.signatures["classify_ids"](input_word_ids=ids, input_mask=tf.ones_like(ids))
            logits.append(outputs["logits"].numpy()[0])
            embeddings.append(outputs["embeddings"].numpy()[0])
        return np.array(logits), np.array(embeddings)

    return answer


# --- what a training saves


def test_the_engine_holds_all_that_serving_needs_and_nothing_else(version):
    names = {path.name for path in version.part("engine").iterdir()}
    assert names == {"model.xml", "model.bin", "vocab.txt", "tokenizer.json", "unusual.npz"}
    assert {f"engine/{name}" for name in names} <= set(version.manifest.files)
    assert version.part("engine").joinpath("vocab.txt").read_text("utf-8").splitlines() == vocabulary()
    settings = json.loads(version.part("engine").joinpath("tokenizer.json").read_text("utf-8"))
    assert settings == {
        "lower_case": True,
        "max_length": 32,
        "truncation": "head",
        "head_fraction": 0.25,
        "windows": 1,
        "normalisation": "tensorflow-text",
    }


def test_the_manifest_says_how_the_engine_came_about(version, data):
    engine, figures = version.manifest.engine, version.manifest.parity["engine"]
    assert set(engine) == {
        "precision", "graph", "refused", "golden_logits", "golden_float_logits", "golden_tolerance",
    }  # fmt: skip
    assert (engine["precision"], engine["graph"], engine["refused"]) == ("int8", "built", [])
    assert version.manifest.golden_texts == GOLDEN_TEXTS
    assert np.shape(engine["golden_logits"]) == np.shape(engine["golden_float_logits"]) == (len(GOLDEN_TEXTS), 2)
    assert 0 < engine["golden_tolerance"] < 1
    assert set(figures) == {field.name for field in dataclasses.fields(Parity)}
    assert figures["texts"] == len(data.validation_calibrate) + len(data.validation_select)
    assert parity_failures(Parity(**figures)) == []
    # And what was there before stays.
    assert version.manifest.parity["saved_model_largest_logit_difference"] < 1e-4


@pytest.mark.slow
def test_parity_is_what_a_comparison_of_both_finds(version, data, engine_only, saved_model_only):
    # The training was fitted to neither half of the validation texts, so that both are compared.
    halves = (data.validation_calibrate, data.validation_select)
    texts = [text for half in halves for text in half.texts]
    labels = np.concatenate([half.labels for half in halves])
    manifest = version.manifest
    answers = []
    for path in (saved_model_only, engine_only):
        batch = Inference(path).predictor.predict_batch(texts)
        answers.append((batch.predicted, batch.outputs.logits))
    clearness = margins(softmax(answers[0][1], manifest.temperature), manifest.threshold)
    found = parity(labels, *answers, clearness).to_dict()
    assert manifest.parity["engine"] == pytest.approx(found, abs=TOLERANCE)


def test_golden_logits_are_the_engines(version):
    engine = load_engine(version, 1)
    logits, _ = outputs_of(Predictor(engine, version.manifest.class_names), GOLDEN_TEXTS)
    np.testing.assert_allclose(logits, version.manifest.engine["golden_logits"], atol=TOLERANCE)


def test_golden_texts_cover_what_tells_engines_apart(tokenizer):
    lengths = [text.length for text in tokenizer(GOLDEN_TEXTS)]
    assert max(lengths) > 200  # Cut, whatever max_length is; and short ones.
    assert min(lengths) <= 4
    assert any(not text.isascii() for text in GOLDEN_TEXTS)


def test_int8_answers_as_the_saved_model_does(data, engine_only, saved_model_only, original):
    texts = list(data.test.texts)
    engine, saved_model = (Inference(path).predictor for path in (engine_only, saved_model_only))
    ours, theirs = engine.predict_batch(texts), saved_model.predict_batch(texts)
    for key in ("label", "text", "truncated", "tokens"):
        found, expected = ([getattr(each, key) for each in batch.predictions] for batch in (ours, theirs))
        assert found == expected
    # A tiny encoder, in 8 bits; an untrained one is off by whole units.
    differences = np.abs(ours.outputs.logits - theirs.outputs.logits)
    assert np.median(differences) < 0.05
    embeddings = outputs_of(engine, texts)[1]
    assert np.median(np.abs(embeddings - original(texts)[1])) < 0.05
    assert outputs_of(saved_model, texts)[1] is None


# --- the gate


@pytest.mark.parametrize(
    ("refused", "precision", "weight_bytes", "tolerance"),
    [
        pytest.param(["int8"], "bfloat16", 2, 0.05, marks=pytest.mark.slow),
        (["int8", "bfloat16"], "float32", 4, TOLERANCE),
    ],
)
@pytest.mark.usefixtures("_coarse_quantising")
def test_a_form_that_fails_the_gate_gives_way_to_the_next(
    exported, monkeypatch, data, original, tmp_path, refused, precision, weight_bytes, tolerance
):
    monkeypatch.setattr("textclf.graph.engine_files.parity_failures", gate(len(refused)))
    manifest, predictor = exported()
    assert (manifest.engine["precision"], manifest.engine["graph"]) == (precision, "built")
    assert manifest.engine["refused"] == [f"{form}: forged" for form in refused]
    assert manifest.parity["engine"]["largest_logit_difference"] < tolerance
    # Only the last form is left on disk, and the answers are its own.
    (stored,) = tmp_path.rglob("model.bin")
    assert weight_bytes * WEIGHTS < stored.stat().st_size < weight_bytes * WEIGHTS + 4000
    for found, expected in zip(outputs_of(predictor, data.test.texts), original(data.test.texts), strict=True):
        np.testing.assert_allclose(found, expected, atol=tolerance)


@pytest.mark.usefixtures("_coarse_quantising")
def test_the_gates_thresholds_decide(exported, monkeypatch):
    """An accuracy that may not even stay the same refuses every form, each with figures of its own."""
    monkeypatch.setattr("textclf.stats.parity._MAX_ACCURACY_LOST", -0.5)
    monkeypatch.setattr("textclf.stats.parity._MAX_TEXTS_LOST", -12)
    with pytest.raises(TrainingError) as caught:
        exported()
    for precision in ("int8", "bfloat16", "float32"):
        assert f"{precision}: accuracy fell by 0.00% on 24 texts; at most -50.00% is allowed" in str(caught.value)


@pytest.mark.usefixtures("_coarse_quantising")
def test_logits_that_are_no_numbers_give_way_too(exported, monkeypatch):
    monkeypatch.setattr(
        export, "quantise",
        lambda weights, *_: build_graph({**weights, "classifier/bias": np.full(2, np.nan, np.float32)}),
    )  # fmt: skip
    manifest, _ = exported()
    assert manifest.engine["precision"] == "bfloat16"
    (reason,) = manifest.engine["refused"]
    assert re.match("int8: .*not finite", reason)


@pytest.mark.slow
@pytest.mark.usefixtures("_coarse_quantising")
def test_when_every_form_fails_there_is_no_version(trained, monkeypatch, tmp_path):
    training, _ = trained
    monkeypatch.setattr("textclf.graph.engine_files.parity_failures", gate(3))
    reasons = "int8: forged; bfloat16: forged; float32: forged; nothing was saved"
    with pytest.raises(TrainingError, match=f"predicts as the trained model does, found: {reasons}"):
        training.save_model(tmp_path / "model")
    assert ModelStore(tmp_path / "model").version_ids() == []
    assert list((tmp_path / "model" / "versions").iterdir()) == []
    assert ModelStore(tmp_path / "model").current_id() is None


# --- encoders that the graph builder does not know


def resaved(version, folder, rename=lambda name: name, change=0.0, signatures=None):
    """The version's SavedModel saved once more, with other variables beside the same functions."""
    loaded = tf.saved_model.load(str(version.path / "saved_model"))
    module = tf.Module()
    module.loaded = loaded
    module.weights = [
        tf.Variable(variable + change, name=rename(variable.name.removesuffix(":0")))
        if variable.dtype == tf.float32 else variable
        for variable in loaded.weights
    ]  # fmt: skip
    names = signatures or list(loaded.signatures)
    tf.saved_model.save(module, str(folder), signatures={name: loaded.signatures[name] for name in names})
    return folder


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"rename": lambda name: name.replace("transformer/", "encoder/")}, "no 'transformer/layer_0/self_attention"),
        # Names and shapes that are known, and a computation that is not: an unknown activation looks like that.
        pytest.param({"change": 0.1}, r"with every known activation its outputs differ by \d", marks=pytest.mark.slow),
    ],
    ids=["names", "computation"],
)
def test_another_encoder_is_converted_and_said_to_be(exported, version, data, original, tmp_path, changes, reason):
    manifest, predictor = exported(resaved(version, tmp_path / "other", **changes))
    assert (manifest.engine["precision"], manifest.engine["graph"]) == ("float32", "converted")
    (refused,) = manifest.engine["refused"]
    assert re.match(rf"int8: the graph can't be built for this encoder, only converted \({reason}", refused)
    texts = data.test.texts
    for found, expected in zip(outputs_of(predictor, texts), original(texts), strict=True):
        np.testing.assert_allclose(found, expected, atol=TOLERANCE)
    assert parity_failures(Parity(**manifest.parity["engine"])) == []
    # Padding, which the graph has to find by itself, changes nothing.
    logits, _ = outputs_of(predictor, ["good"])
    together, _ = outputs_of(predictor, ["good", "the film " * 12])
    np.testing.assert_allclose(together[0], logits[0], atol=TOLERANCE)


@pytest.mark.slow
def test_without_a_signature_for_ids_it_can_be_neither_built_nor_converted(exported, version, tmp_path):
    other = resaved(
        version, tmp_path / "other", rename=lambda name: name.replace("transformer/", "encoder/"),
        signatures=["serving_default", "token_counts"],
    )  # fmt: skip
    with pytest.raises(TrainingError, match=r"nor converted from a SavedModel without the signature classify_ids"):
        exported(other)
    assert ModelStore(tmp_path / "model").version_ids() == []


# --- which texts


@pytest.mark.slow
def test_calibration_sees_so_many_different_training_texts_and_the_gate_so_many_others(
    exported, monkeypatch, tokenizer, data
):
    monkeypatch.setattr(export, "_CALIBRATION_TEXTS", 5)
    monkeypatch.setattr(export, "_PARITY_TEXTS", 10)
    monkeypatch.setattr("textclf.graph.engine_files.parity_failures", gate(0))
    seen = []
    quantise = export.quantise

    def remembering(weights, form, ids):
        seen.append([tuple(text) for text in ids])
        return quantise(weights, form, ids)

    monkeypatch.setattr(export, "quantise", remembering)
    texts = EngineTexts(data.train.texts, data.validation_calibrate)
    assert len(data.validation_calibrate) > 10
    first, _ = exported(texts=texts)
    assert first.parity["engine"]["texts"] == 10
    (ids,) = seen
    assert len(set(ids)) == len(ids) == 5
    assert set(ids) <= {tuple(text.ids) for text in tokenizer(data.train.texts)}


def test_the_choice_of_texts_is_at_random_in_order_and_the_same_for_a_seed():
    chosen = [export._chosen(50, 20, np.random.default_rng(seed)).tolist() for seed in (1, 1, 2)]
    assert chosen[0] == chosen[1] != chosen[2]
    for rows in chosen:
        assert len(set(rows)) == 20
        assert rows == sorted(rows)
    assert export._chosen(50, 50, np.random.default_rng(1)).tolist() == list(range(50))


# --- the tokenizer


@pytest.fixture(scope="module")
def preprocessing(version):
    return TextPreprocessing(version.path / "saved_model", 32)


def test_a_tokenizer_that_gives_the_same_ids_is_taken(preprocessing, tokenizer, data):
    found = checked_tokenizer(preprocessing, data.test.texts)
    assert found.vocabulary == tokenizer.vocabulary
    assert found.settings == tokenizer.settings


@pytest.mark.parametrize("setting", [{"lower_case": False}, {"truncation": "head+tail"}, {"max_length": 31}])
def test_a_tokenizer_that_gives_others_is_refused(preprocessing, tokenizer, monkeypatch, setting):
    """Each setting shows in the golden texts at least."""
    settings = {**tokenizer.settings.to_dict(), **setting}
    other = Tokenizer(tokenizer.vocabulary, **settings)
    monkeypatch.setattr(export, "tokenizer_of_preprocessing", lambda *_: other)
    with pytest.raises(TrainingError, match=r"gives other ids than the preprocessing .* on \d of 8 texts; nothing was"):
        checked_tokenizer(preprocessing, [])


def test_a_training_with_a_tokenizer_that_differs_saves_nothing(trained, tokenizer, monkeypatch, tmp_path):
    other = Tokenizer(tokenizer.vocabulary, **{**tokenizer.settings.to_dict(), "lower_case": False})
    monkeypatch.setattr(export, "tokenizer_of_preprocessing", lambda *_: other)
    with pytest.raises(TrainingError, match="the tokenizer that serves gives other ids"):
        trained[0].save_model(tmp_path / "model")
    assert list((tmp_path / "model" / "versions").iterdir()) == []


# --- again


@pytest.fixture
def store(version, tmp_path):
    shutil.copytree(version.path.parent.parent, tmp_path / "store")
    return ModelStore(tmp_path / "store")


def again(reviews, **options):
    return Training(dataset_path=str(reviews), **options)


@pytest.mark.slow
@pytest.mark.usefixtures("_coarse_quantising")
def test_a_version_is_exported_again_as_its_child(store, version, reviews, monkeypatch, capsys):
    path = again(reviews).export_again(store.path)
    child = open_model(path)
    child.verify()
    assert child.manifest.parent == version.id == store.current_id()
    same = ("name", "class_names", "temperature", "metrics", "data", "training", "max_length", "encoder")
    for field in same:
        assert getattr(child.manifest, field) == getattr(version.manifest, field)
    parts = {path.split("/")[0] for path in child.manifest.files}
    assert parts == {"saved_model", "engine", "reference.npz", "plots", "evaluation.json"}
    assert "engine/unusual.npz" in child.manifest.files
    assert child.manifest.unusual["texts"] == 24
    for name, digest in version.manifest.files.items():
        if name.startswith(("saved_model/", "plots/")):
            assert child.manifest.files[name] == digest
    assert (
        "engine:        int8, the label of the SavedModel on 100.00% of 48 texts, accuracy 1.0000 -> 1.0000"
        in capsys.readouterr().out
    )
    promoted = again(reviews).export_again(store.path, child.id, promote=True)
    assert store.current_id() == promoted.name
    assert open_model(promoted).manifest.parent == child.id


def test_other_data_are_refused(store, tmp_path, reviews):
    shutil.copytree(reviews, tmp_path / "other")
    next((tmp_path / "other" / "train" / "pos").iterdir()).write_text("another good text", encoding="utf-8")
    with pytest.raises(TrainingError, match=r"expected the data that version .* was trained on"):
        again(tmp_path / "other").export_again(store.path)
    assert len(store.version_ids()) == 1


def test_data_that_earlier_software_read_otherwise_is_named(store, tmp_path, reviews):
    path = store.open().path / "manifest.json"
    manifest = json.loads(path.read_text(encoding="utf-8"))
    del manifest["data"]["options"]["equal_texts"], manifest["data"]["options"]["read_validation"]
    path.write_text(json.dumps(manifest), encoding="utf-8")
    shutil.copytree(reviews, tmp_path / "other")
    deep = tmp_path / "other" / "train" / "pos" / "deep"
    deep.mkdir()
    (deep / "a.txt").write_text("another good text", encoding="utf-8")
    with pytest.raises(TrainingError, match=r"move away what earlier software did not read: .* subfolders"):
        again(tmp_path / "other").export_again(store.path)


def test_a_version_without_its_saved_model_has_nothing_to_export(store, reviews):
    shutil.rmtree(store.open().path / "saved_model")
    with pytest.raises(ModelStoreError, match="expected the part 'saved_model'"):
        again(reviews).export_again(store.path)
    assert len(store.version_ids()) == 1
