"""Texts to logits without TensorFlow: the tokenizer and the compiled graph in a model version's engine/.

    engine/model.xml, model.bin   the graph (export/engine_graph.py): input_word_ids [B, S] -> logits, embeddings
    engine/…                      the tokenizer's files (textclf.tokenization.tokenizer)

B: batch, S: sequence length in wordpieces, padding included.
"""

import itertools
import logging
import os
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from textclf.environment import openvino_core, usable_cores
from textclf.errors import ModelStoreError, export_again_command
from textclf.runtime.backend import TEXTS_PER_BATCH, EncodedBatch, ModelOutputs, Timings
from textclf.runtime.joint_runs import MAX_TOKENS, JointRuns
from textclf.store.manifest import Manifest
from textclf.store.model_store import ModelVersion
from textclf.tokenization.text_tokenizer import TextTokenizer, load_tokenizer
from textclf.tokenization.tokenizer import SPECIAL_TOKENS
from textclf.tokenization.windows import window_count

GRAPH_FILE = "model.xml"
# Precision in the manifest -> precision hint for the CPU plugin. In an int8 graph, the other operations use bfloat16.
PRECISION_HINTS = {"int8": "bf16", "bfloat16": "bf16", "float32": "f32"}

# Largest difference of logits between two padded lengths, on one CPU. In seven models, correct neighbouring lengths
# differed by 0 to 0.03; wrong lengths differed by 1.1 or more for one of eight texts, but by only 0.2 for another.
STEP_TOLERANCE = 0.15
# Total wordpieces of the texts that test a length; at least one text.
_PROBED_TOKENS = 256
# The known error is at the width of a head, which is at most 128 in the usual encoders. The next length tells whether
# that one is wrong. The test of longer lengths would take most of the time.
_LONGEST_TESTED = 160
# Wordpieces of a batch that every user of an engine prepares; see warm_up.
_PREPARED_TOKENS = 128

_log = logging.getLogger(__name__)


class Engine:
    """A compiled graph and its tokenizer; runs one batch at a time, in the order of the calls.

    Single texts of several threads that wait for their turn run as one batch (see joint_runs).

    Args:
        compiled: openvino.CompiledModel.
        tokenizer: converts texts to ids.
    """

    def __init__(self, compiled: Any, tokenizer: TextTokenizer) -> None:
        self.tokenizer = tokenizer
        self.steps = length_steps(tokenizer.settings.max_length)
        self._request = compiled.create_infer_request()
        self._outputs = [output.get_any_name() for output in compiled.outputs]
        self._runs = JointRuns()
        self._process = os.getpid()
        self._warm: set[tuple[int, int]] = set()

    def encode(self, texts: list[str], max_chars: int | None = None) -> EncodedBatch:
        """Ids of the texts, with lengths rounded up to a step of the engine."""
        tokenized = self.tokenizer(texts, max_chars)
        inputs = [text.ids for text in tokenized]
        sizes = [len(ids) for ids in inputs]
        max_length, max_windows = self.tokenizer.settings.max_length, self.tokenizer.settings.windows
        windows: NDArray[np.int64] | None = None
        if max_windows > 1 and max(sizes, default=0) > max_length:
            capacity = max_length - SPECIAL_TOKENS
            counts = [window_count(size - SPECIAL_TOKENS, capacity, max_windows) for size in sizes]
            windows, sizes = np.array(counts, np.int64), [min(size, max_length) for size in sizes]
        lengths = self.steps[np.searchsorted(self.steps, sizes)]
        return EncodedBatch(
            inputs,
            lengths if windows is None else lengths * windows,
            np.array([text.length for text in tokenized], np.int64),
            [text.wordpieces for text in tokenized],
            windows,
        )

    def run(self, inputs: Sequence[Sequence[int]], timings: Timings) -> ModelOutputs:
        """Logits and embeddings of ids, padded to the longest and rounded up to a step.

        Raises:
            ModelStoreError: if this process was forked from the one that loaded the model.
        """
        if os.getpid() != self._process:
            raise ModelStoreError(
                "the model was loaded before this process was forked, and its threads were not: load it after the fork "
                "(gunicorn: without --preload)"
            )
        start = time.perf_counter()
        longest = max(map(len, inputs))
        run = self._runs.run(self._compute, inputs, int(self.steps[np.searchsorted(self.steps, longest)]))
        timings.add("queue", start, run.start)
        timings.add("infer", run.start, run.end, run.share)
        return run.outputs

    def warm_up(self, tokens_per_batch: int) -> None:
        """Run every batch shape once: compiling the kernels of a shape takes tens of milliseconds."""
        self._runs.max_tokens = 0  # Only prepared shapes.
        for step in self.steps.tolist():
            size = 1
            while size == 1 or size <= min(TEXTS_PER_BATCH, tokens_per_batch // step):
                if (size, step) not in self._warm:
                    self.run([[self.tokenizer.padding_id] * step] * size, Timings())
                    self._warm.add((size, step))
                size *= 2
        self._runs.max_tokens = min(MAX_TOKENS, tokens_per_batch)

    def drop_wrong_steps(self, texts: Sequence[str], tolerance: float = STEP_TOLERANCE) -> list[int]:
        """Remove the lengths that this CPU computes wrong, and return them; texts are then padded to the next length.

        A text that fills a length of up to 160 must give the same logits when it is padded to the next length. Lengths
        that agree with their neighbours are correct if they are the majority and include the longest of these. If the
        longest is wrong, nothing is removed. With AMX, OpenVINO 2026.4 computes bfloat16 attention wrong if the padded
        length equals the width of a head (32 in minilm-l6): the logits are off by some units.

        Args:
            texts: the golden texts; their wordpieces fill the lengths.
            tolerance: largest difference between two logits of one text that counts as rounding.
        """
        pieces = [piece for text in self.tokenizer(texts) for piece in text.wordpieces]
        untested = [step for step in self.steps.tolist() if step > _LONGEST_TESTED]
        steps: list[int] = [step for step in self.steps.tolist() if step <= _LONGEST_TESTED]
        if not pieces or not steps:
            return []
        groups = [[steps[-1]]]
        for step, longer in reversed(list(itertools.pairwise(steps))):
            if self._agree(step, longer, pieces, tolerance):
                groups[-1].append(step)
            else:
                groups.append([step])
        if len(groups) == 1:
            return []
        # A wrong length separates the correct lengths on both sides of it; the lengths in a group agree.
        right = max(groups, key=len)
        kept = list(right)
        for group in groups:
            if group is not right:
                neighbour = min((step for step in right if step > group[0]), default=max(right))
                if self._agree(min(group[0], neighbour), max(group[0], neighbour), pieces, tolerance):
                    kept += group
        if steps[-1] not in kept:
            return []
        self.steps = np.array(sorted(kept) + untested, np.int64)
        return [step for step in steps if step not in kept]

    def _agree(self, step: int, longer: int, pieces: Sequence[int], tolerance: float) -> bool:
        """Whether texts that fill a length give the same logits when they are padded to a longer one."""
        filled = itertools.cycle(pieces)  # Several short texts: a wrong length is off by little for some.
        texts = [
            [self.tokenizer.start_id, *itertools.islice(filled, step - SPECIAL_TOKENS), self.tokenizer.end_id]
            for _ in range(max(1, _PROBED_TOKENS // step))
        ]
        here, there = (self._prepared_logits(texts, length) for length in (step, longer))
        return bool(np.abs(here - there).max() <= tolerance)  # Also false for NaN.

    def _prepared_logits(self, texts: Sequence[Sequence[int]], length: int) -> NDArray[np.float32]:
        """Logits of texts that are padded to a length, in batches that warm_up() prepares too: [texts, classes]."""
        size = 1 << (max(1, _PREPARED_TOKENS // length).bit_length() - 1)
        found = []
        for start in range(0, len(texts), size):
            batch = texts[start : start + size]
            if len(batch) < size:
                batch = [*batch, *[batch[-1]] * (size - len(batch))]
            found.append(self._infer(self._padded(batch, length))["logits"])
            self._warm.add((size, length))
        return np.concatenate(found)[: len(texts)]

    def _compute(self, inputs: Sequence[Sequence[int]], length: int) -> ModelOutputs:
        outputs = self._infer(self._padded(inputs, length))
        return ModelOutputs(outputs["logits"], outputs.get("embeddings"))

    def _padded(self, inputs: Sequence[Sequence[int]], length: int) -> NDArray[np.int32]:
        ids = np.full((len(inputs), length), self.tokenizer.padding_id, np.int32)
        for row, text in zip(ids, inputs, strict=True):
            row[: len(text)] = text
        return ids

    def _infer(self, ids: NDArray[np.int32]) -> dict[str, NDArray[np.float32]]:
        # By position: for a list, OpenVINO makes an array of every input to count them (35 microseconds).
        results = self._request.infer({0: ids}, share_inputs=True)
        # In the order of the outputs; each look-up by position would cost a dispatch on the type of the key.
        return dict(zip(self._outputs, results.values(), strict=True))


def length_steps(max_length: int) -> NDArray[np.int64]:
    """Sequence lengths that an engine computes, ascending; the last is max_length.

    Padding a text to twice its length doubles its cost. But each length must be prepared and takes 5 MB for kernels,
    and a change of length costs half a millisecond. So steps are fine for short texts and coarse for long ones: beyond
    16 tokens padding adds less than a half, beyond 64 less than a quarter.
    """
    steps = [*range(8, 32, 8), *range(32, 128, 16), *range(128, 256, 32), *range(256, max(256, max_length), 64)]
    return np.array([step for step in steps if step < max_length] + [max_length], np.int64)


def load_engine(version: ModelVersion, threads: int | None = None) -> Engine:
    """Load the engine of a version and compare its logits on the golden texts with those in the manifest.

    int8 products can overflow on CPUs without VNNI instructions. If the logits differ, the engine computes with
    floating-point activations instead and logs a warning.

    Args:
        version: version with the part `engine`.
        threads: number of threads, free to run on any core; None uses all cores.

    Raises:
        ModelStoreError: if a file is missing or damaged, or the logits differ with float activations too.
    """
    folder, manifest = version.part("engine"), version.manifest
    tokenizer = _tokenizer_of(version)
    core = openvino_core()
    precision = manifest.engine.get("precision")
    if precision not in PRECISION_HINTS:
        raise ModelStoreError.damaged(
            f"{version.path}: expected {', '.join(PRECISION_HINTS)} as the engine's precision, got {precision!r}",
            can_export=True,
        )
    try:
        graph = core.read_model(str(folder / GRAPH_FILE))
        engine = _checked_engine(compile_graph(core, graph, PRECISION_HINTS[precision], threads), tokenizer, version)
        difference = golden_difference(engine, manifest)
        if difference and precision == "int8":
            _log.warning(
                "%s: on this CPU the int8 engine's logits are off by %.3g; computing with float activations instead, "
                "which is slower",
                version.path, difference,
            )  # fmt: skip
            remove_activation_quantization(graph)
            engine = _checked_engine(compile_graph(core, graph, "f32", threads), tokenizer, version)
            difference = golden_difference(engine, manifest, "golden_float_logits")
    except RuntimeError as error:  # OpenVINO raises it for every problem; the reason comes last.
        reason = str(error).strip().rsplit("\n", 1)[-1][:300]
        raise ModelStoreError(f"{folder}: the engine can't be loaded: {reason}") from error
    if difference:
        raise ModelStoreError(
            f"{folder}: the engine's logits on the golden texts are off by {difference:.3g} on this CPU; export the "
            f"version again on a machine like this one ({export_again_command(version.id)})"
        )
    return engine


def _checked_engine(compiled: Any, tokenizer: TextTokenizer, version: ModelVersion) -> Engine:
    engine = Engine(compiled, tokenizer)
    if wrong := engine.drop_wrong_steps(version.manifest.golden_texts):
        _log.info("%s: on this CPU texts are not padded to %s wordpieces, which it computes wrong", version.path, wrong)
    return engine


def _tokenizer_of(version: ModelVersion) -> TextTokenizer:
    """The tokenizer of the engine; the settings that the manifest has, too, must be equal."""
    tokenizer, manifest = load_tokenizer(version.part("engine")), version.manifest
    for name, value in tokenizer.settings.to_dict().items():
        if value != getattr(manifest, name, value):
            raise ModelStoreError.damaged(
                f"{version.path}: expected {name} = {getattr(manifest, name)!r} as in the manifest, found {value!r} in "
                f"the tokenizer",
                can_export=True,
            )
    return tokenizer


def compile_graph(core: Any, graph: Any, precision_hint: str, threads: int | None = None) -> Any:
    """Compile the graph into an openvino.CompiledModel with the lowest latency for one batch at a time.

    Args:
        core, graph: openvino.Core and openvino.Model.
        precision_hint: "bf16" or "f32", for operations that are not quantised; without bf16 in the CPU, f32 is used.
        threads: number of threads; None uses all cores.
    """
    if precision_hint == "bf16" and "BF16" not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        precision_hint = "f32"
    return core.compile_model(
        graph,
        "CPU",
        {
            "NUM_STREAMS": 1,
            "INFERENCE_NUM_THREADS": threads or usable_cores(),
            # With pinning, the threads of all processes would share the first cores.
            "ENABLE_CPU_PINNING": False,
            "INFERENCE_PRECISION_HINT": precision_hint,
            # Only the graph decides which activations are quantised.
            "DYNAMIC_QUANTIZATION_GROUP_SIZE": 0,
        },
    )


def golden_difference(engine: Engine, manifest: Manifest, key: str = "golden_logits") -> float:
    """Largest difference between the engine's logits on the golden texts and the manifest's; 0.0 within tolerance.

    `key` is "golden_logits", or "golden_float_logits" for an engine with float activations.

    Raises:
        ModelStoreError: if the manifest has no tolerance, or not one row of logits for each golden text.
    """
    found = golden_logits(engine, manifest.golden_texts)
    try:
        expected = np.array(manifest.engine[key], np.float32)
        tolerance = float(manifest.engine["golden_tolerance"])
    except (KeyError, TypeError, ValueError) as error:
        raise ModelStoreError.damaged(
            f"version {manifest.id}: no {key} with a tolerance in the manifest", can_export=True
        ) from error
    if not len(found) or expected.shape != found.shape:
        raise ModelStoreError.damaged(
            f"version {manifest.id}: expected {key} of shape {list(found.shape)} in the manifest, got "
            f"{list(expected.shape)}",
            can_export=True,
        )
    difference = float(np.abs(found - expected).max())
    return 0.0 if difference <= tolerance else difference


def golden_logits(engine: Engine, texts: Sequence[str]) -> NDArray[np.float32]:
    """Logits of each text, computed one text at a time as for requests: float32 [texts, classes]."""
    windows = (engine.tokenizer.windows(text.ids) for text in engine.tokenizer(texts))
    return np.array([engine.run(rows, Timings()).logits.mean(axis=0) for rows in windows])


def remove_activation_quantization(graph: Any) -> None:
    """Let the graph compute with floating-point activations; its weights keep their 8 bits.

    A saved graph stores weights as integers with a scale, so all remaining FakeQuantize nodes quantise activations.
    """
    for node in graph.get_ops():
        if node.get_type_name() == "FakeQuantize":
            node.output(0).replace(node.input_value(0))
