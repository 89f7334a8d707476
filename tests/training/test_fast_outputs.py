"""Outputs in bfloat16: equal to TensorFlow's except for rounding, and refused where they are not."""

from types import SimpleNamespace

import numpy as np
import pytest

from textclf.config import TrainingOptions
from textclf.data.splits import Split
from textclf.training.classifier import build_classifier, ids_classifier, ids_encoder, load_encoder
from textclf.training.encoders import resolve as encoders
from textclf.training.encoders.preprocessing import TextPreprocessing, tokenize_texts
from textclf.training.fast_outputs import BFLOAT16, FLOAT32, computation
from textclf.training.fitting.training_loop import ids_to_logits, predict_logits
from textclf.training.held_out import held_out_logits, held_out_texts

MANY = 1e9
# The tiny encoder's heads are 16 wide: lengths on both sides of 16, and 16.
TEXTS = ["good " * n for n in range(1, 15)] + ["a bad film , and the end is very bad indeed"]


@pytest.fixture(scope="module", params=["cls", "mean"])
def model(request, tiny_checkpoint):
    """A classifier of three classes and its preprocessing."""
    folders = encoders.resolve("tiny", str(tiny_checkpoint), "")
    preprocessing = TextPreprocessing(folders.preprocessing, max_length=24, name="preprocessing")
    classifier = build_classifier(preprocessing, load_encoder(folders.encoder, 24), 3, 0.0, request.param)
    random = np.random.default_rng(1)
    classifier.get_layer("classifier").set_weights([random.normal(0, 1, (32, 3)), random.normal(0, 1, 3)])
    return classifier, preprocessing


@pytest.mark.parametrize("of_means", [False, True])
def test_outputs_for_many_texts_are_those_of_tensorflow(model, of_means):
    classifier, preprocessing = model
    original = ids_to_logits(ids_encoder(classifier, "mean") if of_means else ids_classifier(classifier))
    found = computation(original, classifier, preprocessing, TEXTS, MANY, of_means)
    assert found.precision == BFLOAT16
    texts, padding_id = tokenize_texts(preprocessing, TEXTS), preprocessing.padding_id
    expected = predict_logits(original, texts, padding_id, "")
    # bfloat16 has 8 bits; a wrong activation or pooling differs by more.
    np.testing.assert_allclose(
        predict_logits(found.outputs, texts, padding_id, ""), expected, atol=0.03 * np.abs(expected).max()
    )


def test_few_texts_are_left_to_tensorflow(model):
    classifier, preprocessing = model
    original = ids_to_logits(ids_classifier(classifier))
    found = computation(original, classifier, preprocessing, TEXTS, 1000)
    assert (found.outputs, found.precision) == (original, FLOAT32)


def test_a_graph_with_other_outputs_is_refused(model):
    classifier, preprocessing = model
    logits = ids_to_logits(ids_classifier(classifier))

    def other(word_ids, mask):
        return np.asarray(logits(word_ids, mask)) + 1

    found = computation(other, classifier, preprocessing, TEXTS, MANY)
    assert (found.outputs, found.precision) == (other, FLOAT32)


@pytest.mark.parametrize(("select", "texts"), [("last", "abcdefghijklmnopqrst"), ("best", "abcdefghijkl")])
def test_held_out_logits_belong_to_held_out_texts(monkeypatch, select, texts):
    # The text's code as its logit; a sample of half the texts.
    monkeypatch.setattr("textclf.training.held_out._TEXTS", len(texts) // 2)
    names = {"validation_calibrate": "abcdefghijkl", "validation_select": "mnopqrst"}
    data = SimpleNamespace(splits={name: Split(tuple(of), np.arange(len(of)) % 2) for name, of in names.items()})
    logits = {name: np.array([[ord(text)] for text in of]) for name, of in names.items()}
    options = TrainingOptions(select=select)
    held_out = held_out_texts(data, options)
    assert set(held_out.texts) < set(texts)
    assert held_out_logits(logits, data, options)[:, 0].tolist() == [ord(text) for text in held_out.texts]
