"""The SavedModel of a trained version: its signatures, what they answer, and that they answer anywhere."""

import json
import os
import subprocess
import sys
import types

import numpy as np
import pytest

from inference import Inference
from make_model import MakeModel
from textclf.errors import TrainingError
from textclf.stats.calibration import softmax
from textclf.store.model_store import ModelStore, open_model
from textclf.training.encoders.preprocessing import tokenize_texts
from textclf.training.export import version_writer
from textclf.training.export.saved_model_export import largest_logit_difference, saved_model_logits
from textclf.training.tf_setup import tf

TEXTS = [
    "the film was great and lovely",
    "Awful, dull story!",
    "",
    "ünïcode ☃ 日本 <br /> it's",
    " ".join(["boring music and a brilliant actor"] * 12),
]
# The same sums in another order and another batch: a few units in the last place of float32, of logits around 1.
TOLERANCE = 2e-5

ELSEWHERE = """
import json, sys
import tensorflow as tf
import tensorflow_text
model = tf.saved_model.load(sys.argv[1])
texts = tf.constant(json.loads(sys.argv[2]))
answer = {**model.signatures["serving_default"](text=texts), **model.signatures["token_counts"](text=texts)}
ours = sorted({"textclf", "train_model", "tf_keras", "tensorflow_hub", "official"} & set(sys.modules))
print(json.dumps({"imported": ours, **{name: values.numpy().tolist() for name, values in answer.items()}}))
"""


@pytest.fixture(scope="module")
def version(trained):
    _, path = trained
    return open_model(path)


@pytest.fixture(scope="module")
def model(version):
    return tf.saved_model.load(str(version.path / "saved_model"))


@pytest.fixture(scope="module")
def score(model):
    def answer(texts):
        outputs = model.signatures["serving_default"](text=tf.constant(texts))
        return outputs["logits"].numpy(), outputs["probabilities"].numpy()

    return answer


def test_signatures_are_as_documented(model):
    assert set(model.signatures) == {"serving_default", "token_counts", "classify_ids"}
    for name in ("serving_default", "token_counts"):
        _, inputs = model.signatures[name].structured_input_signature
        assert {name: (spec.shape.as_list(), spec.dtype) for name, spec in inputs.items()} == {
            "text": ([None], tf.string)
        }
    outputs = model.signatures["serving_default"].structured_outputs
    assert {name: (spec.shape.as_list(), spec.dtype) for name, spec in outputs.items()} == {
        "logits": ([None, 2], tf.float32),
        "probabilities": ([None, 2], tf.float32),
    }
    (counts,) = model.signatures["token_counts"].structured_outputs.items()
    assert (counts[0], counts[1].shape.as_list(), counts[1].dtype) == ("token_counts", [None], tf.int32)
    classify = model.signatures["classify_ids"]
    _, inputs = classify.structured_input_signature
    assert {name: (spec.shape.as_list(), spec.dtype) for name, spec in inputs.items()} == {
        "input_word_ids": ([None, None], tf.int32),
        "input_mask": ([None, None], tf.int32),
    }
    outputs = classify.structured_outputs
    assert {name: (spec.shape.as_list(), spec.dtype) for name, spec in outputs.items()} == {
        "logits": ([None, 2], tf.float32),
        "embeddings": ([None, 32], tf.float32),
    }


@pytest.fixture(scope="module")
def ids_of_texts(trained):
    """Ids and mask of TEXTS, int32 [5, 32]."""
    options = trained[0].model_options
    maker = MakeModel("tiny-bert", options.name_to_handle, max_length=options.max_length)
    inputs = maker.select_model()(tf.constant(TEXTS))
    return inputs["input_word_ids"], inputs["input_mask"]


def test_ids_give_the_logits_of_their_texts(model, score, ids_of_texts):
    ids, mask = ids_of_texts
    outputs = model.signatures["classify_ids"](input_word_ids=ids, input_mask=mask)
    np.testing.assert_allclose(outputs["logits"].numpy(), score(TEXTS)[0], atol=TOLERANCE)


def test_embeddings_are_the_pooled_output_that_the_logits_are_made_of(model, trained, ids_of_texts):
    ids, mask = ids_of_texts
    outputs = model.signatures["classify_ids"](input_word_ids=ids, input_mask=mask)
    classifier = trained[0].classifier_model
    encoded = classifier.get_layer("bert_encoder")(
        {"input_word_ids": ids, "input_mask": mask, "input_type_ids": tf.zeros_like(ids)}
    )
    np.testing.assert_allclose(outputs["embeddings"].numpy(), encoded["pooled_output"].numpy(), atol=TOLERANCE)
    kernel, bias = (value.numpy() for value in classifier.get_layer("classifier").weights)
    np.testing.assert_allclose(outputs["embeddings"].numpy() @ kernel + bias, outputs["logits"].numpy(), atol=TOLERANCE)


def test_what_is_masked_does_not_matter(model, ids_of_texts):
    ids, mask = (values.numpy() for values in ids_of_texts)
    other = np.where(mask == 1, ids, 77)
    classify = model.signatures["classify_ids"]
    answers = [
        classify(input_word_ids=tf.constant(values), input_mask=tf.constant(mask))["logits"].numpy()
        for values in (ids, other)
    ]
    assert (ids != other).any()
    np.testing.assert_allclose(*answers, atol=TOLERANCE)


def test_probabilities_are_those_of_logits_over_temperature(score, version):
    temperature = version.manifest.temperature
    # Or the test would not see a temperature that is left out.
    assert abs(np.log(temperature)) > 0.01
    logits, probabilities = score(TEXTS)
    np.testing.assert_allclose(probabilities, softmax(logits, temperature), atol=1e-6)


def test_logits_are_those_of_the_trained_model(score, trained):
    training, _ = trained
    np.testing.assert_allclose(score(TEXTS)[0], training.classifier_model(tf.constant(TEXTS)).numpy(), atol=TOLERANCE)


def test_order_and_company_of_a_text_do_not_matter(score):
    together, _ = score(TEXTS)
    backwards, _ = score(TEXTS[::-1])
    np.testing.assert_allclose(backwards[::-1], together, atol=TOLERANCE)
    for text, logits in zip(TEXTS, together, strict=True):
        np.testing.assert_allclose(score([text])[0][0], logits, atol=TOLERANCE)


def test_token_counts_are_those_before_truncation(model, trained):
    training, _ = trained
    counts = model.signatures["token_counts"](text=tf.constant(TEXTS))["token_counts"].numpy()
    # Each word of the last text is one wordpiece; [CLS] and [SEP] come on top.
    assert counts.tolist()[:3] == [8, 7, 2]
    assert counts[4] == 6 * 12 + 2
    longest = training.model_options.max_length
    maker = MakeModel("tiny-bert", training.model_options.name_to_handle, max_length=longest)
    tokens = tokenize_texts(maker.select_model(), TEXTS)
    np.testing.assert_array_equal(np.minimum(counts, longest), tokens.lengths)
    np.testing.assert_array_equal(counts, tokens.whole_lengths)


@pytest.mark.slow
def test_it_answers_where_only_tensorflow_is_known(score, version):
    foreign = {name: value for name, value in os.environ.items() if name not in ("TF_USE_LEGACY_KERAS", "PYTHONPATH")}
    process = subprocess.run(
        [sys.executable, "-P", "-c", ELSEWHERE, str(version.path / "saved_model"), json.dumps(TEXTS)],
        capture_output=True,
        text=True,
        check=True,
        cwd="/",
        env=foreign,
        timeout=300,
    )
    answer = json.loads(process.stdout)
    logits, probabilities = score(TEXTS)
    assert answer["imported"] == []
    np.testing.assert_allclose(answer["logits"], logits, atol=TOLERANCE)
    np.testing.assert_allclose(answer["probabilities"], probabilities, atol=TOLERANCE)
    assert answer["token_counts"][0] == 8


def test_inference_without_an_engine_answers_the_same(score, version, saved_model_only):
    logits, _ = score(TEXTS)
    batch = Inference(saved_model_only).predictor.predict_batch(TEXTS)
    predictions = batch.predictions
    np.testing.assert_allclose(batch.outputs.logits, logits, atol=TOLERANCE)
    assert [prediction.truncated for prediction in predictions] == [False, False, False, False, True]
    great, awful = predictions[:2]
    assert (great.label, awful.label) == ("pos", "neg")
    expected = softmax(logits, version.manifest.temperature)
    assert great.probabilities == pytest.approx(dict(zip(("neg", "pos"), expected[0], strict=True)), abs=TOLERANCE)
    assert great.score == great.probabilities["pos"] > 0.5


def test_a_difference_is_seen(score, version):
    logits, _ = score(TEXTS)
    folder = version.path / "saved_model"
    assert largest_logit_difference(folder, TEXTS, logits, 1) <= TOLERANCE
    logits[3, 1] += 0.25
    assert largest_logit_difference(folder, TEXTS, logits, 1) == pytest.approx(0.25, abs=TOLERANCE)


@pytest.mark.parametrize(("windows", "sizes"), [(1, [16, 4]), (4, [4] * 5), (16, [1] * 20)])
def test_memory_is_bounded_for_texts_of_several_windows(windows, sizes):
    """Each text may have all windows; a batch has at most 16 of them."""
    found = []

    def serve(text):
        found.append(len(text))
        return {"logits": tf.strings.length(text)[:, None]}

    texts = ["x" * (length % 7) for length in range(20)]
    logits = saved_model_logits(types.SimpleNamespace(signatures={"serving_default": serve}), texts, windows)
    assert found == sizes
    assert logits[:, 0].tolist() == [len(text) for text in texts]


@pytest.mark.slow
def test_a_saved_model_that_answers_otherwise_is_not_kept(trained, tmp_path, monkeypatch):
    training, _ = trained
    monkeypatch.setattr(version_writer, "_LOGIT_TOLERANCE", -1.0)
    with pytest.raises(TrainingError, match=r"differ by .* nothing was saved"):
        training.save_model(tmp_path / "model")
    assert ModelStore(tmp_path / "model").version_ids() == []
    assert [path.name for path in (tmp_path / "model" / "versions").iterdir()] == []
