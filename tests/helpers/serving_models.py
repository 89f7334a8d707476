"""Models for tests of the app: real predictors with backends that count words."""

import threading
from collections.abc import Sequence
from typing import Any

import numpy as np

from inference import Inference
from serving.settings import Settings
from textclf.runtime.backend import EncodedBatch, ModelOutputs, Timings
from textclf.runtime.predictor import Predictor

CLASSES = ("neg", "pos")
MAX_LENGTH = 16


class WordCounter:
    """Backend whose logits are the numbers of words `bad` and `good`; each word is a wordpiece."""

    tokenizer = None

    def __init__(self) -> None:
        self.warmed = 0

    def encode(self, texts: list[str], max_chars: int | None = None) -> EncodedBatch:
        counts = np.array([len(text.split()) + 2 for text in texts], np.int64)
        return EncodedBatch(texts, np.minimum(counts, MAX_LENGTH), counts)

    def run(self, inputs: Sequence[Any], timings: Timings) -> ModelOutputs:
        timings.infer += 1e-6
        return ModelOutputs(np.array([[text.count("bad"), text.count("good")] for text in inputs], np.float32))

    def warm_up(self, tokens_per_batch: int) -> None:
        self.warmed += 1


class Gate(WordCounter):
    """Backend that waits until it is opened, like the engine of a busy server."""

    def __init__(self) -> None:
        super().__init__()
        self.open = threading.Event()
        self.waiting = threading.Semaphore(0)
        self.open.set()

    def run(self, inputs: Sequence[Any], timings: Timings) -> ModelOutputs:
        self.waiting.release()
        assert self.open.wait(30), "nobody opened the gate"
        return super().run(inputs, timings)


class Fault(WordCounter):
    """Backend that fails on a text with `crash`, and quotes the text in its error."""

    def run(self, inputs: Sequence[Any], timings: Timings) -> ModelOutputs:
        for text in inputs:
            if "crash" in text:
                raise ValueError(f"can't compute {text}")
        return super().run(inputs, timings)


class Loaded(Inference):
    """Inference with a given predictor."""

    def __init__(self, predictor: Predictor) -> None:
        super().__init__("no model here")
        self._predictor = predictor


def inference(
    backend: Any = None, class_names: Sequence[str] = CLASSES, version_id: str = "20260101T000000000Z-0a1b2c"
) -> Inference:
    """Return an Inference with a backend; its model is called `words`."""
    predictor = Predictor(
        backend or WordCounter(), class_names, max_wordpieces=MAX_LENGTH, name="words", version_id=version_id
    )
    return Loaded(predictor)


def settings(folder: Any, **values: Any) -> Settings:
    """Return settings that write only below `folder`."""
    paths = {"model_path": folder / "model", "new_data_dir": folder / "new"}
    return Settings(**{**paths, "prediction_log_url": "off", **values})
