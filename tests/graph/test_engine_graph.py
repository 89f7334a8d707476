"""The built graph against BERT in plain numpy; and which weights are refused."""

import numpy as np
import pytest
from numpy_bert import erf_gelu, forward_of, relu, tanh_gelu
from tiny_engine import tiny_weights

from textclf.environment import openvino_core
from textclf.graph.bert_weights import (
    ACTIVATIONS,
    EncoderSizes,
    UnknownEncoderError,
    bert_weights,
    encoder_sizes,
    hugging_face_name,
)
from textclf.graph.engine_graph import GraphForm, build_graph, build_mean_graph
from textclf.runtime.engine import compile_graph

FUNCTIONS = {"gelu_tanh": tanh_gelu, "gelu_erf": erf_gelu, "relu": relu}
# Float32 against float64, of logits between -5 and 5.
TOLERANCE = 1e-4


def hugging_face_tensors(weights):
    """The encoder's variables by their Hugging Face names; a kernel [in, out] is a weight [out, in] there."""
    tensors = {}
    for name, value in weights.items():
        if name.startswith("classifier/"):
            continue
        if name.endswith("/kernel"):
            outputs = weights[name.removesuffix("kernel") + "bias"].size
            value = value.reshape(-1, outputs).T
        elif not name.endswith("/embeddings"):
            value = value.reshape(-1)
        tensors[hugging_face_name(name)] = value
    return tensors


def reference(weights, ids, activation="gelu_tanh", padding_id=0):
    """(logits [B, K], embeddings [B, H]) in float64; every layer is computed for every token."""
    heads = weights["transformer/layer_0/self_attention/query/bias"].shape[0]
    mask = (ids != padding_id).astype(int)
    tensors = hugging_face_tensors(weights)
    pooled, _ = forward_of(tensors, heads, ids, mask, np.zeros_like(ids), FUNCTIONS[activation])
    return pooled @ weights["classifier/kernel"] + weights["classifier/bias"], pooled


def compiled(weights, *arguments):
    """The graph as a function of ids: (logits, embeddings)."""
    model = compile_graph(openvino_core(), build_graph(weights, *arguments), "f32", threads=1)

    def answer(ids):
        outputs = model([np.asarray(ids, np.int32)])
        return outputs["logits"], outputs["embeddings"]

    return answer


def padded(texts, length=0, padding_id=0):
    """int [B, S]."""
    length = max([length, *map(len, texts)])
    return np.array([[*text, *[padding_id] * (length - len(text))] for text in texts], np.int32)


def some_texts(lengths=(1, 2, 5, 17, 33, 64), words=200, seed=1):
    """Ids other than 0, so many each."""
    random = np.random.default_rng(seed)
    return [random.integers(1, words, length).tolist() for length in lengths]


@pytest.fixture(scope="module")
def weights():
    return tiny_weights(classes=3, seed=4)


@pytest.fixture(scope="module")
def answer(weights):
    return compiled(weights)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_it_computes_what_bert_computes(activation):
    weights = tiny_weights(seed=2)
    ids = padded(some_texts())
    logits, embeddings = compiled(weights, GraphForm(activation))(ids)
    expected_logits, expected_embeddings = reference(weights, ids, activation)
    np.testing.assert_allclose(logits, expected_logits, atol=TOLERANCE)
    np.testing.assert_allclose(embeddings, expected_embeddings, atol=TOLERANCE)
    # And the three can be told apart.
    for other in set(ACTIVATIONS) - {activation}:
        assert np.abs(reference(weights, ids, other)[0] - logits).max() > 3 * TOLERANCE


@pytest.mark.parametrize(
    "sizes",
    [
        {"layers": 1},
        {"layers": 3, "heads": 1},
        {"width": 24, "heads": 6, "inner": 20, "positions": 64, "words": 50, "classes": 5},
        {"heads": 32},
    ],
    ids=str,
)
def test_encoders_of_other_sizes(sizes):
    """With one layer, the first is also the last, which computes [CLS] alone."""
    weights = tiny_weights(seed=3, **sizes)
    ids = padded(some_texts(words=sizes.get("words", 200)))
    for found, expected in zip(compiled(weights)(ids), reference(weights, ids), strict=True):
        np.testing.assert_allclose(found, expected, atol=TOLERANCE)


def test_mean_pooling(weights):
    ids = padded(some_texts())
    heads = weights["transformer/layer_0/self_attention/query/bias"].shape[0]
    mask = (ids != 0).astype(int)
    _, outputs = forward_of(hugging_face_tensors(weights), heads, ids, mask, np.zeros_like(ids), tanh_gelu)
    expected = (outputs * mask[:, :, None]).sum(axis=1) / mask.sum(axis=1, keepdims=True)
    logits, embeddings = compiled(weights, GraphForm(pooling="mean"))(ids)
    np.testing.assert_allclose(embeddings, expected, atol=TOLERANCE)
    np.testing.assert_allclose(
        logits, expected @ weights["classifier/kernel"] + weights["classifier/bias"], atol=TOLERANCE
    )


def test_inputs_and_outputs_have_their_names_and_shapes(weights):
    graph = build_graph(weights)
    (ids,) = graph.inputs
    assert ids.get_names() == {"input_word_ids"}
    assert (ids.get_element_type().get_type_name(), str(ids.get_partial_shape())) == ("i32", "[?,?]")
    assert [output.get_any_name() for output in graph.outputs] == ["logits", "embeddings"]
    assert [str(output.get_partial_shape()) for output in graph.outputs] == ["[?,3]", "[?,32]"]
    assert {output.get_element_type().get_type_name() for output in graph.outputs} == {"f32"}


def test_answers_are_those_of_a_text_alone_whatever_it_is_padded_to(answer):
    texts = some_texts()
    together = answer(padded(texts))
    for length in (64, 40, 0):
        for row, text in enumerate(texts):
            if length and len(text) > length:
                continue
            for found, expected in zip(answer(padded([text], length)), together, strict=True):
                np.testing.assert_allclose(found[0], expected[row], atol=TOLERANCE)


def test_the_order_of_texts_in_a_batch_does_not_matter(answer):
    ids = padded(some_texts())
    np.testing.assert_allclose(answer(ids[::-1])[0][::-1], answer(ids)[0], atol=TOLERANCE)


def test_nothing_but_padding_is_ignored(answer):
    """A token more, or another one at any place, and the logits change: the graph looks at all of them."""
    (text,) = some_texts([12])
    (logits,) = answer(padded([text], 16))[0]
    for place in range(12):
        changed = [*text[:place], text[place] % 199 + 1, *text[place + 1 :]]
        assert np.abs(answer(padded([changed], 16))[0] - logits).max() > 100 * 1e-6
    assert np.abs(answer(padded([[*text, 7]], 16))[0] - logits).max() > 100 * 1e-6


def test_padding_may_have_another_id(weights):
    texts = [[id_ for id_ in text if id_ != 9] for text in some_texts()]
    ids = padded(texts, padding_id=9)
    assert (ids == 9).any()
    found, _ = compiled(weights, GraphForm(padding_id=9))(ids)
    np.testing.assert_allclose(found, reference(weights, ids, padding_id=9)[0], atol=TOLERANCE)
    assert np.abs(found - compiled(weights)(ids)[0]).max() > 0.01


def test_nothing_but_padding_gives_numbers(answer):
    """What an engine warms up with."""
    for values in answer(np.zeros((2, 8), np.int32)):
        assert np.isfinite(values).all()


def test_other_token_types_leave_no_trace(weights, answer):
    changed = {**weights, "type_embeddings/embeddings": weights["type_embeddings/embeddings"].copy()}
    changed["type_embeddings/embeddings"][1:] += 5
    ids = padded(some_texts())
    np.testing.assert_array_equal(compiled(changed)(ids)[0], answer(ids)[0])


# --- names


@pytest.mark.parametrize("prefix", ["", "bert_encoder/", "text_classifier/bert_encoder/", "keras_layer_1/"])
@pytest.mark.parametrize("ending", ["", ":0"])
def test_names_lose_prefix_and_ending(weights, prefix, ending):
    found = bert_weights({f"{prefix}{name}{ending}": value for name, value in weights.items()})
    assert set(found) == set(weights)
    assert all(found[name] is value for name, value in weights.items())
    assert encoder_sizes(found) == EncoderSizes(
        layers=2, width=32, heads=4, inner=64, vocabulary=200, positions=64, classes=3
    )


def test_variables_of_something_else_are_left_out(weights):
    others = {
        "Adam/learning_rate:0": np.float32(1),
        "classifier_2/kernel:0": np.zeros((2, 2), np.float32),
        "my_transformer/layer_0/output/bias:0": np.zeros(2, np.float32),
    }
    assert set(bert_weights({**weights, **others})) == set(weights)


# --- weights that are not BERT's


def without(name):
    return lambda weights: {other: value for other, value in weights.items() if other != name}


def with_(name, value):
    return lambda weights: {**weights, name: np.asarray(value, np.float32)}


def renamed(old, new):
    return lambda weights: {name.replace(old, new): value for name, value in weights.items()}


def test_the_mean_graph_is_the_mean_over_the_tokens(weights):
    texts = some_texts()
    ids = padded(texts)
    heads = weights["transformer/layer_0/self_attention/query/bias"].shape[0]
    mask = (ids != 0).astype(int)
    _, sequence = forward_of(hugging_face_tensors(weights), heads, ids, mask, np.zeros_like(ids), tanh_gelu)
    expected = (sequence * mask[:, :, None]).sum(axis=1) / mask.sum(axis=1, keepdims=True)
    model = compile_graph(openvino_core(), build_mean_graph(weights), "f32", threads=1)
    np.testing.assert_allclose(model([ids])["logits"], expected, atol=TOLERANCE)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda _: {}, "no 'word_embeddings/embeddings' among the weights"),
        (without("classifier/kernel"), "no 'classifier/kernel'"),
        (without("transformer/layer_0/self_attention/query/kernel"), "no 'transformer/layer_0/self_attention/query/k"),
        (renamed("transformer/", "encoder/"), "no 'transformer/layer_0/self_attention/query/kernel'"),
        (without("transformer/layer_1/output/bias"), r"transformer/layer_1/output/bias \[32\]: unknown, missing, or"),
        (without("pooler_transform/bias"), r"pooler_transform/bias \[32\]"),
        (without("type_embeddings/embeddings"), r"type_embeddings/embeddings \[0, 32\]"),
        (without("embeddings/layer_norm/gamma"), r"embeddings/layer_norm/gamma \[32\]"),
        (renamed("layer_1", "layer_2"), r"transformer/layer_1/"),
        (with_("transformer/layer_0/adapter/kernel", np.ones((32, 8))), r"layer_0/adapter/kernel \[32, 8\]"),
        (with_("transformer/layer_2/output/bias", np.ones(32)), r"transformer/layer_2/"),
        (with_("pooler_transform/scale", 1), r"pooler_transform/scale \[\]"),
        (with_("pooler_transform/kernel", np.ones((32, 16))), r"pooler_transform/kernel \[32, (16|32)\]"),
        (with_("word_embeddings/embeddings", np.ones((200, 8))), "unknown, missing, or of another shape"),
        (with_("word_embeddings/embeddings", np.ones(200)), "another number of dimensions"),
        (with_("transformer/layer_0/self_attention/query/kernel", np.ones(3)), "another number of dimensions"),
        # Not split into heads, which reads as 32 heads of width 1, and nothing else fits.
        (with_("transformer/layer_0/self_attention/query/kernel", np.ones((32, 32))), r"attention_output/kernel"),
        (with_("transformer/layer_1/self_attention/key/kernel", np.ones((32, 2, 16))), "layer_1/self_attention/key"),
    ],
)  # fmt: skip
def test_other_weights_are_refused(weights, change, message):
    changed = bert_weights(change(weights))
    for read in (encoder_sizes, build_graph):
        with pytest.raises(UnknownEncoderError, match=message):
            read(changed)
