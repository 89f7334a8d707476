"""A trained classifier as a SavedModel: string -> logits and calibrated probabilities.

Signatures (B texts, K classes):
    serving_default(text: string [B]) -> {logits float32 [B, K], probabilities float32 [B, K]}
    token_counts(text: string [B]) -> {token_counts int32 [B]}: wordpieces before truncation, [CLS] and [SEP] included
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from textclf.training.graphs import graph_function
from textclf.training.preprocessing import TextPreprocessing
from textclf.training.tf_setup import tf, tf_keras

_TEXTS = tf.TensorSpec([None], tf.string, name="text")


class _ServedClassifier(tf.Module):  # type: ignore[misc]
    """What is saved: the classifier, with softmax(logits / temperature) as its last step."""

    def __init__(self, classifier: tf_keras.Model, preprocessing: TextPreprocessing, temperature: float) -> None:
        super().__init__()
        self.classifier = classifier
        self.preprocessing = preprocessing
        self.temperature = tf.constant(temperature, tf.float32)

    @graph_function(_TEXTS)
    def score(self, text: tf.Tensor) -> dict[str, tf.Tensor]:
        logits = tf.cast(self.classifier(text, training=False), tf.float32)
        return {"logits": logits, "probabilities": tf.nn.softmax(logits / self.temperature)}

    @graph_function(_TEXTS)
    def count_tokens(self, text: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"token_counts": self.preprocessing.token_counts(text)}


def export_saved_model(
    classifier: tf_keras.Model, preprocessing: TextPreprocessing, temperature: float, folder: Path
) -> None:
    """Write the classifier (strings [B] -> logits [B, K]) as a SavedModel into `folder`."""
    module = _ServedClassifier(classifier, preprocessing, temperature)
    tf.saved_model.save(
        module, str(folder), signatures={"serving_default": module.score, "token_counts": module.count_tokens}
    )


def largest_logit_difference(folder: Path, texts: Sequence[str], expected: np.ndarray) -> float:
    """Largest absolute difference between the logits of the SavedModel in `folder` and `expected` [texts, K]."""
    score = tf.saved_model.load(str(folder)).signatures["serving_default"]
    return float(np.abs(score(text=tf.constant(texts))["logits"].numpy() - expected).max())
