"""The classifier as Keras models: string -> logits to serve, and wordpiece ids -> logits to fit.

Both share their layers. B: batch, S: sequence length, K: classes, H: width of the encoder.
"""

from pathlib import Path

from textclf.errors import EncoderError
from textclf.plots import Layer
from textclf.training.preprocessing import TextPreprocessing
from textclf.training.seeding import seeded_copy
from textclf.training.tf_setup import hub, tf, tf_keras

ENCODER_INPUTS = ("input_word_ids", "input_mask", "input_type_ids")


def load_encoder(folder: Path, max_length: int, seed: int = 0) -> hub.KerasLayer:
    """The trainable encoder layer: {ENCODER_INPUTS} int32 [B, S] -> {pooled_output [B, H], sequence_output [B, S, H]}.

    Its dropout draws from `seed`.

    Raises:
        EncoderError: `folder` is not a TF-Hub text encoder, or its position embeddings end before max_length.
    """
    try:
        copy = seeded_copy(folder, seed)
        encoder = hub.KerasLayer(copy.name, trainable=True, name="bert_encoder")
        encoder.seeded_copy = copy  # Saving the classifier reads the assets again: the copy must live as long.
        encoder({name: tf.ones([1, 2], tf.int32) for name in ENCODER_INPUTS})["pooled_output"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise EncoderError(
            f"{folder}: expected a TF-Hub BERT encoder with the inputs {', '.join(ENCODER_INPUTS)} and the output "
            f"pooled_output ({type(error).__name__}: {str(error)[:200]})"
        ) from error
    for variable in encoder.variables:
        if "position_embedding" in variable.name and max_length > variable.shape[0]:
            raise EncoderError(
                f"max_length: expected at most {variable.shape[0]}, the longest text that the encoder {folder} can read, "
                f"got {max_length}"
            )
    return encoder


def build_classifier(
    preprocessing: TextPreprocessing, encoder: hub.KerasLayer, num_classes: int, dropout: float
) -> tf_keras.Model:
    """The model from strings [B] to logits [B, K]."""
    text = tf_keras.Input(shape=(), dtype=tf.string, name="text")
    pooled = encoder(preprocessing(text))["pooled_output"]
    hidden = tf_keras.layers.Dropout(dropout, name="dropout")(pooled)
    # BERT's own initialisation of new layers: a truncated normal of deviation .02 (Devlin et al. 2019, appendix A.2).
    initializer = tf_keras.initializers.TruncatedNormal(stddev=0.02)
    logits = tf_keras.layers.Dense(num_classes, kernel_initializer=initializer, name="classifier")(hidden)
    return tf_keras.Model(text, logits, name="text_classifier")


def ids_classifier(classifier: tf_keras.Model) -> tf_keras.Model:
    """The part behind the preprocessing: {ENCODER_INPUTS} int32 [B, S] -> logits [B, K], on the same layers."""
    inputs = {name: tf_keras.Input(shape=(None,), dtype=tf.int32, name=name) for name in ENCODER_INPUTS}
    pooled = classifier.get_layer("bert_encoder")(inputs)["pooled_output"]
    hidden = classifier.get_layer("dropout")(pooled)
    return tf_keras.Model(inputs, classifier.get_layer("classifier")(hidden), name="ids_classifier")


# Outputs that a diagram shows; the encoder has more, such as the sequence output of every layer.
_SHOWN_OUTPUTS = frozenset({"", "input_word_ids", "input_mask", "input_type_ids", "pooled_output", "sequence_output"})


def layers_of(model: tf_keras.Model) -> list[Layer]:
    """The layers of a Keras functional model as boxes for textclf.plots.plot_structure."""
    boxes = []
    for layer in model.layers:
        parents = [
            parent.layer.name
            for node in layer.inbound_nodes
            for parent in tf.nest.flatten(node.keras_inputs)
            if hasattr(parent, "node")
            for parent in [parent.node]
        ]
        shapes = layer.output_shape
        if not isinstance(shapes, dict):
            shapes = {"": shapes[0] if isinstance(shapes, list) else shapes}
        lines = [f"{key} {shape}".strip() for key, shape in sorted(shapes.items()) if key in _SHOWN_OUTPUTS]
        boxes.append(Layer(layer.name, type(layer).__name__, "\n".join(lines), tuple(dict.fromkeys(parents))))
    return boxes
