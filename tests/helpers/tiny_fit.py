"""Tiny Keras models on words, and data, for tests of the training loop."""

from collections.abc import Mapping, Sequence

import numpy as np

from textclf.training.classifier import ENCODER_INPUTS
from textclf.training.encoders.preprocessing import TokenizedTexts
from textclf.training.fitting.training_loop import LabelledIds
from textclf.training.tf_setup import tf, tf_keras

# Words 10 … 19 occur in texts of every class and say nothing.
WORDS = 20
# So that a word in a text of four to eight weighs about 1 in their mean.
_SCALE = 6.0


def word_classifier(classes: int = 2, seed: int = 0, width: int = 4) -> tf_keras.Model:
    """{ENCODER_INPUTS} int32 [B, S] -> logits [B, classes]: mean of the words' embeddings, one dense layer."""
    tf_keras.utils.set_random_seed(seed)
    inputs = {name: tf_keras.Input((None,), dtype=tf.int32, name=name) for name in ENCODER_INPUTS}
    embedded = tf_keras.layers.Embedding(WORDS, width, name="words")(inputs["input_word_ids"])
    mean = tf_keras.layers.GlobalAveragePooling1D()(embedded, mask=tf.cast(inputs["input_mask"], tf.bool))
    return tf_keras.Model(inputs, tf_keras.layers.Dense(classes, name="classifier")(mean))


def linear_classifier(
    word_logits: Mapping[int, Sequence[float]] | None = None, bias: Sequence[float] = (0.0, 0.0)
) -> tf_keras.Model:
    """Return a fixed classifier: logits are the bias plus about word_logits[word] for each word of the text."""
    model = word_classifier(len(bias), width=WORDS)
    words, classifier = model.get_layer("words"), model.get_layer("classifier")
    words.set_weights([_SCALE * np.eye(WORDS, dtype=np.float32) * (np.arange(WORDS) < 10)])
    words.trainable = False
    kernel = np.zeros((WORDS, len(bias)), np.float32)
    for word, logits in (word_logits or {}).items():
        kernel[word] = logits
    classifier.set_weights([kernel, np.array(bias, np.float32)])
    return model


def labelled_words(labels: Sequence[int], words: Sequence[int] | None = None, seed: int = 0) -> LabelledIds:
    """Return texts of 4 to 8 words, one of which gives the label: words[i], by default 1 + label."""
    random = np.random.default_rng(seed)
    telling = [1 + label for label in labels] if words is None else words
    texts = [np.append(random.integers(10, WORDS, random.integers(3, 8)), word) for word in telling]
    offsets = np.concatenate([[0], np.cumsum([len(text) for text in texts])]).astype(np.int64)
    ids = TokenizedTexts(np.concatenate(texts).astype(np.int32), offsets, np.diff(offsets))
    return LabelledIds(ids, np.array(labels, np.int32))
