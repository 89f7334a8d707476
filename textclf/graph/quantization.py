"""Quantises the inference graph to 8-bit weights and activations with NNCF, adapted to BERT.

The choices were made by the root mean square change of the logit margin against float32, for two IMDB models of 6
layers. For 256 wordpieces, on 1,000 training reviews: 0.27 with NNCF's defaults, 0.12 with pooler and classifier in
float, which costs no time. On 200 shorter reviews: 0.17 without smoothing, 0.10 with 16 channels for split outliers,
0.087 with smoothing, less with alpha 0.8. On held-out reviews, for 256 and for 512 wordpieces:

    ranges from histograms, 32 channels    0.065    0.408
    ranges from min and max, 32 channels   0.070    0.081
    ranges from min and max, 64 channels   0.061    0.075

A histogram's range clips the largest values. Most of that error comes from the keys and queries of attention: with
these in float, 0.408 becomes 0.078.

For a model of reviews and single sentences, on 1,167 held-out and 1,500 training texts, the change is 0.070. Ranges
from texts of at least 800 characters give 0.064, the operations of the last layer on [CLS] in float 0.066, the first
layer in float 0.061. Five or six of these texts get another label each time.
"""

import contextlib
import io
import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from textclf.environment import import_openvino, openvino_core
from textclf.graph.bert_weights import Weights, encoder_sizes
from textclf.graph.engine_graph import GraphForm, build_graph, copies_of_outliers, float_nodes, inner_name
from textclf.signal_stack import kept_signal_stack

# Channels added to each feed-forward layer to split outliers, 4% of a small encoder's.
_EXTRA_CHANNELS = 64
# Xiao et al. 2023, SmoothQuant, equation 4.
_SMOOTH_QUANT_ALPHA = 0.8
# Texts to find the outliers with, which are the same channels in every text.
_OUTLIER_TEXTS = 64


def quantise(weights: Weights, form: GraphForm, ids: Sequence[Sequence[int]]) -> Any:
    """The graph of textclf.graph.engine_graph, quantised to int8, as an openvino.Model.

    Args:
        weights, form: as for build_graph.
        ids: wordpiece ids of training texts, to measure the ranges of the activations.
    """
    import_openvino()  # Before nncf, because it switches nncf's telemetry off.
    import nncf
    from nncf.quantization.advanced_parameters import AdvancedQuantizationParameters, AdvancedSmoothQuantParameters
    from nncf.quantization.range_estimator import RangeEstimatorParametersSet

    inputs = [np.array([text], np.int32) for text in ids]
    largest = _largest_activations(build_graph(weights, form), weights, inputs)
    copies = [copies_of_outliers(channels, _EXTRA_CHANNELS) for channels in largest]
    # nncf.set_log_level would also set the level of handlers that are not nncf's.
    logging.getLogger("nncf").setLevel(logging.ERROR)
    # NNCF's progress bars can't be switched off, and it makes Cores of its own.
    with contextlib.redirect_stdout(io.StringIO()), kept_signal_stack():
        return nncf.quantize(
            build_graph(weights, form, copies, int8_embeddings=True),
            nncf.Dataset(inputs),
            model_type=nncf.ModelType.TRANSFORMER,
            subset_size=len(inputs),
            ignored_scope=nncf.IgnoredScope(names=float_nodes(form.pooling)),
            advanced_parameters=AdvancedQuantizationParameters(
                activations_range_estimator_params=RangeEstimatorParametersSet.MINMAX,
                smooth_quant_alphas=AdvancedSmoothQuantParameters(matmul=_SMOOTH_QUANT_ALPHA),
            ),
        )


def _largest_activations(
    graph: Any, weights: Weights, inputs: Sequence[NDArray[np.int32]]
) -> list[NDArray[np.float32]]:
    """For each layer, the largest absolute value of each channel of its feed-forward part: [inner]."""
    nodes = {node.get_friendly_name(): node for node in graph.get_ops()}
    layers = range(encoder_sizes(weights).layers)
    graph.add_outputs([nodes[inner_name(layer)].output(0) for layer in layers])
    compiled = openvino_core().compile_model(graph, "CPU")
    first = len(compiled.outputs) - len(layers)
    largest = [np.zeros(weights[f"transformer/layer_{layer}/intermediate/bias"].shape, np.float32) for layer in layers]
    for ids in inputs[:_OUTLIER_TEXTS]:
        results = compiled([ids])
        for layer in layers:
            np.maximum(largest[layer], np.abs(results[first + layer][0]).max(axis=0), out=largest[layer])
    return largest
