"""A Hugging Face text-classification pipeline in Flask."""

from flask import Flask, jsonify, request
from flask.typing import ResponseReturnValue


def create_app(folder: str) -> Flask:
    """Serve the checkpoint in `folder`. A single text is not padded; what is too long is cut by the tokenizer."""
    import torch
    from transformers import pipeline

    torch.set_num_threads(1)
    classify = pipeline("text-classification", model=folder, device="cpu")
    max_length = classify.tokenizer.model_max_length
    app = Flask(__name__)

    @app.post("/predict")
    def predict() -> ResponseReturnValue:
        (answer,) = classify([request.get_json()["text"]], truncation=True, max_length=max_length)
        return jsonify(label=answer["label"], score=answer["score"])

    return app
