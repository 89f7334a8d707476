"""Exported folders answer as the engine does: read by numpy and by the import; what can't be exported is one line."""

import dataclasses
import json

import numpy as np
import pytest
from click.testing import CliRunner
from numpy_bert import forward_of
from safetensors.numpy import load_file
from tiny_engine import GOLDEN_TEXTS, tiny_reviews, tiny_weights, write_version
from tokenizers import Tokenizer as LibraryTokenizer

from textclf.__main__ import main
from textclf.environment import import_openvino
from textclf.errors import ConfigError
from textclf.exporting.command import export
from textclf.exporting.engine_weights import golden_error, weights_of_engine, weights_of_graph
from textclf.exporting.exported_model import differences, read_model
from textclf.exporting.hugging_face import write_hugging_face
from textclf.graph.bert_weights import UnknownEncoderError
from textclf.graph.engine_graph import GraphForm, build_graph
from textclf.importing.importer import ImportOptions, import_classifier
from textclf.runtime.loading import predictor_of_version
from textclf.stats.calibration import softmax
from textclf.store.model_store import ModelStore, open_model

PRECISIONS = ("float32", "bfloat16", "int8")
TEXTS = [text for text, _ in tiny_reviews(300, seed=3)] + list(GOLDEN_TEXTS[:3])


@pytest.fixture(scope="module")
def versions(tmp_path_factory):
    """A version of each precision; the one in float32 has a temperature, labels with markup and a cascade."""
    root = tmp_path_factory.mktemp("versions")
    changes = {"float32": {"temperature": 1.7, "class_names": ("a|b", "<b>"), "threshold": 0.4, "cascade": True}}
    return {
        precision: open_model(write_version(root / precision, precision=precision, **changes.get(precision, {})))
        for precision in PRECISIONS
    }


@pytest.fixture(scope="module")
def folder(versions, tmp_path_factory):
    target = tmp_path_factory.mktemp("exported") / "folder"
    export(versions["float32"], "huggingface", target)
    return target


def probabilities(version, texts=TEXTS):
    """Those of the encoder alone: [texts, classes]."""
    predictor = predictor_of_version(version, cascade=False)
    return softmax(predictor.run(predictor.encode(texts)).logits, version.manifest.temperature)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_weights_of_an_engine(versions, precision):
    weights, form = weights_of_engine(versions[precision])
    assert golden_error(versions[precision], weights, form) < 1e-4
    expected = tiny_weights(2)
    types = expected.pop("type_embeddings/embeddings")
    expected["position_embedding/embeddings"] = expected["position_embedding/embeddings"] + types[0]
    tolerance = {"float32": 1e-6, "bfloat16": 2e-3, "int8": 0.05}[precision]
    for name, value in expected.items():
        assert weights[name].shape == value.shape, name
        np.testing.assert_allclose(weights[name], value, atol=tolerance * max(1, np.abs(value).max()), err_msg=name)


@pytest.mark.parametrize(
    "form",
    [
        GraphForm(pooling="mean"),
        GraphForm(activation="gelu_erf", pooler="relu", padding_id=1),
        GraphForm(activation="relu", epsilon=1e-5),
    ],
    ids=["mean", "erf", "relu"],
)
def test_every_form_of_an_encoder_is_recognised(form):
    _, found = weights_of_graph(build_graph(tiny_weights(2), form))
    assert dataclasses.replace(found, epsilon=form.epsilon) == form
    assert found.epsilon == pytest.approx(form.epsilon)


def test_a_graph_of_another_form_is_refused():
    ops = import_openvino().opset13
    graph = build_graph(tiny_weights(2), GraphForm())
    equal = next(node for node in graph.get_ordered_ops() if node.get_type_name() == "Equal")
    padding = ops.convert(ops.constant(np.float32(0)), str(equal.input(1).get_element_type().get_type_name()))
    equal.input(1).replace_source_output(padding.output(0))
    with pytest.raises(UnknownEncoderError, match=r"a graph of another form \(AttributeError"):
        weights_of_graph(graph)


def test_numpy_reads_the_folder_with_equal_probabilities(versions, folder):
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    tensors = load_file(folder / "model.safetensors")
    tokenizer = LibraryTokenizer.from_file(str(folder / "tokenizer.json"))
    rows = []
    for text in TEXTS:
        ids = np.array([tokenizer.encode(text).ids])
        bert = {name.removeprefix("bert."): value for name, value in tensors.items()}
        pooled, _ = forward_of(bert, config["num_attention_heads"], ids, np.ones_like(ids), np.zeros_like(ids))
        rows.append(pooled[0] @ tensors["classifier.weight"].T + tensors["classifier.bias"])
    np.testing.assert_allclose(softmax(np.array(rows), 1.0), probabilities(versions["float32"]), atol=1e-4)
    assert config["id2label"] == {"0": "a|b", "1": "<b>"}


def test_an_exported_version_is_imported_with_equal_labels(versions, folder, tmp_path):
    store = ModelStore(tmp_path / "store")
    again = import_classifier(folder, store, ImportOptions("again", precision="float32"))
    assert again.manifest.class_names == versions["float32"].manifest.class_names
    found, expected = probabilities(again), probabilities(versions["float32"])
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert (found.argmax(axis=1) == expected.argmax(axis=1)).all()
    with pytest.raises(ConfigError, match="which was imported; use the model that it was imported from"):
        read_model(again)


def test_the_card_names_what_differs(versions, folder):
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert 'library_name: "transformers"' in card
    for sentence in differences(versions["float32"].manifest):
        assert f"- {sentence}\n" in card
    assert "The threshold of 0.4 is left out" in card
    assert "The linear stage of the cascade is left out" in card
    assert {path.name for path in folder.iterdir()} == {
        "README.md", "config.json", "model.safetensors", "special_tokens_map.json", "tokenizer.json",
        "tokenizer_config.json", "vocab.txt",
    }  # fmt: skip


def test_the_command(versions, tmp_path):
    version = versions["bfloat16"]
    arguments = ["export", version.id, "--model-path", str(version.path.parents[1]), "--to", "huggingface"]
    shown = CliRunner().invoke(main, [*arguments, "--output", str(tmp_path / "new" / "folder")])
    assert shown.exit_code == 0, shown.output
    assert f"version {version.id} for huggingface" in shown.output
    again = CliRunner().invoke(main, [*arguments, "--output", str(tmp_path / "new")])
    assert again.exit_code == 1
    assert "expected a new or empty folder, found other files; name another one" in again.output
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["folder"]


def test_mean_pooling_leads_to_onnx(versions, tmp_path):
    model = read_model(versions["float32"])
    mean = dataclasses.replace(model, form=dataclasses.replace(model.form, pooling="mean"))
    with pytest.raises(ConfigError, match="found pooling mean, for which transformers has no class; use --to onnx"):
        write_hugging_face(mean, tmp_path)
    assert list(tmp_path.iterdir()) == []
