"""One engine in its own process: requests on standard input, responses on standard output.

    python -m bench.serving.engine_worker ENGINE FOLDER THREADS

A request is a line of JSON: {"texts": [str], "ids": [[int]], "seconds": float}, all texts of the same length, or for a
`gemm-…` engine {"product": [m, k, n], "seconds": float}. The response is {"seconds": float, "logits": [[float]]}.
Engines run in separate processes, because the thread pools of the libraries disturb each other.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

# Runs the model once; returns the logits, or None.
Run = Callable[[], Any]
Prepare = Callable[[dict[str, Any]], Run]
_MIN_RUNS = 3


def main() -> None:
    """Load the engine, report that it is ready, and answer requests until standard input ends."""
    engine, folder, threads = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    # Responses go to the original standard output. Messages of libraries go to the log.
    responses = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    prepare = ENGINES[engine](folder, threads)
    _say(responses, {"ready": True})
    known = set()
    for line in sys.stdin:
        request = json.loads(line)
        run = prepare(request)
        shape = str([*request.get("product", ()), *map(len, request.get("ids", ()))])
        if shape not in known:  # The first runs of a shape compile and allocate.
            known.add(shape)
            time_of(run, request["seconds"])
        logits = run()
        seconds = time_of(run, request["seconds"])
        _say(responses, {"seconds": seconds, "logits": None if logits is None else np.asarray(logits).tolist()})


def time_of(run: Run, seconds: float) -> float:
    """Return the mean seconds of a run, over at least `seconds` and _MIN_RUNS runs."""
    runs, start = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - start) < seconds or runs < _MIN_RUNS:
        run()
        runs += 1
    return elapsed / runs


def _say(responses: Any, content: dict[str, Any]) -> None:
    responses.write(json.dumps(content) + "\n")
    responses.flush()


def _project(folder: Path, threads: int) -> Prepare:
    """Run this project's engine from ids to logits; `folder` is a version."""
    from textclf.runtime.backend import Timings
    from textclf.runtime.loading import load_predictor

    backend = load_predictor(folder, threads=threads).backend

    def prepare(request: dict[str, Any]) -> Run:
        inputs = backend.encode(request["texts"]).inputs
        return lambda: backend.run(inputs, Timings()).logits

    return prepare


def _saved_model(folder: Path, threads: int) -> Prepare:
    """Run the SavedModel in `folder`/saved_model from ids to logits, or from strings if it has no signature for ids."""
    import tensorflow as tf
    import tensorflow_text  # noqa: F401

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    model = tf.saved_model.load(str(folder / "saved_model"))

    # A signature does not keep the variables of its model alive.
    def prepare(request: dict[str, Any]) -> Run:
        if "classify_ids" not in model.signatures:
            texts = tf.constant(request["texts"])
            return lambda: model.signatures["serving_default"](texts)["logits"].numpy()
        ids = tf.constant(request["ids"], tf.int32)
        mask = tf.ones_like(ids)
        return lambda: model.signatures["classify_ids"](input_word_ids=ids, input_mask=mask)["logits"].numpy()

    return prepare


def _torch(folder: Path, threads: int, bfloat16: bool = False) -> Prepare:
    """Run Transformers' BertForSequenceClassification in `folder` from ids to logits."""
    import torch
    from transformers import AutoModelForSequenceClassification

    torch.set_num_threads(threads)
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()

    def prepare(request: dict[str, Any]) -> Run:
        ids = torch.tensor(request["ids"])
        mask = torch.ones_like(ids)

        def run() -> Any:
            with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
                return model(input_ids=ids, attention_mask=mask).logits.float().numpy()

        return run

    return prepare


def _torch_bfloat16(folder: Path, threads: int) -> Prepare:
    return _torch(folder, threads, bfloat16=True)


def _onnx(folder: Path, threads: int) -> Prepare:
    """Run ONNX Runtime on `folder`/model.onnx from ids to logits."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(folder / "model.onnx"), options, providers=["CPUExecutionProvider"])

    def prepare(request: dict[str, Any]) -> Run:
        ids = np.array(request["ids"], np.int64)
        inputs = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
        return lambda: session.run(["logits"], inputs)[0]

    return prepare


def _gemm_numpy(_folder: Path, _threads: int) -> Prepare:
    """Multiply float32 matrices with NumPy's BLAS; environment variables set its threads."""

    def prepare(request: dict[str, Any]) -> Run:
        m, k, n = request["product"]
        rng = np.random.default_rng(0)
        left, right = rng.random((m, k), np.float32), rng.random((k, n), np.float32)
        result = np.empty((m, n), np.float32)

        def run() -> None:
            np.matmul(left, right, out=result)

        return run

    return prepare


def _gemm_torch(_folder: Path, threads: int, dtype: str = "float32") -> Prepare:
    """Multiply matrices with PyTorch; int8 products add up in int32."""
    import torch

    torch.set_num_threads(threads)
    multiply = torch._int_mm if dtype == "int8" else torch.mm

    def prepare(request: dict[str, Any]) -> Run:
        m, k, n = request["product"]
        # Small whole numbers are exact in every type.
        left, right = (torch.randint(-8, 8, size).to(getattr(torch, dtype)) for size in ((m, k), (k, n)))
        result = multiply(left, right)

        def run() -> None:
            multiply(left, right, out=result)

        return run

    return prepare


def _gemm_bfloat16(folder: Path, threads: int) -> Prepare:
    return _gemm_torch(folder, threads, "bfloat16")


def _gemm_int8(folder: Path, threads: int) -> Prepare:
    return _gemm_torch(folder, threads, "int8")


ENGINES: dict[str, Callable[[Path, int], Prepare]] = {
    "project": _project,
    "saved-model": _saved_model,
    "torch": _torch,
    "torch-bfloat16": _torch_bfloat16,
    "onnx": _onnx,
    "gemm-numpy": _gemm_numpy,
    "gemm-torch": _gemm_torch,
    "gemm-bfloat16": _gemm_bfloat16,
    "gemm-int8": _gemm_int8,
}

if __name__ == "__main__":
    main()
