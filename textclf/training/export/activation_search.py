"""Finds the activation of an encoder, which its weights do not show: the one that gives the encoder's outputs."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from textclf.environment import openvino_core
from textclf.graph.bert_weights import ACTIVATIONS, UnknownEncoderError
from textclf.runtime.engine import compile_graph


def find_activation(
    build: Callable[[str], Any],
    texts: Sequence[Sequence[Sequence[int]]],
    expected: NDArray[np.float32],
    tolerance: float,
) -> tuple[str, Any]:
    """The activation whose graph gives the expected outputs in float32, and this graph.

    Args:
        build: makes the graph with an activation, one of ACTIVATIONS.
        texts: the windows of n texts, each as ids with [CLS] and [SEP]; windows of one text have the same length.
        expected: mean of the first output over the windows of each text, [n, outputs].
        tolerance: maximum difference of one output.

    Raises:
        UnknownEncoderError: if no activation gives these outputs.
    """
    core = openvino_core()
    smallest = np.inf
    for activation in ACTIVATIONS:
        graph = build(activation)
        compiled = compile_graph(core, graph, "f32")
        found = np.array([compiled([np.array(windows, np.int32)])[0].mean(axis=0) for windows in texts])
        difference = float(np.abs(found - expected).max())
        if difference <= tolerance:
            return activation, graph
        smallest = min(smallest, difference)
    raise UnknownEncoderError(f"with every known activation its outputs differ by {smallest:.3g} or more")
