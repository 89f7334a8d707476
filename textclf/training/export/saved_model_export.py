"""Exports a trained classifier as a SavedModel: string -> logits and calibrated probabilities.

Signatures (B texts, K classes):
    serving_default(text: string [B]) -> {logits float32 [B, K], probabilities float32 [B, K]}
    token_counts(text: string [B]) -> {token_counts int32 [B]}: wordpieces before truncation, including [CLS] and [SEP]
    classify_ids(input_word_ids, input_mask: int32 [B, S]) -> {logits float32 [B, K], embeddings float32 [B, H]}: the
        part after the tokenizer; embeddings are the input of the classification layer
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from textclf.errors import TrainingError
from textclf.training.classifier import ENCODER_INPUTS, ids_classifier
from textclf.training.encoders.preprocessing import TextPreprocessing
from textclf.training.graphs import graph_function
from textclf.training.tf_setup import tf, tf_keras

IDS_SIGNATURE = "classify_ids"
_TEXTS = tf.TensorSpec([None], tf.string, name="text")


def export_saved_model(
    classifier: tf_keras.Model, preprocessing: TextPreprocessing, temperature: float, folder: Path
) -> None:
    """Write the classifier (strings [B] -> logits [B, K]) as a SavedModel into `folder`.

    Raises:
        TrainingError: if it can't be written, for example because the disk is full.
    """
    from_ids = ids_classifier(classifier, with_embeddings=True)

    # `score` calls this graph: with a second copy the model would take twice as long to load.
    @graph_function(
        tf.TensorSpec([None, None], tf.int32, name="input_word_ids"),
        tf.TensorSpec([None, None], tf.int32, name="input_mask"),
    )
    def classify_ids(input_word_ids: tf.Tensor, input_mask: tf.Tensor) -> dict[str, tf.Tensor]:
        inputs = (input_word_ids, input_mask, tf.zeros_like(input_word_ids))
        outputs = from_ids(dict(zip(ENCODER_INPUTS, inputs, strict=True)), training=False)
        return {name: tf.cast(output, tf.float32) for name, output in outputs.items()}

    @graph_function(_TEXTS)
    def score(text: tf.Tensor) -> dict[str, tf.Tensor]:
        inputs = preprocessing(text)
        logits = classify_ids(inputs["input_word_ids"], inputs["input_mask"])["logits"]
        return {"logits": logits, "probabilities": tf.nn.softmax(logits / temperature)}

    @graph_function(_TEXTS)
    def count_tokens(text: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"token_counts": preprocessing.token_counts(text)}

    # Save only what the functions depend on. With the layers TensorFlow would also save all their functions, and
    # loading would take three times as long.
    model = tf.Module()
    model.weights, model.tokenizer = classifier.variables, preprocessing.tokenizer
    signatures = {"serving_default": score, "token_counts": count_tokens, IDS_SIGNATURE: classify_ids}
    try:
        tf.saved_model.save(model, str(folder), signatures=signatures)
    except tf.errors.OpError as error:
        raise TrainingError(
            f"{folder}: the model can't be saved ({error.message[:200]}); free some space, then give the same command "
            f"again: the training itself is kept"
        ) from error


def largest_logit_difference(folder: Path, texts: Sequence[str], expected: np.ndarray) -> float:
    """Largest absolute difference between the logits of the SavedModel in `folder` and `expected` [texts, K]."""
    score = tf.saved_model.load(str(folder)).signatures["serving_default"]
    return float(np.abs(score(text=tf.constant(texts))["logits"].numpy() - expected).max())
