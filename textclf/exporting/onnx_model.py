"""Writes a version as a folder with model.onnx, its tokenizer and its labels.

B: batch, S: sequence length, H: width, A: heads, D = H / A, K: classes.
    input_ids int64 [B, S], attention_mask int64 [B, S]  ->  logits float32 [B, K]
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from textclf.exporting.exported_model import ExportedModel, differences
from textclf.exporting.tokenizer_files import write_json, write_tokenizer
from textclf.report.model_card import ExportNotes, model_card

# Gelu is an operator since opset 20, and LayerNormalization since 17.
_OPSET, _IR_VERSION = 20, 9
# Added to the attention scores of padding.
_MASKED = -1e9
_USAGE = """```python
import json

import numpy as np
import onnxruntime
from tokenizers import Tokenizer

labels = json.load(open("FOLDER/labels.json", encoding="utf-8"))
tokenizer = Tokenizer.from_file("FOLDER/tokenizer.json")
session = onnxruntime.InferenceSession("FOLDER/model.onnx")
texts = tokenizer.encode_batch(["First text.", "Second text."])
feeds = {
    "input_ids": np.array([text.ids for text in texts], np.int64),
    "attention_mask": np.array([text.attention_mask for text in texts], np.int64),
}
logits = session.run(["logits"], feeds)[0]
print([labels[i] for i in logits.argmax(axis=1)])
```"""


def write_onnx(model: ExportedModel, folder: Path) -> None:
    """Write model.onnx, tokenizer.json, labels.json and README.md into an existing folder.

    Raises:
        ModuleNotFoundError: if the extra onnx or hub is not installed.
    """
    import onnx

    manifest = model.manifest
    graph = onnx_graph(model)
    onnx.checker.check_model(graph, full_check=True)
    (folder / "model.onnx").write_bytes(graph.SerializeToString())
    write_tokenizer(folder, model.tokenizer, min(manifest.max_length, model.sizes.positions))
    write_json(folder / "labels.json", list(manifest.class_names))
    notes = ExportNotes("onnx", _USAGE, differences(manifest))
    (folder / "README.md").write_text(model_card(manifest, notes), encoding="utf-8")


def onnx_graph(model: ExportedModel) -> Any:
    """The encoder and its classifier as an onnx.ModelProto, with dynamic batch and sequence length."""
    from onnx import TensorProto, helper

    graph = _Graph(model)
    mask = graph.add("Cast", ["attention_mask"], to=TensorProto.FLOAT)  # [B, S]
    absent = graph.add(
        "Mul", [graph.add("Sub", [graph.constant(np.float32(1)), mask]), graph.constant(np.float32(_MASKED))]
    )
    absent = graph.add("Unsqueeze", [absent, graph.constant(np.array([1, 2]))])  # [B, 1, 1, S]
    hidden = graph.embedded()
    for layer in range(model.sizes.layers):
        name = f"transformer/layer_{layer}"
        attended = graph.attention(hidden, absent, f"{name}/self_attention")
        hidden = graph.norm(graph.add("Add", [hidden, attended]), f"{name}/self_attention_layer_norm")
        inner = graph.activated(graph.dense(hidden, f"{name}/intermediate"))
        hidden = graph.norm(
            graph.add("Add", [hidden, graph.dense(inner, f"{name}/output")]), f"{name}/output_layer_norm"
        )
    graph.dense(graph.pooled(hidden, mask), "classifier", output="logits")
    whole = helper.make_graph(
        graph.nodes,
        "text_classifier",
        [helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "sequence"])
         for name in ("input_ids", "attention_mask")],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", model.sizes.classes])],
        graph.constants,
    )  # fmt: skip
    opsets = [helper.make_opsetid("", _OPSET)]
    made = helper.make_model(whole, opset_imports=opsets, ir_version=_IR_VERSION, producer_name="textclf")
    helper.set_model_props(made, {"labels": json.dumps(model.manifest.class_names)})
    return made


@dataclass
class _Graph:
    """Nodes and constants of a graph that grows."""

    model: ExportedModel
    nodes: list[Any] = field(default_factory=list)
    constants: list[Any] = field(default_factory=list)

    def add(self, kind: str, inputs: Sequence[str], output: str = "", **attributes: Any) -> str:
        """Add a node; returns the name of its output."""
        from onnx import helper

        output = output or f"{kind}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [output], **attributes))
        return output

    def constant(self, value: Any, name: str = "") -> str:
        """Add a constant; returns its name."""
        from onnx import numpy_helper

        name = name or f"constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value, order="C"), name))
        return name

    def embedded(self) -> str:
        """The normalised embeddings: [B, S, H]."""
        weights = self.model.weights
        words = self.constant(weights["word_embeddings/embeddings"], "word_embeddings")
        places = weights["position_embedding/embeddings"] + weights["type_embeddings/embeddings"][0]
        length = self.add("Shape", ["input_ids"], start=1, end=2)
        start, axis = self.constant(np.array([0])), self.constant(np.array([0]))
        place = self.add("Slice", [self.constant(places, "position_embeddings"), start, length, axis])
        word = self.add("Gather", [words, "input_ids"])
        return self.norm(self.add("Add", [word, place]), "embeddings/layer_norm")

    def attention(self, hidden: str, absent: str, name: str) -> str:
        """Self-attention with its output layer: [B, S, H] -> [B, S, H]; `absent` is added to the scores."""
        sizes = self.model.sizes
        depth = sizes.width // sizes.heads
        split = self.constant(np.array([0, 0, sizes.heads, depth]))

        def heads(part: str, order: list[int]) -> str:
            values = self.add("Reshape", [self.dense(hidden, f"{name}/{part}"), split])
            return self.add("Transpose", [values], perm=order)

        query = self.add("Mul", [heads("query", [0, 2, 1, 3]), self.constant(np.float32(depth**-0.5))])
        scores = self.add("MatMul", [query, heads("key", [0, 2, 3, 1])])  # [B, A, S, S]
        shares = self.add("Softmax", [self.add("Add", [scores, absent])], axis=-1)
        mixed = self.add("Transpose", [self.add("MatMul", [shares, heads("value", [0, 2, 1, 3])])], perm=[0, 2, 1, 3])
        joined = self.add("Reshape", [mixed, self.constant(np.array([0, 0, sizes.width]))])
        return self.dense(joined, f"{name}/attention_output")

    def activated(self, values: str) -> str:
        """The activation of the feed-forward layers."""
        activation = self.model.form.activation
        if activation == "relu":
            return self.add("Relu", [values])
        return self.add("Gelu", [values], approximate="tanh" if activation == "gelu_tanh" else "none")

    def pooled(self, hidden: str, mask: str) -> str:
        """The input of the classifier: [B, S, H], [B, S] -> [B, H]."""
        if self.model.form.pooling == "cls":
            first = self.add("Gather", [hidden, self.constant(np.array(0))], axis=1)
            return self.add(self.model.form.pooler.capitalize(), [self.dense(first, "pooler_transform")])
        weights = self.add("Unsqueeze", [mask, self.constant(np.array([2]))])
        axis = self.constant(np.array([1]))
        total = self.add("ReduceSum", [self.add("Mul", [hidden, weights]), axis], keepdims=0)
        return self.add("Div", [total, self.add("ReduceSum", [weights, axis], keepdims=0)])

    def dense(self, values: str, name: str, output: str = "") -> str:
        """[…, in] -> […, out]."""
        kernel, bias = self.model.weights[f"{name}/kernel"], self.model.weights[f"{name}/bias"].reshape(-1)
        product = self.add("MatMul", [values, self.constant(kernel.reshape(-1, bias.size), f"{name}/kernel")])
        return self.add("Add", [product, self.constant(bias, f"{name}/bias")], output)

    def norm(self, values: str, name: str) -> str:
        """Layer normalisation."""
        scale, shift = (
            self.constant(self.model.weights[f"{name}/{part}"], f"{name}/{part}") for part in ("gamma", "beta")
        )
        return self.add("LayerNormalization", [values, scale, shift], axis=-1, epsilon=self.model.form.epsilon)
