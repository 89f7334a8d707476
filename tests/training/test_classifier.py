"""The classifier's layers, the encoder that it can't use, and how it is drawn."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from textclf.errors import EncoderError
from textclf.training.classifier import (
    build_classifier,
    ids_classifier,
    ids_encoder,
    layers_of,
    load_encoder,
    pooling_of,
)
from textclf.training.encoders import resolve as encoders
from textclf.training.encoders.preprocessing import TextPreprocessing
from textclf.training.tf_setup import tf


@pytest.fixture(scope="module")
def folders(tiny_checkpoint) -> encoders.EncoderFolders:
    return encoders.resolve("tiny", str(tiny_checkpoint), "")


@pytest.fixture(scope="module")
def preprocessing(folders) -> TextPreprocessing:
    return TextPreprocessing(folders.preprocessing, max_length=16, name="preprocessing")


@pytest.fixture(scope="module")
def classifier(folders, preprocessing):
    return build_classifier(preprocessing, load_encoder(folders.encoder, 16), num_classes=3, dropout=0.5)


def test_ids_classifier_shares_the_layers(classifier, preprocessing):
    texts = tf.constant(["the film was good", "bad", ""])
    assert pooling_of(classifier) == "cls"
    ids_model = ids_classifier(classifier)
    logits = classifier(texts)
    assert logits.shape == (3, 3)
    np.testing.assert_array_equal(ids_model(preprocessing(texts)), logits)
    # 2 layers of 16 variables, 5 of the embeddings, 2 of the pooler, 2 of the classification layer.
    assert len(ids_model.trainable_variables) == len(classifier.trainable_variables) == 2 * 16 + 5 + 2 + 2
    kernel = classifier.get_layer("classifier").kernel
    kernel.assign(2 * kernel)
    np.testing.assert_array_equal(ids_model(preprocessing(texts)), classifier(texts))
    assert np.abs(classifier(texts) - logits).max() > 0


def test_mean_pooling_is_the_mean_over_the_tokens_of_a_text(folders, preprocessing):
    encoder = load_encoder(folders.encoder, 16)
    classifier = build_classifier(preprocessing, encoder, num_classes=3, dropout=0.5, pooling="mean")
    assert pooling_of(classifier) == "mean"
    texts = tf.constant(["the film was good", "bad", ""])
    inputs = preprocessing(texts)
    outputs, lengths = encoder(inputs)["sequence_output"].numpy(), inputs["input_mask"].numpy().sum(axis=1)
    assert len(set(lengths)) == 3
    expected = np.stack([rows[:length].mean(axis=0) for rows, length in zip(outputs, lengths, strict=True)])
    np.testing.assert_allclose(ids_encoder(classifier)(inputs), expected, rtol=1e-5, atol=1e-6)
    kernel, bias = classifier.get_layer("classifier").get_weights()
    both = ids_classifier(classifier, with_embeddings=True)(inputs)
    np.testing.assert_allclose(both["embeddings"], expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(both["logits"], expected @ kernel + bias, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(classifier(texts), both["logits"])
    assert "mean_pooling" in {layer.name for layer in layers_of(classifier)}


def test_dropout_acts_in_training_only(classifier):
    texts = tf.constant(["the film was good"])
    np.testing.assert_array_equal(classifier(texts), classifier(texts))
    assert np.abs(classifier(texts, training=True) - classifier(texts, training=True)).max() > 0


def test_gradients_reach_every_encoder_variable(classifier, preprocessing):
    ids_model = ids_classifier(classifier)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(ids_model(preprocessing(tf.constant(["the film was good", "a dull plot"]))) ** 2)
    gradients = tape.gradient(loss, ids_model.trainable_variables)
    names = [v.name for v, g in zip(ids_model.trainable_variables, gradients, strict=True) if g is None]
    assert names == []


def test_layers_to_draw(classifier):
    ids_classifier(classifier)  # Shares the layers, but its inputs are none of this model's.
    boxes = {layer.name: layer for layer in layers_of(classifier)}
    assert list(boxes) == ["text", "preprocessing", "bert_encoder", "dropout", "classifier"]
    assert [box.parents for box in boxes.values()] == [
        (),
        ("text",),
        ("preprocessing",),
        ("bert_encoder",),
        ("dropout",),
    ]
    assert boxes["classifier"].shape == "(None, 3)"
    assert boxes["bert_encoder"].shape.splitlines() == [
        "pooled_output (None, 32)",
        "sequence_output (None, None, 32)",
    ]
    assert len(boxes["preprocessing"].shape.splitlines()) == 3


def damaged_copy(encoder: Path, target: Path, name: str, content: bytes | None) -> Path:
    shutil.copytree(encoder, target)
    path = next(target.rglob(name))
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)
    return target


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("saved_model.pb", b"not a protocol buffer"),
        ("saved_model.pb", b""),
        ("variables.index", None),
        ("variables.data-*", b"short"),
    ],
)
def test_damaged_encoder(folders, tmp_path, monkeypatch, name, content):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    folder = damaged_copy(folders.encoder, tmp_path / "damaged", name, content)
    with pytest.raises(EncoderError, match=r"expected a TF-Hub BERT encoder .*; check the encoder's handle") as caught:
        load_encoder(folder, 16)
    assert str(folder) in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["damaged"]  # No copy is left behind.


def test_preprocessing_or_classifier_in_the_place_of_the_encoder(folders, tmp_path):
    module = tf.Module()
    module.double = tf.function(lambda x: 2 * x, input_signature=[tf.TensorSpec([None], tf.float32)])
    tf.saved_model.save(module, str(tmp_path / "other"))
    for folder in (folders.preprocessing, tmp_path / "other", tmp_path / "missing"):
        with pytest.raises(EncoderError, match="with the inputs input_word_ids, input_mask, input_type_ids and the"):
            load_encoder(folder, 16)


@pytest.mark.slow
def test_encoder_that_can_not_read_what_it_is_to_be_given(folders):
    assert load_encoder(folders.encoder, max_length=64, vocabulary_size=200)
    with pytest.raises(EncoderError, match=r"max_length: expected at most 64, the longest text .*, got 65"):
        load_encoder(folders.encoder, max_length=65)
    with pytest.raises(EncoderError, match="knows 200 wordpieces, its preprocessing gives 201; they do not belong"):
        load_encoder(folders.encoder, max_length=64, vocabulary_size=201)
