"""ONNX Runtime and the tokenizers library in Flask."""

import json
import os

from flask import Flask, jsonify, request
from flask.typing import ResponseReturnValue


def create_app(folder: str, max_length: int) -> Flask:
    """Serve model.onnx, tokenizer.json and the labels of config.json in `folder`."""
    import numpy as np
    import onnxruntime
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(os.path.join(folder, "tokenizer.json"))
    tokenizer.enable_truncation(max_length)
    tokenizer.no_padding()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        os.path.join(folder, "model.onnx"), options, providers=["CPUExecutionProvider"]
    )
    with open(os.path.join(folder, "config.json"), encoding="utf-8") as file:
        labels = {int(position): name for position, name in json.load(file)["id2label"].items()}
    app = Flask(__name__)

    @app.post("/predict")
    def predict() -> ResponseReturnValue:
        encoding = tokenizer.encode(request.get_json()["text"])
        inputs = {
            "input_ids": encoding.ids,
            "attention_mask": encoding.attention_mask,
            "token_type_ids": encoding.type_ids,
        }
        (logits,) = session.run(["logits"], {name: np.array([ids], np.int64) for name, ids in inputs.items()})[0]
        powers = np.exp(logits - logits.max())
        best = int(logits.argmax())
        return jsonify(label=labels[best], score=float(powers[best] / powers.sum()))

    return app
