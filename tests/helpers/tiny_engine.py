"""Model store with a tiny engine version, made from random weights without TensorFlow and training.

Its predictions are random; hashes, tokenizer files, golden logits and the graph are real.
"""

import functools
from pathlib import Path
from typing import Any

import numpy as np
from tiny_bert import CONFIG, vocabulary

from textclf.drift.reference import REFERENCE_FILE, save_reference
from textclf.environment import import_openvino, openvino_core
from textclf.graph.engine_graph import GraphForm, build_graph
from textclf.graph.quantization import quantise
from textclf.runtime.cascade import Cascade
from textclf.runtime.engine import (
    GRAPH_FILE,
    PRECISION_HINTS,
    Engine,
    compile_graph,
    golden_logits,
    remove_activation_quantization,
)
from textclf.runtime.feature_extraction import reference_of
from textclf.runtime.linear_stage import LinearStage
from textclf.runtime.loading import predictor_with
from textclf.runtime.unusual import UnusualTexts
from textclf.stats.cascade_rules import CascadeSettings
from textclf.store.manifest import Manifest
from textclf.store.model_store import ModelStore
from textclf.tokenization.tokenizer import Tokenizer
from textclf.training.linear_stage_training import fit_linear_stage
from textclf.training.unusual_training import fit_unusual

GOLDEN_TEXTS = ("The film was great.", "Dull and far too long.", "a", "bad " * 100)
GOLDEN_TOLERANCE = 0.1
# About half of the tiny reviews exit: "the film was dull and boring" does, "a film" does not.
CASCADE = CascadeSettings(linear_temperature=2.0, encoder_weight=1.0, linear_weight=0.5, exit_confidence=0.97)


def tiny_weights(
    classes: int = 2,
    seed: int = 0,
    width: int = CONFIG["hidden_size"],
    heads: int = CONFIG["num_attention_heads"],
    layers: int = CONFIG["num_hidden_layers"],
    inner: int = CONFIG["intermediate_size"],
    positions: int = CONFIG["max_position_embeddings"],
    words: int = CONFIG["vocab_size"],
) -> dict[str, np.ndarray]:
    """Return random weights with the names of engine_graph, large enough for different predictions."""
    random = np.random.default_rng(seed)
    weights: dict[str, np.ndarray] = {}

    def dense(name: str, kernel: tuple[int, ...], bias: tuple[int, ...], scale: float = 0.3) -> None:
        weights[f"{name}/kernel"] = random.normal(0, scale, kernel).astype(np.float32)
        weights[f"{name}/bias"] = random.normal(0, 0.1, bias).astype(np.float32)

    def norm(name: str) -> None:
        weights[f"{name}/gamma"] = (1 + random.normal(0, 0.1, width)).astype(np.float32)
        weights[f"{name}/beta"] = random.normal(0, 0.1, width).astype(np.float32)

    for name, rows in (("word_embeddings", words), ("position_embedding", positions), ("type_embeddings", 2)):
        weights[f"{name}/embeddings"] = random.normal(0, 0.5, (rows, width)).astype(np.float32)
    norm("embeddings/layer_norm")
    split = (heads, width // heads)
    for layer in range(layers):
        name = f"transformer/layer_{layer}"
        for part in ("query", "key", "value"):
            dense(f"{name}/self_attention/{part}", (width, *split), split)
        dense(f"{name}/self_attention/attention_output", (*split, width), (width,))
        norm(f"{name}/self_attention_layer_norm")
        dense(f"{name}/intermediate", (width, inner), (inner,))
        dense(f"{name}/output", (inner, width), (width,))
        norm(f"{name}/output_layer_norm")
    dense("pooler_transform", (width, width), (width,))
    dense("classifier", (width, classes), (classes,), scale=1.0)
    return weights


def tiny_reviews(count: int, seed: int = 0, classes: int = 2, of_films: bool = True) -> list[tuple[str, int]]:
    """Return texts of the tiny vocabulary with class ids in turn; texts that are not of films have other words."""
    random = np.random.default_rng(seed)
    subjects = "film movie story plot actor scene music" if of_films else "camera 7 x dialogue ! ending $"
    tells = ("bad awful dull boring", "good great lovely brilliant", "long slow short fast")
    reviews = []
    for i in range(count):
        words = [
            *random.choice(["the", "was", "it", "and", "is", "a", "very", ","], random.integers(2, 9)),
            *random.choice(subjects.split(), random.integers(2, 6)),
            *random.choice(tells[i % classes % len(tells)].split(), 2),
        ]
        reviews.append((" ".join(random.permutation(words)), i % classes))
    return reviews


def wordpieces_of_texts(texts: list[str]) -> list[list[int]]:
    """Return the wordpieces of texts in the tiny vocabulary, as a linear stage takes them."""
    return [text.wordpieces for text in Tokenizer(vocabulary(), lower_case=True, max_length=32)(texts)]


@functools.cache
def tiny_linear(classes: int = 2) -> LinearStage:
    """Return a linear stage that separates the tiny reviews; the tiny engines do not."""
    texts, labels = zip(*tiny_reviews(300, seed=7, classes=classes), strict=True)
    linear = fit_linear_stage(wordpieces_of_texts(list(texts)), labels, classes)
    assert linear is not None
    return linear


@functools.cache
def tiny_unusual() -> UnusualTexts:
    """Return statistics to which the tiny reviews are usual."""
    tokenizer = Tokenizer(vocabulary(), lower_case=True, max_length=32)
    return fit_unusual([text for text, _ in tiny_reviews(300, seed=8)], tokenizer)


def write_version(
    store: Path | str,
    class_names: tuple[str, ...] = ("neg", "pos"),
    seed: int = 0,
    name: str = "tiny",
    max_length: int = 32,
    truncation: str = "head",
    promote: bool = True,
    windows: int = 1,
    precision: str = "float32",
    reference_texts: list[tuple[str, int]] | None = None,
    cascade: CascadeSettings | bool = False,
    unusual: bool = False,
    **changes: object,
) -> Path:
    """Save a version with an engine and a reference into `store`, and make it current; return its folder.

    `precision` is as in the manifest, of which `changes` are fields; `reference_texts` are as tiny_reviews gives them,
    by default 200 of them; [] writes no reference. `cascade` adds a linear stage; True is CASCADE. `unusual`
    adds tiny_unusual().
    """
    openvino = import_openvino()
    weights = tiny_weights(len(class_names), seed)
    tokenizer = Tokenizer(vocabulary(), True, max_length, truncation, windows=windows)
    graph = tiny_graph(weights, max_length, precision)
    core = openvino_core()
    models = ModelStore(store)
    current = models.current_id()
    with models.new_version() as draft:
        (draft.path / "engine").mkdir()
        tokenizer.save(draft.path / "engine")
        openvino.save_model(graph, str(draft.path / "engine" / GRAPH_FILE), compress_to_fp16=precision == "bfloat16")
        graph = core.read_model(str(draft.path / "engine" / GRAPH_FILE))
        engines, golden = [], []
        for hint in (PRECISION_HINTS[precision], "f32"):
            engines.append(Engine(compile_graph(core, graph, hint), tokenizer))
            engines[-1].drop_wrong_steps(GOLDEN_TEXTS)
            golden.append(golden_logits(engines[-1], GOLDEN_TEXTS).tolist())
            remove_activation_quantization(graph)
        fields = {
            "name": name,
            "class_names": class_names,
            "encoder": dict.fromkeys(("model_name", "name_to_handle", "model_to_handle"), "tiny"),
            "max_length": max_length,
            "truncation": truncation,
            "head_fraction": 0.25,
            "windows": windows,
            "lower_case": True,
            "engine": {
                "precision": precision,
                "graph": "built",
                "refused": [],
                "golden_logits": golden[0],
                "golden_float_logits": golden[1],
                "golden_tolerance": GOLDEN_TOLERANCE,
            },
            "golden_texts": GOLDEN_TEXTS,
        }
        stages = None
        if cascade:
            stages = Cascade(tiny_linear(len(class_names)), CASCADE if cascade is True else cascade)
            stages.linear.save(draft.path / "engine")
            golden_linear = stages.linear(wordpieces_of_texts(list(GOLDEN_TEXTS)))
            fields["cascade"] = {
                "settings": stages.settings.to_dict(),
                "why_off": "",
                "golden_logits": golden_linear.tolist(),
            }
        if unusual:
            tiny_unusual().save(draft.path / "engine")
        draft.manifest = manifest = Manifest(**(fields | changes))
        labelled = tiny_reviews(200, classes=len(class_names)) if reference_texts is None else reference_texts
        if labelled:
            others = [text for text, _ in tiny_reviews(100, seed=1)]
            texts, labels = zip(*labelled, strict=True)
            predictor = predictor_with(engines[0], manifest, cascade=stages)
            reference = reference_of(predictor, texts, labels, projection_texts=others)
            save_reference(reference, draft.path / REFERENCE_FILE)
    if promote and models.current_id() != draft.id:
        models.promote(draft.id, expected_current=current)
    return models.open(draft.id).path


def tiny_graph(weights: dict[str, np.ndarray], max_length: int, precision: str) -> Any:
    """Return the built graph; for "int8" the quantised one."""
    if precision != "int8":
        return build_graph(weights)
    random = np.random.default_rng(0)
    texts = [random.integers(5, CONFIG["vocab_size"], length).tolist() for length in range(2, max_length + 1, 2)]
    return quantise(weights, GraphForm(), texts)
