"""Exports the engine of a trained SavedModel: an int8 graph that runs without TensorFlow and gives the same labels.

1. The serving tokenizer must give the ids of the preprocessing SavedModel; otherwise nothing is exported.
2. The graph is built from the weights (engine_graph.py) and must give the SavedModel's logits within the rounding
   error. For an unknown encoder the SavedModel's own graph is converted, which is slower.
3. The graph is tried in int8 (NNCF), bfloat16 and float32; the first precision that passes the parity check
   (textclf.stats.parity) on up to 2,000 held-out texts is used.
"""

import dataclasses
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from textclf.data.splits import Split
from textclf.environment import import_openvino
from textclf.errors import TrainingError
from textclf.graph.bert_weights import UnknownEncoderError, Weights, bert_weights
from textclf.graph.engine_files import write_engine
from textclf.graph.engine_graph import GraphForm, build_graph
from textclf.graph.golden_texts import golden_texts_of
from textclf.graph.quantization import quantise
from textclf.importing.checkpoint import FAMILIES
from textclf.phases import rough_wordpieces
from textclf.runtime.engine import (
    PRECISION_HINTS,
)
from textclf.store.manifest import Manifest
from textclf.tokenization.text_tokenizer import TextTokenizer
from textclf.training.encoders.preprocessing import TextPreprocessing
from textclf.training.export.activation_search import find_activation
from textclf.training.export.saved_model_export import IDS_SIGNATURE, saved_model_logits
from textclf.training.export.tokenizer_parity import differing_texts, tokenizer_of_preprocessing
from textclf.training.graphs import graph_function
from textclf.training.tf_setup import tf

# Texts for the quantiser, for the comparison of the float graph, and for the parity check.
_CALIBRATION_TEXTS = 300
_COMPARED_TEXTS = 16
_PARITY_TEXTS = 2000
# Rough speeds of a small encoder on two cores, in wordpieces per second, to announce the duration.
_QUANTIZATION_SPEED = 1500
_COMPARISON_SPEED = 5000
_FIXED_SECONDS = 15
# Between the SavedModel and the graph in float32, which add in different orders.
_LOGIT_TOLERANCE = 2e-3
_RELATIVE_TOLERANCE = 5e-4  # Times the largest logit: rounding errors grow with it.


@dataclass(frozen=True, eq=False)
class ExportedEngine:
    """An exported engine, and the manifest with `engine` and `parity`.

    Attributes:
        compared: positions in the calibration set on which engine and SavedModel were compared, ascending.
        saved_model_logits: the SavedModel's logits of these texts, float32 [texts, classes].
    """

    manifest: Manifest
    compared: NDArray[np.intp]
    saved_model_logits: NDArray[np.float32]


@dataclass(frozen=True)
class EngineTexts:
    """Texts that the export reads.

    Attributes:
        quantization: training texts, which measure the ranges of activations.
        calibration_set: held-out texts for the parity check.
        more_held_out: other held-out texts, which the parity check also reads if the calibration set is small.
    """

    quantization: Sequence[str]
    calibration_set: Split
    more_held_out: Split | None = None


def export_seconds(texts: EngineTexts, max_length: int) -> float:
    """Roughly how many seconds export_engine() takes on two cores."""

    def wordpieces(texts: Sequence[str], max_texts: int) -> float:
        return rough_wordpieces(texts, max_length) * min(1, max_texts / len(texts))

    quantization = wordpieces(texts.quantization, _CALIBRATION_TEXTS) / _QUANTIZATION_SPEED
    more = () if texts.more_held_out is None else texts.more_held_out.texts
    compared = [*texts.calibration_set.texts, *more]
    return _FIXED_SECONDS + quantization + wordpieces(compared, _PARITY_TEXTS) / _COMPARISON_SPEED


def checked_tokenizer(preprocessing: TextPreprocessing, texts: Sequence[str]) -> TextTokenizer:
    """The serving tokenizer, after a comparison with the preprocessing on `texts` and the golden texts.

    Raises:
        TrainingError: if it gives other ids for a text.
        EncoderError: if the preprocessing is not BERT's.
    """
    tokenizer = tokenizer_of_preprocessing(preprocessing)
    texts = [*texts, *golden_texts_of(preprocessing.windows, preprocessing.max_length)]
    if differing := differing_texts(preprocessing, tokenizer, texts):
        raise TrainingError(
            f"the tokenizer that serves gives other ids than the preprocessing {preprocessing.folder} on "
            f"{len(differing)} of {len(texts)} texts; nothing was saved, please report this with the encoder's handle"
        )
    return tokenizer


def export_engine(
    saved_model: Path, tokenizer: TextTokenizer, manifest: Manifest, texts: EngineTexts, folder: Path, seed: int = 0
) -> ExportedEngine:
    """Write the engine of a trained model into a new `folder`.

    Args:
        saved_model: the folder of the SavedModel (textclf.training.export.saved_model_export).
        tokenizer: the serving tokenizer, from checked_tokenizer().
        manifest: temperature, threshold, class names and pooling of the model.
        texts: texts for quantisation and for the comparison.
        folder, seed: folder of the engine, and random seed for the choice of texts.

    Raises:
        TrainingError: if no precision passes the parity check.
    """
    random, golden = np.random.default_rng(seed), golden_texts_of(manifest.windows, manifest.max_length)
    rows = _chosen(len(texts.calibration_set), _PARITY_TEXTS, random)
    compared = texts.calibration_set.chosen(rows)
    if texts.more_held_out is not None:
        more = texts.more_held_out.chosen(_chosen(len(texts.more_held_out), _PARITY_TEXTS - len(rows), random))
        compared = Split((*compared.texts, *more.texts), np.concatenate([compared.labels, more.labels]))
    calibration = [texts.quantization[i] for i in random.permutation(len(texts.quantization))[:_CALIBRATION_TEXTS]]
    model = tf.saved_model.load(str(saved_model))
    original = saved_model_logits(model, compared.texts, manifest.windows, tokenizer)
    probe = _windows(tokenizer, compared.texts[:_COMPARED_TEXTS])
    form = _form_of(manifest, tokenizer.padding_id)
    source = _float_graph(model, probe, original[:_COMPARED_TEXTS], form)
    folder.mkdir(parents=True)
    tokenizer.save(folder)
    refused: list[str] = []
    graphs: dict[str, Callable[[], Any]] = dict.fromkeys(PRECISION_HINTS, lambda: source.graph)
    graphs["int8"] = lambda: quantise(
        source.weights,
        dataclasses.replace(form, activation=source.activation),
        [window for windows in _windows(tokenizer, calibration) for window in windows],
    )
    if source.why_converted:
        refused.append(f"int8: the graph can't be built for this encoder, only converted ({source.why_converted})")
        # For converted graphs in bfloat16 the plugin gives wrong results for some texts (OpenVINO 2026.4: another
        # label, although each layer alone was right), which a gate with few texts may miss.
        graphs = {"float32": graphs["float32"]}
    engine, engine_parity = write_engine(folder, tokenizer, graphs, manifest, golden, compared, original, refused)
    engine["graph"] = "converted" if source.why_converted else "built"
    manifest = dataclasses.replace(
        manifest, engine=engine, golden_texts=golden, parity={**manifest.parity, "engine": engine_parity.to_dict()}
    )
    return ExportedEngine(manifest, rows, original[: len(rows)])


def _windows(tokenizer: TextTokenizer, texts: Sequence[str]) -> list[list[list[int]]]:
    """The windows of each text, as ids."""
    return [tokenizer.windows(text.ids) for text in tokenizer(texts)]


def _chosen(count: int, max_count: int, random: np.random.Generator) -> NDArray[np.intp]:
    """Positions of up to `max_count` of `count` texts, ascending."""
    return np.arange(count) if count <= max_count else np.sort(random.permutation(count)[:max_count])


@dataclass(frozen=True)
class _FloatGraph:
    """An openvino.Model in float32, its weights and activation, and why it was converted ("" if it was built)."""

    graph: Any
    weights: Weights
    activation: str
    why_converted: str = ""


def _form_of(manifest: Manifest, padding_id: int) -> GraphForm:
    """The form of a version's encoder, except for its activation."""
    pooling = manifest.training.get("pooling", "cls")  # Earlier versions do not record it.
    form = GraphForm(padding_id=padding_id, pooling=pooling)
    if "family" not in manifest.encoder:
        return form
    pooler = FAMILIES[manifest.encoder["family"]].pooler
    return dataclasses.replace(form, pooler=pooler, epsilon=manifest.encoder["layer_norm_epsilon"])


def _float_graph(
    model: Any, probe: list[list[list[int]]], original: NDArray[np.float32], form: GraphForm
) -> _FloatGraph:
    """The graph, built or converted."""
    weights = bert_weights({item.name: item.numpy() for item in model.weights if item.dtype == tf.float32})
    tolerance = _LOGIT_TOLERANCE + _RELATIVE_TOLERANCE * float(np.abs(original).max())

    def build(activation: str) -> Any:
        return build_graph(weights, dataclasses.replace(form, activation=activation))

    try:
        activation, graph = find_activation(build, probe, original, tolerance)
    except UnknownEncoderError as error:
        return _FloatGraph(_converted_graph(model, form.padding_id, str(error)), weights, "", str(error))
    return _FloatGraph(graph, weights, activation)


def _converted_graph(model: Any, padding_id: int, why: str) -> Any:
    """The SavedModel's own graph after the tokenizer, in float32."""
    if IDS_SIGNATURE not in model.signatures:
        raise TrainingError(
            f"the engine can't be built for this encoder ({why}), nor converted from a SavedModel without the "
            f"signature {IDS_SIGNATURE}; train the model again"
        )
    openvino = import_openvino()
    classify = model.signatures[IDS_SIGNATURE]

    def of_ids(input_word_ids: Any) -> dict[str, Any]:
        mask = tf.cast(tf.not_equal(input_word_ids, padding_id), tf.int32)
        outputs = classify(input_word_ids=input_word_ids, input_mask=mask)
        return {name: tf.identity(outputs[name], name) for name in ("logits", "embeddings")}

    traced: Any = graph_function(tf.TensorSpec([None, None], tf.int32, name="input_word_ids"))(of_ids)
    logging.getLogger("openvino").setLevel(logging.ERROR)
    return openvino.convert_model(traced.get_concrete_function())
