"""A TensorFlow SavedModel as the predictor's backend: one of this project, or any other that takes strings.

The only module in runtime/ that may import TensorFlow, and only when it loads a model.
"""

import logging
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from textclf.environment import prepare_tensorflow_import
from textclf.errors import ModelStoreError, TextTooLongError
from textclf.runtime.backend import EncodedBatch, ModelOutputs, Timings, estimated_lengths
from textclf.tokenization.basic_tokenizer import exceeds

_SERVING = "serving_default"
_COUNTS = "token_counts"
# The only signature of some versions (textclf.training.export.saved_model_export).
_IDS = "classify_ids"
# Smallest normal float32: replaces a probability of 0, whose logit would be infinite.
_TINY = float(np.finfo(np.float32).tiny)
_TEXTS_PER_COUNT = 512
_StringFunction = Callable[[list[str]], dict[str, NDArray[Any]]]


class SavedModelBackend:
    """Backend of a loaded SavedModel (see load_saved_model).

    Args:
        serve: function from strings to the outputs of serving_default, name -> array.
        count: function from strings to the output of token_counts, int [batch]; None without such a signature.
        max_wordpieces: maximum wordpieces of a text; None if unknown.
    """

    def __init__(
        self, serve: _StringFunction, count: _StringFunction | None, max_wordpieces: int | None = None
    ) -> None:
        self._serve = serve
        self._count = count
        self._max_wordpieces = max_wordpieces

    @property
    def tokenizer(self) -> None:
        """None: the model tokenizes the texts itself."""

    def encode(self, texts: list[str], max_chars: int | None = None) -> EncodedBatch:
        """The texts themselves; without a signature token_counts, lengths are estimated."""
        if max_chars is not None:
            for position, text in enumerate(texts):
                if exceeds(text, max_chars):
                    raise TextTooLongError(position, max_chars)
        if self._count is None:
            return EncodedBatch(texts, estimated_lengths(texts), None)
        # Count in parts: the tokenizer keeps all wordpieces of one call in memory.
        starts = range(0, len(texts), _TEXTS_PER_COUNT)
        parts = [next(iter(self._count(texts[start : start + _TEXTS_PER_COUNT]).values())) for start in starts]
        counts = np.concatenate([np.zeros(0, np.int64), *parts])
        read = counts if self._max_wordpieces is None else np.minimum(counts, self._max_wordpieces)
        return EncodedBatch(texts, read, counts)

    def run(self, inputs: Sequence[str], timings: Timings) -> ModelOutputs:
        """Logits of the texts, without embeddings. The model's own tokenizing counts as `infer`."""
        start = time.perf_counter()
        logits = logits_of_outputs(self._serve(list(inputs)))
        timings.add("infer", start, time.perf_counter())
        return ModelOutputs(logits)

    def warm_up(self, _tokens_per_batch: int) -> None:
        """Do nothing: loading ran the model once, and a SavedModel compiles nothing per shape."""


def load_saved_model(folder: Path | str, max_wordpieces: int | None = None) -> SavedModelBackend:
    """Load a SavedModel that classifies strings, and run it once. For `max_wordpieces` see SavedModelBackend.

    The signature serving_default takes one tensor of strings, [batch] or [batch, 1]. It returns `logits`
    [batch, classes], or `probabilities`, or one output of any name, which is read as logits. [batch, 1] is the second
    of two classes. An optional signature token_counts returns int [batch].

    Raises:
        ModelStoreError: if TensorFlow is not installed, or the folder contains no SavedModel that can be loaded and
            has such a signature.
    """
    folder = Path(folder)
    tf = _tensorflow(folder)
    try:
        model = tf.saved_model.load(str(folder))
    except (OSError, ValueError, KeyError, tf.errors.OpError) as error:
        raise ModelStoreError(_why_not_loaded(folder, error)) from error
    serve = _string_function(tf, model, _SERVING, folder)
    count = _string_function(tf, model, _COUNTS, folder) if _COUNTS in model.signatures else None
    backend = SavedModelBackend(serve, count, max_wordpieces)
    try:
        backend.run(backend.encode(["a text"]).inputs, Timings())
    except (ValueError, tf.errors.OpError) as error:
        raise ModelStoreError(f"{folder}: the SavedModel can't score a text: {_first_line(error)}") from error
    except ModelStoreError as error:
        raise ModelStoreError(f"{folder}: {error}") from error
    return backend


def logits_of_outputs(outputs: dict[str, NDArray[Any]]) -> NDArray[np.float32]:
    """Find the logits among a signature's outputs: float32 [batch, classes].

    The first that applies: `logits`; the logarithms of `probabilities`; the only output, read as logits.
    One column z, the logit of the second class, becomes [0, z], because softmax([0, z]) is sigmoid(z).

    Raises:
        ModelStoreError: if there is no such output, or its shape or type does not fit.
    """
    if "logits" in outputs:
        name = "logits"
    elif "probabilities" in outputs:
        name = "probabilities"
    elif len(outputs) == 1:
        (name,) = outputs
    else:
        raise ModelStoreError(
            f"expected an output named logits or probabilities, or a single output; {_SERVING} returns "
            f"{', '.join(sorted(outputs)) or 'none'}"
        )
    values = np.asarray(outputs[name])
    if values.ndim != 2 or values.shape[1] < 1 or not np.issubdtype(values.dtype, np.floating):
        raise ModelStoreError(
            f"expected {name} of shape [batch, classes] and a floating type, "
            f"got shape {list(values.shape)} of {values.dtype}"
        )
    if name == "probabilities":
        if values.shape[1] == 1:
            values = np.concatenate([1 - values, values], axis=1)
        values = np.log(np.maximum(values, _TINY))
    elif values.shape[1] == 1:
        values = np.concatenate([np.zeros_like(values), values], axis=1)
    return values.astype(np.float32)


def _string_function(tf: Any, model: Any, name: str, folder: Path) -> _StringFunction:
    """The signature `name` as a function of a list of str."""
    if name not in model.signatures and _IDS in model.signatures:
        raise ModelStoreError(
            f"{folder}: expected a SavedModel that takes strings, found one that takes token ids, because its "
            f"tokenizer runs outside of TensorFlow; use the engine of the version"
        )
    if name not in model.signatures:
        raise ModelStoreError(
            f"{folder}: expected a signature {name} that takes strings, found {', '.join(model.signatures) or 'none'}; "
            f"save the model with tf.saved_model.save(model, folder, signatures={{'{name}': …}})"
        )
    inputs: dict[str, Any] = model.signatures[name].structured_input_signature[1]
    specs = list(inputs.values())
    if len(specs) != 1 or specs[0].dtype != tf.string or not _takes_any_batch(specs[0].shape):
        found = ", ".join(f"{key}: {spec.dtype.name} {spec.shape}" for key, spec in sorted(inputs.items()))
        raise ModelStoreError(
            f"{folder}: expected the signature {name} to take one tensor of strings, [batch] or [batch, 1], "
            f"got {found or 'none'}; put the preprocessing into the model before saving it"
        )
    (key,) = inputs
    as_column = specs[0].shape.rank == 2

    def call(texts: list[str]) -> dict[str, NDArray[Any]]:
        batch = tf.constant(texts, tf.string, shape=(len(texts), 1) if as_column else (len(texts),))
        # This closure keeps `model` alive; a signature alone does not keep its variables.
        outputs = model.signatures[name](**{key: batch})
        return {output: tensor.numpy() for output, tensor in outputs.items()}

    return call


def _takes_any_batch(shape: Any) -> bool:
    if shape.rank is None:
        return True
    return shape.rank in (1, 2) and shape[0] is None and (shape.rank == 1 or shape[1] in (None, 1))


def _tensorflow(folder: Path) -> Any:
    prepare_tensorflow_import()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            import tensorflow as tf
        except ImportError as error:
            raise ModelStoreError(
                f"{folder}: this is a TensorFlow SavedModel, and TensorFlow can't be imported ({error}); "
                f"pip install tensorflow tensorflow-text (versions: the extra `train`)"
            ) from error
        try:
            # Registers the ops of BERT's preprocessing; a model without these ops does not need it.
            import tensorflow_text  # noqa: F401
        except ImportError as error:
            logging.getLogger(__name__).info("tensorflow_text can't be imported (%s)", error)
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    return tf


def _why_not_loaded(folder: Path, error: Exception) -> str:
    if "not registered" in str(error):
        return (
            f"{folder}: the SavedModel uses an operation that is not installed ({_first_line(error)}); "
            f"pip install tensorflow-text of TensorFlow's version"
        )
    return f"{folder}: expected a TensorFlow SavedModel, but it can't be loaded: {_first_line(error)}"


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n", 1)[0][:300]  # Pages of graph follow.
