"""The classifier as Keras models with shared layers: string -> logits, and wordpiece ids -> logits for training.

B: batch, S: sequence length, K: classes, H: width of the encoder.
"""

import shutil
import weakref
from pathlib import Path

from textclf.errors import EncoderError
from textclf.importing.checkpoint import is_checkpoint_folder
from textclf.report.plots import Layer
from textclf.training.encoders.family_encoder import load_family_encoder
from textclf.training.encoders.preprocessing import WINDOWS, TextPreprocessing
from textclf.training.seeding import seeded_copy
from textclf.training.tf_setup import hub, tf, tf_keras

ENCODER_INPUTS = ("input_word_ids", "input_mask", "input_type_ids")
ENCODER_OUTPUTS = ("pooled_output", "sequence_output")
# Name of the layer MeanPooling.
_MEAN = "mean_pooling"


def load_encoder(folder: Path, max_length: int, seed: int = 0, vocabulary_size: int = 0) -> tf_keras.layers.Layer:
    """The trainable encoder layer: {ENCODER_INPUTS} int32 [B, S] -> {pooled_output [B, H], sequence_output [B, S, H]}.

    `max_length` is the wordpieces of the longest text, `vocabulary_size` those that the preprocessing knows.

    Raises:
        EncoderError: if `folder` has no text encoder of TF-Hub or of the Hugging Face library, or has too few position
            embeddings for max_length or too few word embeddings for vocabulary_size.
    """
    load = load_family_encoder if is_checkpoint_folder(folder) else _saved_encoder
    encoder = load(folder, seed)
    for variable in encoder.variables:
        if "position_embedding" in variable.name and max_length > variable.shape[0]:
            raise EncoderError(
                f"max_length: expected at most {variable.shape[0]}, the longest text that the encoder {folder} can "
                f"read, got {max_length}"
            )
        if "word_embeddings" in variable.name and vocabulary_size > variable.shape[0]:
            raise EncoderError(
                f"the encoder {folder} knows {variable.shape[0]} wordpieces, its preprocessing gives "
                f"{vocabulary_size}; they do not belong together: pass the encoder's own preprocessing"
            )
    return encoder


def _saved_encoder(folder: Path, seed: int) -> hub.KerasLayer:
    copy = None
    try:
        copy = seeded_copy(folder, seed)
        encoder = hub.KerasLayer(str(copy), trainable=True, name="bert_encoder")
        outputs = encoder({name: tf.ones([1, 2], tf.int32) for name in ENCODER_INPUTS})
        _ = [outputs[name] for name in ENCODER_OUTPUTS]
    except Exception as error:  # TensorFlow raises many types for damaged files.
        reason = " ".join(str(error).replace(str(copy), str(folder)).split())
        if copy:
            shutil.rmtree(copy, ignore_errors=True)
        raise EncoderError(
            f"{folder}: expected a TF-Hub BERT encoder with the inputs {', '.join(ENCODER_INPUTS)} and the outputs "
            f"{', '.join(ENCODER_OUTPUTS)} ({type(error).__name__}: {reason[:200]}); check the encoder's handle"
        ) from error
    # Saving the classifier reads the assets again, so keep the copy as long as the layer.
    weakref.finalize(encoder, shutil.rmtree, copy, ignore_errors=True)
    return encoder


class MeanPooling(tf_keras.layers.Layer):  # type: ignore[misc]
    """A layer from [outputs [B, S, H], mask int32 [B, S]] to their mean over the tokens, [B, H]."""

    def call(self, inputs: list[tf.Tensor]) -> tf.Tensor:
        """The mean of each text's outputs, without padding."""
        return mean_of_tokens(*inputs)


def mean_of_tokens(outputs: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
    """The mean over the tokens that are no padding: outputs [B, S, H], mask int32 [B, S] -> [B, H]."""
    weights = tf.cast(mask, outputs.dtype)[:, :, None]
    return tf.reduce_sum(outputs * weights, 1) / tf.reduce_sum(weights, 1)


class MeanOfWindows(tf_keras.layers.Layer):  # type: ignore[misc]
    """A layer from [values of windows [W, K], windows of each text int64 [B]] to their means by text, [B, K]."""

    def call(self, inputs: list[tf.Tensor]) -> tf.Tensor:
        """The mean of each text's windows."""
        return mean_of_windows(*inputs)


def mean_of_windows(values: tf.Tensor, counts: tf.Tensor) -> tf.Tensor:
    """The mean over the windows of each text: values [W, K], counts int64 [B] -> [B, K]."""
    return tf.math.segment_mean(values, tf.repeat(tf.range(tf.size(counts)), counts))


def build_classifier(
    preprocessing: TextPreprocessing,
    encoder: tf_keras.layers.Layer,
    num_classes: int,
    dropout: float,
    pooling: str = "cls",
) -> tf_keras.Model:
    """The model from strings [B] to logits [B, K]; `pooling` is one of textclf.config.POOLINGS."""
    text = tf_keras.Input(shape=(), dtype=tf.string, name="text")
    found = preprocessing(text)
    inputs = {name: found[name] for name in ENCODER_INPUTS}
    pooled = _pooled(encoder(inputs), inputs, MeanPooling(name=_MEAN) if pooling == "mean" else None)
    hidden = tf_keras.layers.Dropout(dropout, name="dropout")(pooled)
    # BERT's initialisation of new layers: a truncated normal with deviation 0.02 (Devlin et al. 2019, appendix A.2).
    initializer = tf_keras.initializers.TruncatedNormal(stddev=0.02)
    logits = tf_keras.layers.Dense(num_classes, kernel_initializer=initializer, name="classifier")(hidden)
    if preprocessing.windows > 1:
        logits = MeanOfWindows(name="mean_of_windows")([logits, found[WINDOWS]])
    return tf_keras.Model(text, logits, name="text_classifier")


def pooling_of(classifier: tf_keras.Model) -> str:
    """The pooling of a model from build_classifier(), one of textclf.config.POOLINGS."""
    return "mean" if any(layer.name == _MEAN for layer in classifier.layers) else "cls"


def ids_encoder(classifier: tf_keras.Model, pooling: str | None = None) -> tf_keras.Model:
    """The part up to the input of the classification layer, on the same layers: {ENCODER_INPUTS} [B, S] -> [B, H].

    `pooling` is another one of textclf.config.POOLINGS; None is that of the classifier.
    """
    inputs = {name: tf_keras.Input(shape=(None,), dtype=tf.int32, name=name) for name in ENCODER_INPUTS}
    mean = MeanPooling(name=_MEAN) if (pooling or pooling_of(classifier)) == "mean" else None
    pooled = _pooled(classifier.get_layer("bert_encoder")(inputs), inputs, mean)
    return tf_keras.Model(inputs, pooled, name="ids_encoder")


def ids_classifier(classifier: tf_keras.Model, with_embeddings: bool = False) -> tf_keras.Model:
    """The part after the preprocessing, on the same layers: {ENCODER_INPUTS} int32 [B, S] -> logits [B, K].

    With embeddings, the output of ids_encoder(), it returns {"logits": [B, K], "embeddings": [B, H]}.
    """
    encoder = ids_encoder(classifier)
    inputs, pooled = encoder.input, encoder.output
    logits = classifier.get_layer("classifier")(classifier.get_layer("dropout")(pooled))
    outputs = {"logits": logits, "embeddings": pooled} if with_embeddings else logits
    return tf_keras.Model(inputs, outputs, name="ids_classifier")


def _pooled(outputs: dict[str, tf.Tensor], inputs: dict[str, tf.Tensor], mean: MeanPooling | None) -> tf.Tensor:
    return outputs["pooled_output"] if mean is None else mean([outputs["sequence_output"], inputs["input_mask"]])


# Outputs that a diagram shows; the encoder has more, such as the sequence output of every layer.
_SHOWN_OUTPUTS = frozenset({"", *ENCODER_INPUTS, *ENCODER_OUTPUTS})


def layers_of(model: tf_keras.Model) -> list[Layer]:
    """The layers of a Keras functional model as boxes for textclf.report.plots.plot_structure."""
    boxes = []
    for layer in model.layers:
        # A shared layer was also called on the inputs of other models, which are not parents here.
        parents = [
            tensor.node.layer.name
            for node in layer.inbound_nodes
            for tensor in tf.nest.flatten(node.keras_inputs)
            if tensor.node.layer in model.layers
        ]
        shapes = layer.output_shape
        if not isinstance(shapes, dict):
            shapes = {"": shapes[0] if isinstance(shapes, list) else shapes}
        lines = [f"{key} {shape}".strip() for key, shape in sorted(shapes.items()) if key in _SHOWN_OUTPUTS]
        boxes.append(Layer(layer.name, type(layer).__name__, "\n".join(lines), tuple(dict.fromkeys(parents))))
    return boxes
