"""Hugging Face text-classification pipeline in Flask."""

from flask import Flask, jsonify, request
from flask.typing import ResponseReturnValue


def create_app(folder: str) -> Flask:
    """Serve the checkpoint in `folder`. A single text is not padded; the tokenizer truncates long texts."""
    import torch
    from transformers import pipeline

    torch.set_num_threads(1)
    classify = pipeline("text-classification", model=folder, device="cpu")
    max_length = classify.tokenizer.model_max_length
    app = Flask(__name__)

    @app.post("/predict")
    def predict() -> ResponseReturnValue:
        (prediction,) = classify([request.get_json()["text"]], truncation=True, max_length=max_length)
        return jsonify(label=prediction["label"], score=prediction["score"])

    return app
