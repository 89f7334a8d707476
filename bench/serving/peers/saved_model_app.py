"""SavedModel with string input in Flask."""

import os

from flask import Flask, jsonify, request
from flask.typing import ResponseReturnValue


def create_app(folder: str) -> Flask:
    """Serve `folder`/saved_model by its signature serving_default; labels.txt contains a class name per line."""
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    import tensorflow as tf
    import tensorflow_text  # noqa: F401

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    model = tf.saved_model.load(os.path.join(folder, "saved_model"))
    score = model.signatures["serving_default"]
    with open(os.path.join(folder, "labels.txt"), encoding="utf-8") as file:
        labels = file.read().splitlines()
    app = Flask(__name__)
    app.extensions["model"] = model  # A signature does not keep the variables of its model alive.

    @app.post("/predict")
    def predict() -> ResponseReturnValue:
        (probabilities,) = score(tf.constant([request.get_json()["text"]]))["probabilities"].numpy().tolist()
        best = max(range(len(labels)), key=probabilities.__getitem__)
        return jsonify(label=labels[best], score=probabilities[best])

    return app
