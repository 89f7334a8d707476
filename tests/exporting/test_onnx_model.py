"""model.onnx answers as the engine does, for both poolings; the example of the page runs."""

import dataclasses
import json
import re
from pathlib import Path

import numpy as np
import pytest
from tiny_engine import tiny_reviews, write_version

from textclf.environment import openvino_core
from textclf.exporting.command import export
from textclf.exporting.exported_model import read_model
from textclf.exporting.onnx_model import onnx_graph, write_onnx
from textclf.graph.engine_graph import build_graph
from textclf.runtime.engine import compile_graph
from textclf.runtime.loading import predictor_of_version
from textclf.store.model_store import open_model

onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnx")
PAGE = Path(__file__).parents[2] / "docs" / "export.md"
TEXTS = [text for text, _ in tiny_reviews(60, seed=3)]


@pytest.fixture(scope="module")
def version(tmp_path_factory):
    return open_model(write_version(tmp_path_factory.mktemp("store"), temperature=1.7))


@pytest.fixture(scope="module")
def folder(version, tmp_path_factory):
    target = tmp_path_factory.mktemp("exported") / "my-onnx"
    export(version, "onnx", target)
    return target


def test_logits_are_those_of_the_engine_by_the_temperature(version, folder):
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    texts = tokenizer.encode_batch(TEXTS)
    feeds = {
        "input_ids": np.array([text.ids for text in texts], np.int64),
        "attention_mask": np.array([text.attention_mask for text in texts], np.int64),
    }
    assert feeds["attention_mask"].min() == 0  # A batch is padded.
    found = onnxruntime.InferenceSession(folder / "model.onnx").run(["logits"], feeds)[0]
    predictor = predictor_of_version(version, cascade=False)
    np.testing.assert_allclose(found, predictor.run(predictor.encode(TEXTS)).logits / 1.7, atol=1e-4)


@pytest.mark.parametrize(
    "changes",
    [{"pooling": "mean"}, {"pooler": "relu", "activation": "gelu_erf"}, {"activation": "relu", "epsilon": 1e-5}],
    ids=["mean", "erf", "relu"],
)
def test_every_form_of_an_encoder(version, changes):
    model = read_model(version)
    model = dataclasses.replace(model, form=dataclasses.replace(model.form, **changes))
    ids = np.array([[2, 9, 8, 7, 3], [2, 30, 3, 0, 0], [2, 40, 41, 3, 0]])
    feeds = {"input_ids": ids, "attention_mask": (ids > 0).astype(np.int64)}
    session = onnxruntime.InferenceSession(onnx_graph(model).SerializeToString())
    (found,) = session.run(["logits"], feeds)
    compiled = compile_graph(openvino_core(), build_graph(model.weights, model.form), "f32")
    np.testing.assert_allclose(found, compiled([ids.astype(np.int32)])["logits"], atol=1e-4)


def test_the_folder(version, folder, tmp_path):
    assert {path.name for path in folder.iterdir()} == {"README.md", "labels.json", "model.onnx", "tokenizer.json"}
    assert json.loads((folder / "labels.json").read_text(encoding="utf-8")) == ["neg", "pos"]
    assert 'library_name: "onnx"' in (folder / "README.md").read_text(encoding="utf-8")
    write_onnx(read_model(version), tmp_path)
    assert (tmp_path / "model.onnx").read_bytes() == (folder / "model.onnx").read_bytes()


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_the_example_of_the_page_and_of_the_card(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder.parent)
    (code,) = re.findall(r"^```py\n(import json.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    card = (folder / "README.md").read_text(encoding="utf-8")
    (of_card,) = re.findall(r"^```python\n(.*?)^```$", card, re.MULTILINE | re.DOTALL)
    for example in (code, of_card.replace("FOLDER", "my-onnx")):
        exec(example, {})  # noqa: S102
        assert set(json.loads(capsys.readouterr().out.replace("'", '"'))) <= {"neg", "pos"}
