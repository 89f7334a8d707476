"""A tiny real Keras model and data for tests of the fitting loop: which words a text has, without an encoder."""

import numpy as np

from textclf.training.classifier import ENCODER_INPUTS
from textclf.training.fitting import LabelledIds
from textclf.training.preprocessing import TokenizedTexts
from textclf.training.tf_setup import tf, tf_keras

WORDS = 20


def word_classifier(classes: int = 2, seed: int = 0, width: int = 4) -> tf_keras.Model:
    """{ENCODER_INPUTS} int32 [B, S] -> logits [B, classes]: mean of the words' embeddings, one dense layer."""
    tf_keras.utils.set_random_seed(seed)
    inputs = {name: tf_keras.Input((None,), dtype=tf.int32, name=name) for name in ENCODER_INPUTS}
    embedded = tf_keras.layers.Embedding(WORDS, width, name="words")(inputs["input_word_ids"])
    mean = tf_keras.layers.GlobalAveragePooling1D()(embedded, mask=tf.cast(inputs["input_mask"], tf.bool))
    return tf_keras.Model(inputs, tf_keras.layers.Dense(classes, name="classifier")(mean))


def labelled_words(labels: list[int], words: list[int] | None = None, seed: int = 0) -> LabelledIds:
    """Texts of 4 … 8 words: some from 10 … 19, which say nothing, and one that does: by default word 1 + label."""
    random = np.random.default_rng(seed)
    telling = [1 + label for label in labels] if words is None else words
    texts = [np.append(random.integers(10, WORDS, random.integers(3, 8)), word) for word in telling]
    offsets = np.concatenate([[0], np.cumsum([len(text) for text in texts])]).astype(np.int64)
    ids = TokenizedTexts(np.concatenate(texts).astype(np.int32), offsets, np.zeros(len(texts), bool))
    return LabelledIds(ids, np.array(labels, np.int32))
