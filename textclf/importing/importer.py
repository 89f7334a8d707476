"""Makes a model version of a Hugging Face classifier: its graph and tokenizer, without TensorFlow and PyTorch."""

import dataclasses
import json
import platform
import re
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version as package_version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from textclf.data.splits import Split
from textclf.drift.reference import REFERENCE_FILE, save_reference
from textclf.environment import openvino_core
from textclf.errors import ConfigError, SourceError
from textclf.graph.engine_files import write_engine
from textclf.graph.engine_graph import build_graph
from textclf.graph.golden_texts import GOLDEN_TEXTS
from textclf.importing.checkpoint import CONFIG_FILE, MIN_POSITIONS, Classifier, read_classifier, read_json
from textclf.importing.wordpiece import own_or_library
from textclf.runtime.engine import Engine, compile_graph, load_engine
from textclf.runtime.feature_extraction import reference_of
from textclf.runtime.loading import predictor_with
from textclf.runtime.predictor import Predictor
from textclf.stats.calibration import decide, softmax
from textclf.stats.metrics import classification_metrics
from textclf.store.manifest import Manifest
from textclf.store.model_store import ModelStore, ModelVersion
from textclf.tokenization.library_tokenizer import LibraryTokenizer
from textclf.tokenization.text_tokenizer import TextTokenizer

TOKENIZER_FILE = "tokenizer.json"
PRECISIONS = ("auto", "int8", "bfloat16", "float32")
# Texts for the quantiser, and for the comparison of the engine with the float32 graph.
_QUANTISED_TEXTS = 300
_COMPARED_TEXTS = 2000
_FRONT_MATTER = re.compile(r"---\n(.*?)\n---", re.DOTALL)
_LICENCE = re.compile(r"^license:\s*[\"']?([\w.+-]+)[\"']?\s*$", re.MULTILINE)
_PACKAGES = ("numpy", "openvino", "tokenizers", "safetensors")


@dataclass(frozen=True)
class ImportOptions:
    """How a model is imported.

    Attributes:
        handle: name of the model as it was given, for people and for the record.
        revision: commit of the model on the Hub; "" for a folder.
        tokenizer: name of another model whose tokenizer is read; "" for the model's own.
        tokenizer_revision: its commit on the Hub; "" for a folder.
        precision: one of PRECISIONS; "auto" tries int8 if there are calibration texts, then bfloat16, then float32.
    """

    handle: str
    revision: str = ""
    tokenizer: str = ""
    tokenizer_revision: str = ""
    precision: str = "auto"


@dataclass(frozen=True, eq=False)
class CalibrationTexts:
    """Texts like those that the model will read, and their labels by name; None if they have none."""

    texts: tuple[str, ...]
    labels: tuple[str, ...] | None = None


def import_classifier(
    source: Path,
    store: ModelStore,
    options: ImportOptions,
    tokenizer: Path | None = None,
    calibration: CalibrationTexts | None = None,
    say: Callable[[str], None] = lambda _line: None,
) -> ModelVersion:
    """Save the classifier in the folder `source` as a version; the first one of a store becomes current.

    With labelled calibration texts the version has a drift reference and metrics. int8 needs calibration texts.

    Args:
        source: folder with config.json, tokenizer.json and safetensors.
        store: store of the version.
        options: its name and precision.
        tokenizer: folder of another tokenizer.json; None takes that of `source`.
        calibration: see CalibrationTexts.
        say: gets a line about each step.

    Raises:
        SourceError: if the model is damaged, or not a classifier of a known family.
        ConfigError: if int8 is wanted without calibration texts, or their labels are not those of the model.
        TrainingError: if no precision predicts as the model in float32 does; nothing is saved.
        ModelStoreError: if the store can't be written.
    """
    texts = tuple(GOLDEN_TEXTS) if calibration is None else calibration.texts
    if options.precision == "int8" and calibration is None:
        raise ConfigError("--precision int8: expected --calibration with texts to measure activations on, got none")
    own = source if tokenizer is None else tokenizer
    library = read_tokenizer(own, positions_of(source))
    model = read_classifier(source, library.padding_id)
    if library.settings.max_length > model.positions:
        library = read_tokenizer(own, model.positions)
    words = len(model.weights["word_embeddings/embeddings"])
    if len(library.vocabulary) > words:
        raise SourceError(
            own / TOKENIZER_FILE,
            f"expected at most {words:,} tokens, which the model embeds, found {len(library.vocabulary):,}",
            "give the tokenizer of this model",
        )
    labels = None if calibration is None else _class_ids(calibration, model.class_names)
    reader, reason = own_or_library(read_json(own / TOKENIZER_FILE), library, texts)
    manifest = _manifest(source, options, model, reader)
    say(f"read {options.handle}: {model.family}, {len(model.class_names)} classes")
    if reason:
        say(f"tokens are computed by the package tokenizers ({reason}): a server needs the extra hub")
    with store.new_version() as draft:
        folder = draft.path / "engine"
        folder.mkdir()
        reader.save(folder)
        precisions: tuple[str, ...] = PRECISIONS[1:] if options.precision == "auto" else (options.precision,)
        if calibration is None:
            precisions = tuple(name for name in precisions if name != "int8")
        manifest = _with_engine(manifest, folder, model, reader, texts, labels, precisions, say)
        say(f"engine in {manifest.engine['precision']}{_reason(manifest, options, calibration)}")
        if labels is not None:
            manifest = _with_reference(manifest, draft.path, texts, labels)
            say(f"drift reference of {len(texts):,} texts, accuracy {manifest.metrics['validation']['accuracy']:.2%}")
        else:
            say("no drift reference: give labelled texts with --calibration to watch for drift")
        draft.manifest = manifest
    return store.open(draft.id)


def read_tokenizer(folder: Path, positions: int) -> LibraryTokenizer:
    """The tokenizer in `folder`, for up to `positions` tokens and not more than it says itself.

    Raises:
        SourceError: if tokenizer.json is missing or not that of a BERT-like model.
        ConfigError: if the library is not installed.
    """
    path = folder / TOKENIZER_FILE
    if not path.is_file():
        raise SourceError(
            path, "expected a tokenizer, found no such file", "save it with a fast tokenizer of transformers"
        )
    config = folder / "tokenizer_config.json"
    stated = read_json(config).get("model_max_length", positions) if config.is_file() else positions
    # Without a limit, transformers writes a very large number.
    is_limit = isinstance(stated, int | float) and not isinstance(stated, bool) and MIN_POSITIONS <= stated < positions
    length = int(stated) if is_limit else positions
    content = read_json(path)
    try:
        return LibraryTokenizer(json.dumps(content), length, lower_case=_folds_case(content.get("normalizer")))
    except ImportError as error:
        raise ConfigError(
            "expected the packages of the extra hub to import a model, found no tokenizers; pip install 'textclf[hub]'"
        ) from error
    except ConfigError as error:
        raise SourceError(path, str(error), "choose another model") from error


def positions_of(source: Path) -> int:
    """The size of the position table that the config.json of a checkpoint states; 512 if it states none.

    Raises:
        SourceError: if the file is missing or damaged.
    """
    found = read_json(source / CONFIG_FILE).get("max_position_embeddings", 512)
    return found if isinstance(found, int) and found > 3 else 512


def _folds_case(normalizer: Any) -> bool:
    """Whether a normalizer of tokenizer.json folds case; it may be a sequence of others."""
    if not isinstance(normalizer, dict):
        return False
    parts = normalizer.get("normalizers")
    if isinstance(parts, list):
        return any(map(_folds_case, parts))
    return normalizer.get("type") == "Lowercase" or bool(normalizer.get("lowercase", False))


def _class_ids(calibration: CalibrationTexts, names: tuple[str, ...]) -> NDArray[np.int32] | None:
    if calibration.labels is None:
        return None
    if unknown := sorted(set(calibration.labels) - set(names)):
        raise ConfigError(
            f"--calibration: expected the labels {', '.join(names)}, got {', '.join(unknown[:5])}; use the labels of "
            f"the model, or leave the labels out"
        )
    return np.array([names.index(label) for label in calibration.labels], np.int32)


def _manifest(source: Path, options: ImportOptions, model: Classifier, reader: TextTokenizer) -> Manifest:
    card = source / "README.md"
    text = card.read_text(encoding="utf-8", errors="replace")[:10_000] if card.is_file() else ""
    head = _FRONT_MATTER.match(text)
    licence = _LICENCE.search(head[1]) if head else None
    return Manifest(
        name=options.handle.rstrip("/").rpartition("/")[2] or "imported",
        class_names=model.class_names,
        encoder={
            "model_name": options.handle,
            "name_to_handle": options.handle,
            "model_to_handle": options.tokenizer or options.handle,
        },
        max_length=reader.settings.max_length,
        truncation="head",
        head_fraction=reader.settings.head_fraction,
        lower_case=reader.settings.lower_case,
        source={
            "handle": options.handle,
            "revision": options.revision,
            "tokenizer": options.tokenizer,
            "tokenizer_revision": options.tokenizer_revision,
            "family": model.family,
            "sha256": model.sha256,
            "license": "" if licence is None else licence[1],
        },
        software={"python": platform.python_version(), **{name: package_version(name) for name in _PACKAGES}},
    )


def _with_engine(
    manifest: Manifest,
    folder: Path,
    model: Classifier,
    reader: TextTokenizer,
    texts: tuple[str, ...],
    labels: NDArray[np.int32] | None,
    precisions: tuple[str, ...],
    say: Callable[[str], None],
) -> Manifest:
    """Write the engine into `folder`; the original of the comparison is the same graph in float32."""
    rows = np.random.default_rng(0).permutation(len(texts))
    compared = tuple(texts[row] for row in rows[:_COMPARED_TEXTS])
    core = openvino_core()
    engine = Engine(compile_graph(core, build_graph(model.weights, model.form), "f32"), reader)
    predictor = Predictor(engine, manifest.class_names, manifest.max_wordpieces)
    original = predictor.run(predictor.encode(list(compared))).logits
    # Without labels the model's own stand for them: what counts is whether they change.
    known = decide(softmax(original, 1.0), manifest.threshold) if labels is None else labels[rows[:_COMPARED_TEXTS]]
    ids = [text.ids for text in reader([texts[row] for row in rows[:_QUANTISED_TEXTS]])]
    graphs = {name: make for name, make in _graphs(model, ids, say).items() if name in precisions}
    split = Split(compared, known.astype(np.int32))
    record, parity = write_engine(folder, reader, graphs, manifest, GOLDEN_TEXTS, split, original)
    return dataclasses.replace(
        manifest, engine=record, golden_texts=tuple(GOLDEN_TEXTS), parity={"engine": parity.to_dict()}
    )


def _graphs(model: Classifier, ids: list[list[int]], say: Callable[[str], None]) -> dict[str, Callable[[], Any]]:
    def in_int8() -> Any:
        from textclf.graph.quantization import quantise

        say(f"quantises to int8 with {len(ids):,} texts; a large model takes minutes")
        return quantise(model.weights, model.form, ids)

    return {
        "int8": in_int8,
        "bfloat16": lambda: build_graph(model.weights, model.form),
        "float32": lambda: build_graph(model.weights, model.form),
    }


def _reason(manifest: Manifest, options: ImportOptions, calibration: CalibrationTexts | None) -> str:
    if refused := manifest.engine["refused"]:
        return f" (refused: {'; '.join(refused)})"
    if options.precision != "auto":
        return " (as wanted)"
    return " (int8 needs texts: --calibration)" if calibration is None else ""


def _with_reference(manifest: Manifest, folder: Path, texts: tuple[str, ...], labels: NDArray[np.int32]) -> Manifest:
    engine = load_engine(ModelVersion(folder, manifest))
    predictor = predictor_with(engine, manifest)
    reference = reference_of(predictor, texts, labels, projection_texts=texts)
    save_reference(reference, folder / REFERENCE_FILE)
    probabilities = softmax(predictor.run(predictor.encode(list(texts))).logits, manifest.temperature)
    metrics = classification_metrics(probabilities, labels, manifest.class_names)
    return dataclasses.replace(manifest, metrics={"validation": metrics.to_dict()})
