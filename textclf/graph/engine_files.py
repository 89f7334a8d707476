"""Writes the files of an engine in the first precision that predicts as the original model does."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from textclf.data.splits import Split
from textclf.environment import import_openvino, openvino_core
from textclf.errors import ModelStoreError, TrainingError
from textclf.runtime.engine import (
    GRAPH_FILE,
    PRECISION_HINTS,
    Engine,
    compile_graph,
    golden_logits,
    remove_activation_quantization,
)
from textclf.runtime.predictor import Predictor
from textclf.stats.calibration import decide, softmax
from textclf.stats.parity import Parity, margins, parity, parity_failures
from textclf.store.manifest import Manifest
from textclf.tokenization.text_tokenizer import TextTokenizer

# Between CPUs with different instructions; int8 that saturates is wrong by whole units.
_GOLDEN_TOLERANCE = 0.25


def write_engine(
    folder: Path,
    tokenizer: TextTokenizer,
    graphs: Mapping[str, Callable[[], Any]],
    manifest: Manifest,
    golden: Sequence[str],
    compared: Split,
    original: NDArray[np.float32],
    refused: Sequence[str] = (),
) -> tuple[dict[str, Any], Parity]:
    """Write the graph into `folder`; return Manifest.engine and the parity with the original.

    Args:
        folder: existing folder of the engine.
        tokenizer: the serving tokenizer.
        graphs: precision to a function that makes its openvino.Model, in the order of trial.
        manifest: temperature, threshold, class names and lengths of the model.
        golden: texts of the self-check.
        compared: texts and labels of the comparison, at least one.
        original: logits of the original model for them, float32 [texts, classes].
        refused: why other precisions were not tried.

    Raises:
        TrainingError: if no precision passes the parity check.
    """
    core, refused = openvino_core(), [*refused]
    for precision, make in graphs.items():
        import_openvino().save_model(make(), str(folder / GRAPH_FILE), compress_to_fp16=precision == "bfloat16")
        # Read the file back, because that is what will be served.
        graph = core.read_model(str(folder / GRAPH_FILE))
        engine = Engine(compile_graph(core, graph, PRECISION_HINTS[precision]), tokenizer)
        engine.drop_wrong_steps(golden)
        try:
            predictor = Predictor(engine, manifest.class_names, manifest.max_wordpieces)
            logits = predictor.run(predictor.encode(list(compared.texts))).logits
            found = parity_of_logits(compared.labels, original, logits, manifest.temperature, manifest.threshold)
            failures = parity_failures(found)
        except ModelStoreError as error:  # Logits that are not finite.
            failures = [str(error)]
        if not failures:
            break
        refused.append(f"{precision}: {'; '.join(failures)}")
    else:
        raise TrainingError(
            f"expected an engine that predicts as the trained model does, found: {'; '.join(refused)}; nothing was "
            f"saved, please report this with the encoder's handle"
        )
    # load_engine falls back to this on CPUs where int8 is wrong.
    remove_activation_quantization(graph)
    float_engine = Engine(compile_graph(core, graph, "f32"), tokenizer)
    record = {
        "precision": precision,
        "graph": "built",
        "refused": refused,
        "golden_logits": golden_logits(engine, golden).tolist(),
        "golden_float_logits": golden_logits(float_engine, golden).tolist(),
        "golden_tolerance": _GOLDEN_TOLERANCE,
    }
    return record, found


def parity_of_logits(
    labels: NDArray[np.integer[Any]],
    original: NDArray[np.float32],
    copy: NDArray[np.float32],
    temperature: float,
    threshold: float,
) -> Parity:
    """Compare the logits [texts, classes] of a model and its copy on labelled texts."""
    probabilities = softmax(original, temperature)
    return parity(
        labels,
        (decide(probabilities, threshold), original),
        (decide(softmax(copy, temperature), threshold), copy),
        margins(probabilities, threshold),
    )
