"""Exports a trained classifier as a SavedModel: string -> logits and calibrated probabilities.

Signatures (B texts, K classes):
    serving_default(text: string [B]) -> {logits float32 [B, K], probabilities float32 [B, K]}
    token_counts(text: string [B]) -> {token_counts int32 [B]}: wordpieces before truncation, including [CLS] and [SEP]
    classify_ids(input_word_ids, input_mask: int32 [B, S]) -> {logits float32 [B, K], embeddings float32 [B, H]}: the
        part after the tokenizer; embeddings are the input of the classification layer

A SavedModel has only the last one if its tokenizer runs outside of TensorFlow.

Logits of a text that is read in several windows are the means over its windows; classify_ids gets a window per row.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from textclf.errors import ModelStoreError, TrainingError
from textclf.tokenization.text_tokenizer import TextTokenizer
from textclf.tokenization.windows import means_of_windows
from textclf.training.classifier import ENCODER_INPUTS, ids_classifier, mean_of_windows
from textclf.training.encoders.preprocessing import WINDOWS, TextPreprocessing
from textclf.training.graphs import graph_function
from textclf.training.tf_setup import tf, tf_keras

IDS_SIGNATURE = "classify_ids"
# Windows that a SavedModel computes together: their attention takes 13 MB each.
_WINDOWS_PER_BATCH = 16
_TEXTS = tf.TensorSpec([None], tf.string, name="text")


def export_saved_model(
    classifier: tf_keras.Model, preprocessing: TextPreprocessing, temperature: float, folder: Path
) -> None:
    """Write the classifier (strings [B] -> logits [B, K]) as a SavedModel into `folder`.

    Raises:
        TrainingError: if it can't be written, for example because the disk is full.
    """
    from_ids = ids_classifier(classifier, with_embeddings=True)

    def classify_ids(input_word_ids: tf.Tensor, input_mask: tf.Tensor) -> dict[str, tf.Tensor]:
        inputs = (input_word_ids, input_mask, tf.zeros_like(input_word_ids))
        outputs = from_ids(dict(zip(ENCODER_INPUTS, inputs, strict=True)), training=False)
        return {name: tf.cast(output, tf.float32) for name, output in outputs.items()}

    _save(classify_ids, classifier.variables, preprocessing, temperature, folder)


class SavedClassifier:
    """The part of a SavedModel after its tokenizer, to save it with another preprocessing.

    Args:
        folder: a folder that export_saved_model() wrote.

    Raises:
        ModelStoreError: if it has no signature classify_ids, which versions of early software lack.
    """

    def __init__(self, folder: Path) -> None:
        self._model = tf.saved_model.load(str(folder))
        if IDS_SIGNATURE not in self._model.signatures:
            raise ModelStoreError(
                f"{folder}: expected a SavedModel with the signature {IDS_SIGNATURE}, found "
                f"{', '.join(self._model.signatures)}; train the version again with --windows"
            )

    def classify_ids(self, input_word_ids: tf.Tensor, input_mask: tf.Tensor) -> dict[str, tf.Tensor]:
        """Logits and embeddings of windows (see IDS_SIGNATURE)."""
        outputs: dict[str, tf.Tensor] = self._model.signatures[IDS_SIGNATURE](
            input_word_ids=tf.convert_to_tensor(input_word_ids), input_mask=tf.convert_to_tensor(input_mask)
        )
        return outputs

    def save(self, preprocessing: TextPreprocessing, temperature: float, folder: Path) -> None:
        """Write a SavedModel; for the arguments and errors see export_saved_model."""
        _save(self.classify_ids, self._model.weights, preprocessing, temperature, folder)


def _save(
    classify: Callable[[tf.Tensor, tf.Tensor], dict[str, tf.Tensor]],
    variables: Sequence[tf.Variable],
    preprocessing: TextPreprocessing,
    temperature: float,
    folder: Path,
) -> None:
    # `score` calls this graph: with a second copy the model would take twice as long to load.
    @graph_function(
        tf.TensorSpec([None, None], tf.int32, name="input_word_ids"),
        tf.TensorSpec([None, None], tf.int32, name="input_mask"),
    )
    def classify_ids(input_word_ids: tf.Tensor, input_mask: tf.Tensor) -> dict[str, tf.Tensor]:
        return classify(input_word_ids, input_mask)

    @graph_function(_TEXTS)
    def score(text: tf.Tensor) -> dict[str, tf.Tensor]:
        inputs = preprocessing(text)
        logits = classify_ids(inputs["input_word_ids"], inputs["input_mask"])["logits"]
        if WINDOWS in inputs:
            logits = mean_of_windows(logits, inputs[WINDOWS])
        return {"logits": logits, "probabilities": tf.nn.softmax(logits / temperature)}

    @graph_function(_TEXTS)
    def count_tokens(text: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"token_counts": preprocessing.token_counts(text)}

    # Save only what the functions depend on. With the layers TensorFlow would also save all their functions, and
    # loading would take three times as long.
    model = tf.Module()
    model.weights = list(variables)
    signatures: dict[str, Any] = {IDS_SIGNATURE: classify_ids}
    if preprocessing.text_tokenizer is None:
        model.tokenizer = preprocessing.tokenizer
        signatures |= {"serving_default": score, "token_counts": count_tokens}
    try:
        tf.saved_model.save(model, str(folder), signatures=signatures)
    except tf.errors.OpError as error:
        raise TrainingError(
            f"{folder}: the model can't be saved ({error.message[:200]}); free some space, then give the same command "
            f"again: the training itself is kept"
        ) from error


def largest_logit_difference(
    folder: Path, texts: Sequence[str], expected: np.ndarray, windows: int, tokenizer: TextTokenizer | None = None
) -> float:
    """Largest absolute difference between the logits of the SavedModel in `folder` and `expected` [texts, K].

    For the other arguments see saved_model_logits().
    """
    model = tf.saved_model.load(str(folder))
    return float(np.abs(saved_model_logits(model, texts, windows, tokenizer) - expected).max())


def saved_model_logits(
    model: Any, texts: Sequence[str], windows: int, tokenizer: TextTokenizer | None = None
) -> NDArray[np.float32]:
    """Logits [texts, K] of a loaded SavedModel; texts of similar length share a batch, to limit padding.

    `windows` is the maximum number of windows of a text. It limits the texts of a batch, because memory grows with all
    their windows. A SavedModel that takes ids only needs the `tokenizer`.
    """
    if tokenizer is not None and "serving_default" not in model.signatures:
        return _logits_of_ids(model, tokenizer, texts)
    serve = model.signatures["serving_default"]
    texts_per_batch = max(1, _WINDOWS_PER_BATCH // windows)
    order = np.argsort([len(text) for text in texts])
    parts = [
        serve(text=tf.constant([texts[i] for i in order[start : start + texts_per_batch]]))["logits"].numpy()
        for start in range(0, len(order), texts_per_batch)
    ]
    logits = np.empty((len(texts), parts[0].shape[1]), np.float32)
    logits[order] = np.concatenate(parts)
    return logits


def _logits_of_ids(model: Any, tokenizer: TextTokenizer, texts: Sequence[str]) -> NDArray[np.float32]:
    classify = model.signatures[IDS_SIGNATURE]
    windows = [tokenizer.windows(text.ids) for text in tokenizer(texts)]
    rows = [row for of_text in windows for row in of_text]
    order = np.argsort([len(row) for row in rows])
    found: dict[int, NDArray[np.float32]] = {}
    for start in range(0, len(order), _WINDOWS_PER_BATCH):
        batch = order[start : start + _WINDOWS_PER_BATCH]
        ids = tf.ragged.constant([rows[at] for at in batch], dtype=tf.int32)
        mask = tf.sequence_mask(ids.row_lengths(), dtype=tf.int32)
        outputs = classify(input_word_ids=ids.to_tensor(tokenizer.padding_id), input_mask=mask)
        found |= dict(zip(batch.tolist(), outputs["logits"].numpy(), strict=True))
    logits = np.array([found[at] for at in range(len(rows))], np.float32)
    return means_of_windows(logits, np.array([len(of_text) for of_text in windows]))
