"""A trained classifier as a SavedModel: string -> logits and calibrated probabilities.

Signatures (B texts, K classes):
    serving_default(text: string [B]) -> {logits float32 [B, K], probabilities float32 [B, K]}
    token_counts(text: string [B]) -> {token_counts int32 [B]}: wordpieces before truncation, [CLS] and [SEP] included
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from textclf.errors import TrainingError
from textclf.training.graphs import graph_function
from textclf.training.preprocessing import TextPreprocessing
from textclf.training.tf_setup import tf, tf_keras

_TEXTS = tf.TensorSpec([None], tf.string, name="text")


def export_saved_model(
    classifier: tf_keras.Model, preprocessing: TextPreprocessing, temperature: float, folder: Path
) -> None:
    """Write the classifier (strings [B] -> logits [B, K]) as a SavedModel into `folder`.

    Raises:
        TrainingError: it can't be written, because the disk is full, say.
    """

    @graph_function(_TEXTS)
    def score(text: tf.Tensor) -> dict[str, tf.Tensor]:
        logits = tf.cast(classifier(text, training=False), tf.float32)
        return {"logits": logits, "probabilities": tf.nn.softmax(logits / temperature)}

    @graph_function(_TEXTS)
    def count_tokens(text: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"token_counts": preprocessing.token_counts(text)}

    # Only what the two functions depend on: with the layers themselves TensorFlow would also save all their own
    # functions, those for training too, and the model would take three times as long to load.
    model = tf.Module()
    model.weights, model.tokenizer = classifier.variables, preprocessing.tokenizer
    try:
        tf.saved_model.save(model, str(folder), signatures={"serving_default": score, "token_counts": count_tokens})
    except tf.errors.OpError as error:
        raise TrainingError(
            f"{folder}: the model can't be saved ({error.message[:200]}); free some space, then give the same command "
            f"again: the training itself is kept"
        ) from error


def largest_logit_difference(folder: Path, texts: Sequence[str], expected: np.ndarray) -> float:
    """Largest absolute difference between the logits of the SavedModel in `folder` and `expected` [texts, K]."""
    score = tf.saved_model.load(str(folder)).signatures["serving_default"]
    return float(np.abs(score(text=tf.constant(texts))["logits"].numpy() - expected).max())
