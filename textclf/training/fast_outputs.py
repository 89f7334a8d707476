"""Outputs of a model in training for many texts: by OpenVINO in bfloat16 if they agree with TensorFlow's in float32.

OpenVINO computes IMDB reviews several times as fast on a CPU with bfloat16 instructions. The graph is that of the
engine (textclf.graph.engine_graph) before its quantisation, with the present weights.

B: batch, S: sequence length, K: classes.
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

from textclf.environment import openvino_core
from textclf.graph.bert_weights import UnknownEncoderError, bert_weights, encoder_sizes
from textclf.graph.engine_graph import GraphForm, build_graph, build_mean_graph
from textclf.runtime.engine import compile_graph
from textclf.training.classifier import pooling_of
from textclf.training.encoders.family_encoder import FamilyEncoder
from textclf.training.encoders.preprocessing import TextPreprocessing, TokenizedTexts, tokenize_texts
from textclf.training.export.activation_search import find_activation
from textclf.training.fitting.training_loop import Logits, predict_logits
from textclf.training.tf_setup import tf_keras

FLOAT32, BFLOAT16 = "float32", "bfloat16"
# With fewer wordpieces TensorFlow is done before the graph is built, compiled and compared.
_MIN_WORDPIECES = 100_000
# Texts that are computed both ways, and those of them that show the activation.
_SAMPLE = 64
_ACTIVATION_TEXTS = 4
# Between TensorFlow and the graph in float32, which add in different orders; times the largest output.
_FLOAT_TOLERANCE = 2e-3
# Between float32 and bfloat16, times the largest output; the mean of all differences, and a single one.
_MEAN_TOLERANCE = 0.02
_TOLERANCE = 0.1


@dataclass(frozen=True, eq=False)
class Computation:
    """Computes outputs of a model with the weights that it had when this was made.

    Attributes:
        outputs: word ids and mask, int32 [B, S], to float32 [B, outputs].
        precision: "float32" or "bfloat16".
    """

    outputs: Logits
    precision: str


def computation(
    original: Logits,
    classifier: tf_keras.Model,
    preprocessing: TextPreprocessing,
    texts: Sequence[str],
    wordpieces: float,
    of_means: bool = False,
) -> Computation:
    """OpenVINO's computation of the outputs of `original`, if it is faster and agrees on a sample of `texts`.

    Args:
        original: TensorFlow's computation in float32.
        classifier: the Keras model from build_classifier(), which has the weights.
        preprocessing: its preprocessing.
        texts: texts like those that are computed.
        wordpieces: about how many wordpieces are computed.
        of_means: the outputs are the means of the encoder's outputs over the tokens, instead of logits.
    """
    in_float32 = Computation(original, FLOAT32)
    if wordpieces < _MIN_WORDPIECES:
        return in_float32
    padding_id = preprocessing.padding_id
    sample = tokenize_texts(preprocessing, _by_length(texts, _SAMPLE))
    expected = predict_logits(original, sample, padding_id, "comparison")
    try:
        found = _compiled(classifier, padding_id, sample, expected, of_means)
    except UnknownEncoderError:
        return in_float32
    difference = np.abs(predict_logits(found, sample, padding_id, "comparison") - expected)
    largest = float(np.abs(expected).max())
    # Also true for NaN.
    if not (difference.mean() <= _MEAN_TOLERANCE * largest and difference.max() <= _TOLERANCE * largest):
        click.echo(
            f"note:          TensorFlow computes in float32, because outputs in bfloat16 differ by up to "
            f"{difference.max():.3g}, and the largest is {largest:.3g}"
        )
        return in_float32
    return Computation(found, BFLOAT16)


def _by_length(texts: Sequence[str], count: int) -> list[str]:
    """About `count` texts, from the shortest to the longest."""
    order = np.argsort([len(text) for text in texts], kind="stable")
    return [texts[row] for row in order[np.unique(np.linspace(0, len(texts) - 1, count).astype(int))]]


def _compiled(
    classifier: tf_keras.Model,
    padding_id: int,
    sample: TokenizedTexts,
    expected: NDArray[np.float32],
    of_means: bool,
) -> Logits:
    """The graph's outputs in bfloat16.

    Raises:
        UnknownEncoderError: if no graph gives the expected outputs in float32.
    """
    weights = bert_weights({item.name: item.numpy() for item in classifier.variables})
    sizes, encoder = encoder_sizes(weights), classifier.get_layer("bert_encoder")
    form = encoder.form if isinstance(encoder, FamilyEncoder) else GraphForm()
    form = dataclasses.replace(form, padding_id=padding_id, pooling=pooling_of(classifier))

    def build(activation: str) -> Any:
        of = dataclasses.replace(form, activation=activation)
        return build_mean_graph(weights, of) if of_means else build_graph(weights, of)

    rows = np.linspace(0, len(sample) - 1, min(len(sample), _ACTIVATION_TEXTS)).astype(int)
    probe = [[sample.ids[sample.offsets[row] : sample.offsets[row + 1]].tolist()] for row in rows]
    tolerance = _FLOAT_TOLERANCE * float(np.abs(expected).max())
    _, graph = find_activation(build, probe, expected[rows], tolerance)
    return _padded_to_right_lengths(graph, padding_id, sizes.width // sizes.heads)


def _padded_to_right_lengths(graph: Any, padding_id: int, depth: int) -> Logits:
    """The outputs of the compiled graph; `depth` is the width of a head.

    With AMX, OpenVINO 2026.4 computes bfloat16 attention wrong if the sequence is as long as a head is wide (see
    Engine.drop_wrong_steps), so such texts are padded.
    """
    compiled = compile_graph(openvino_core(), graph, "bf16")
    request = compiled.create_infer_request()

    def outputs(word_ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
        if word_ids.shape[1] == depth:
            word_ids = np.pad(word_ids, [(0, 0), (0, 1)], constant_values=padding_id)
        request.infer([np.ascontiguousarray(word_ids)])
        return np.array(request.get_output_tensor(0).data, np.float32)

    return outputs
