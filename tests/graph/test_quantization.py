"""What 8 bits leave of the activations of random weights."""

import numpy as np
from tiny_engine import tiny_weights

from textclf.config import POOLINGS
from textclf.environment import openvino_core
from textclf.graph.engine_graph import GraphForm, float_nodes
from textclf.graph.quantization import quantise

WORDS, RARE = 200, 7


def quantised_activations(graph):
    """The nodes that round activations; the others round weights."""
    return [
        node
        for node in graph.get_ops()
        if node.get_type_name() == "FakeQuantize" and node.input_value(0).get_node().get_type_name() != "Constant"
    ]


def test_no_value_of_a_rare_word_is_cut():
    """Ranges of histograms, which cut them, cost a model of reviews 1 % of its labels."""
    random = np.random.default_rng(0)
    weights = tiny_weights(seed=3, width=64, heads=2, inner=256, words=WORDS)
    embedding = weights["word_embeddings/embeddings"][RARE]
    embedding[:] = 0.1 * embedding
    embedding[5] = 80  # After the normalisation all of its length is in one channel.
    texts = [random.integers(10, WORDS, 30).tolist() for _ in range(100)]
    texts[0][4] = RARE
    graph = quantise(weights, GraphForm(), texts)
    nodes = quantised_activations(graph)
    assert nodes
    ranges = [(node.input_value(1).get_node().data.min(), node.input_value(2).get_node().data.max()) for node in nodes]
    graph.add_outputs([node.input_value(0) for node in nodes])
    ids = [np.array([texts[0]], np.int32)]
    results = openvino_core().compile_model(graph, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})(ids)
    found = [results[len(results) - len(nodes) + i] for i in range(len(nodes))]
    for node, (low, high), values in zip(nodes, ranges, found, strict=True):
        # What comes in is itself rounded, which calibration did not see.
        beyond = 0.02 * (high - low)
        assert values.min() >= low - beyond, node.get_friendly_name()
        assert values.max() <= high + beyond, node.get_friendly_name()


def test_no_node_after_the_last_layer_is_rounded():
    """The mean over the tokens and the classifier cost no time, and their errors would reach the logits."""
    random = np.random.default_rng(0)
    texts = [random.integers(10, WORDS, 30).tolist() for _ in range(20)]
    for pooling in POOLINGS:
        graph = quantise(tiny_weights(seed=3), GraphForm(pooling=pooling), texts)
        nodes = {node.get_friendly_name(): node for node in graph.get_ops()}
        assert set(float_nodes(pooling)) <= set(nodes)
        for name in float_nodes(pooling):
            inputs = {value.get_node().get_type_name() for value in nodes[name].input_values()}
            assert "FakeQuantize" not in inputs, (pooling, name)
