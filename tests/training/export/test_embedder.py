"""The embedder against the encoder that it is made of, and encoders that it refuses."""

import numpy as np
import pytest

from textclf.encoder_handles import handles_of
from textclf.errors import EncoderError
from textclf.runtime.backend import Timings
from textclf.training.encoders import resolve as encoders
from textclf.training.export import activation_search
from textclf.training.export.embedder import load_embedder, tokenizer_of_encoder
from textclf.training.tf_setup import tf

TEXTS = ["the film was great", "dull, flat and boring !", "a"]


@pytest.mark.slow
def test_embeddings_are_the_means_of_the_encoder(tiny_checkpoint):
    engine = load_embedder(str(tiny_checkpoint), 32)
    assert tokenizer_of_encoder(str(tiny_checkpoint), 32)(TEXTS) == engine.tokenizer(TEXTS)
    encoded = engine.encode(TEXTS)
    found = engine.run(encoded.inputs, Timings()).logits
    handles = handles_of(str(tiny_checkpoint))
    folders = encoders.resolve(handles.model_name, handles.name_to_handle, handles.model_to_handle)
    encoder = tf.saved_model.load(str(folders.encoder))
    for row, ids in zip(found, encoded.inputs, strict=True):
        words = tf.constant([ids], tf.int32)
        outputs = encoder(
            {"input_word_ids": words, "input_mask": tf.ones_like(words), "input_type_ids": tf.zeros_like(words)},
            training=False,
        )
        np.testing.assert_allclose(row, outputs["sequence_output"][0].numpy().mean(axis=0), atol=1e-4)


def test_an_encoder_with_other_outputs_is_refused(tiny_checkpoint, monkeypatch):
    monkeypatch.setattr(activation_search, "ACTIVATIONS", ("relu",))
    with pytest.raises(EncoderError, match=r"its outputs differ by .* --no-embeddings"):
        load_embedder(str(tiny_checkpoint), 32)
