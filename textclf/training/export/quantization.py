"""The inference graph with 8-bit weights and activations: NNCF's post-training quantisation, prepared for BERT.

What the choices here brought, as the root mean square change of the logit margin of two IMDB models (6 layers) against
the same graph in float32. Of one of 256 wordpieces: on 1,000 training reviews NNCF's defaults .27, pooler and
classifier left in float (they cost nothing) .12; on 200 of them, cut shorter, from there on: without smoothing .17, 16
channels for split outliers .10, smoothing again .087, alpha .8 better still. Then on held-out reviews, of this model
and of one of 512 wordpieces:

    ranges of histograms, 32 channels    .065    .408
    smallest and largest, 32 channels    .070    .081
    smallest and largest, 64 channels    .061    .075

A histogram's range cuts the largest values, and most of what that costs goes through the keys and queries of attention:
with these in float, the .408 are .078.
"""

import contextlib
import io
import logging
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from textclf.environment import import_openvino
from textclf.training.encoders.bert_weights import Weights, encoder_sizes
from textclf.training.export.engine_graph import build_graph, copies_of_outliers, inner_name

# Channels added to each feed-forward layer to split outliers: four hundredths of a small encoder's.
_EXTRA_CHANNELS = 64
# Xiao et al. 2023, SmoothQuant, equation 4.
_SMOOTH_QUANT_ALPHA = 0.8
# Texts that show where the outliers are: they are the same channels in every text.
_OUTLIER_TEXTS = 64


def quantise(weights: Weights, activation: str, padding_id: int, ids: Sequence[Sequence[int]]) -> Any:
    """The graph of textclf.training.export.engine_graph, quantised to int8.

    Args:
        weights, activation, padding_id: as for build_graph.
        ids: wordpiece ids of training texts, from which the ranges of the activations are taken.

    Returns:
        An openvino.Model.
    """
    import_openvino()  # Before nncf, which would report to its makers.
    import nncf
    from nncf.quantization.advanced_parameters import AdvancedQuantizationParameters, AdvancedSmoothQuantParameters
    from nncf.quantization.range_estimator import RangeEstimatorParametersSet

    inputs = [np.array([text], np.int32) for text in ids]
    largest = _largest_activations(weights, activation, padding_id, inputs[:_OUTLIER_TEXTS])
    copies = [copies_of_outliers(channels, _EXTRA_CHANNELS) for channels in largest]
    # Not nncf.set_log_level, which sets the level of its logger's handlers, too, whosever they are.
    logging.getLogger("nncf").setLevel(logging.ERROR)
    with _quiet():
        return nncf.quantize(
            build_graph(weights, activation, padding_id, copies, int8_embeddings=True),
            nncf.Dataset(inputs),
            model_type=nncf.ModelType.TRANSFORMER,
            subset_size=len(inputs),
            ignored_scope=nncf.IgnoredScope(names=["pooler_transform", "classifier"]),
            advanced_parameters=AdvancedQuantizationParameters(
                activations_range_estimator_params=RangeEstimatorParametersSet.MINMAX,
                smooth_quant_alphas=AdvancedSmoothQuantParameters(matmul=_SMOOTH_QUANT_ALPHA),
            ),
        )


def _largest_activations(
    weights: Weights, activation: str, padding_id: int, inputs: Sequence[NDArray[np.int32]]
) -> list[NDArray[np.float32]]:
    """For each layer, what each channel of its feed-forward part takes at most: [inner]."""
    graph = build_graph(weights, activation, padding_id)
    nodes = {node.get_friendly_name(): node for node in graph.get_ops()}
    layers = range(encoder_sizes(weights).layers)
    graph.add_outputs([nodes[inner_name(layer)].output(0) for layer in layers])
    compiled = import_openvino().Core().compile_model(graph, "CPU")
    first = len(compiled.outputs) - len(layers)
    largest = [np.zeros(weights[f"transformer/layer_{layer}/intermediate/bias"].shape, np.float32) for layer in layers]
    for ids in inputs:
        results = compiled([ids])
        for layer in layers:
            np.maximum(largest[layer], np.abs(results[first + layer][0]).max(axis=0), out=largest[layer])
    return largest


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """NNCF draws bars on stdout that can't be switched off."""
    with contextlib.redirect_stdout(io.StringIO()):
        yield
