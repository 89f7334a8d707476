"""Reads a classifier or an encoder of the Hugging Face library from its folder: config.json and safetensors."""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from textclf.errors import SourceError
from textclf.files import sha256_of_file
from textclf.graph.bert_weights import (
    HUGGING_FACE_TENSORS,
    EncoderSizes,
    UnknownEncoderError,
    Weights,
    encoder_sizes,
    with_heads_added,
)
from textclf.graph.engine_graph import GraphForm
from textclf.importing.families.bert import BERT
from textclf.importing.families.distilbert import DISTILBERT
from textclf.importing.families.family import Family
from textclf.importing.families.roberta import ROBERTA
from textclf.importing.families.xlm_roberta import XLM_ROBERTA
from textclf.labels import MAX_CLASS_NAME_CHARS, is_class_name
from textclf.listing import shortened

CONFIG_FILE, WEIGHTS_FILE, INDEX_FILE = "config.json", "model.safetensors", "model.safetensors.index.json"
FAMILIES: Mapping[str, Family] = {
    "bert": BERT,
    "distilbert": DISTILBERT,
    "roberta": ROBERTA,
    "xlm-roberta": XLM_ROBERTA,
}
# Names of config.json -> those of the graph.
_ACTIVATIONS = {"gelu": "gelu_erf", "gelu_new": "gelu_tanh", "gelu_pytorch_tanh": "gelu_tanh", "relu": "relu"}
# Old checkpoints name the scale and shift of norms so.
_OLD_TENSORS = {"gamma": "gamma", "beta": "beta"}
_MAX_CLASSES = 10_000
# Two markers, and two tokens of a text: the shortest length of a version.
MIN_POSITIONS = 4
# No model has more layers, dimensions, positions or tokens; it bounds the memory for a damaged config.json.
_MAX_SIZE = 10_000_000
_SIZES = (
    "vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size",
    "max_position_embeddings",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Classifier:
    """A classifier as it was read.

    Attributes:
        family: key of FAMILIES.
        class_names: names of the classes; of a single logit the second is its label, and the first its opposite.
        weights: float32 by the names of textclf.graph.bert_weights, always of two classes or more.
        form: the rest of the encoder.
        positions: maximum number of tokens of a text.
        sha256: hash of the files with weights.
    """

    family: str
    class_names: tuple[str, ...]
    weights: Weights
    form: GraphForm
    positions: int
    sha256: str


@dataclass(frozen=True, eq=False)
class Encoder:
    """An encoder as it was read, without a classifier.

    Attributes:
        family: key of FAMILIES.
        weights: float32 by the names of textclf.graph.bert_weights. The layer before a classifier, `pooler_transform`,
            is missing if the checkpoint has none.
        form: the rest of the encoder; its padding id is 0, because a mask tells the padding.
    """

    family: str
    weights: Weights
    form: GraphForm


def read_classifier(folder: Path, padding_id: int) -> Classifier:
    """The classifier in `folder`; `padding_id` is that of its tokenizer.

    Raises:
        SourceError: if a file is missing or damaged, or the model is not a classifier of a known family.
    """
    path = folder / CONFIG_FILE
    config = read_json(path)
    family = _family_of(path, config)
    _check_head(path, config, family)
    names = _class_names(path, config)
    sizes, form = _form_of(path, config, family)
    tensors, sha256 = _read_tensors(folder)
    weights = _weights(folder, tensors, family, sizes, family.modules)
    if len(names) == 1:
        names, weights = _of_two_classes(names[0], weights)
    _skip_positions(path, config, family, sizes, weights)
    found = _checked_sizes(folder, weights)
    if found.classes != len(names):
        raise _unusable(path, f"expected a label for each of {found.classes} outputs, found {len(names)}")
    form = dataclasses.replace(form, padding_id=padding_id)
    if found.positions < MIN_POSITIONS:
        raise _unusable(path, f"expected positions for {MIN_POSITIONS} tokens or more, found {found.positions}")
    return Classifier(config["model_type"], names, weights, form, found.positions, sha256)


def read_encoder(folder: Path) -> Encoder:
    """The encoder in `folder`: of a base model, of one with another head, or of a classifier.

    Raises:
        SourceError: if a file is missing or damaged, or the encoder is not of a known family.
    """
    path = folder / CONFIG_FILE
    config = read_json(path)
    family = _family_of(path, config)
    sizes, form = _form_of(path, config, family)
    tensors, _ = _read_tensors(folder)
    prefix = f"{family.layer.partition('.')[0]}."
    if not any(name.startswith(prefix) for name in tensors):  # A base model is saved without the prefix.
        tensors |= {prefix + name: tensor for name, tensor in tensors.items()}
    modules = {name: module for name, module in family.modules.items() if name != "classifier"}
    if f"{modules['pooler_transform']}.weight" not in tensors:
        del modules["pooler_transform"]
    weights = _weights(folder, tensors, family, sizes, modules)
    _skip_positions(path, config, family, sizes, weights)
    _checked_sizes(folder, with_heads_added(weights))
    return Encoder(config["model_type"], weights, form)


def family_in(folder: Path) -> str:
    """The family of the checkpoint in `folder`, a key of FAMILIES.

    Raises:
        SourceError: if config.json is missing or damaged, or names another family.
    """
    config = read_json(folder / CONFIG_FILE)
    _family_of(folder / CONFIG_FILE, config)
    return str(config["model_type"])


def is_checkpoint_folder(path: Path) -> bool:
    """True if `path` looks like a checkpoint of the Hugging Face library; it may be incomplete."""
    return path.is_dir() and (path / CONFIG_FILE).is_file() and not (path / "saved_model.pb").exists()


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object.

    Raises:
        SourceError: if the file is missing or has something else.
    """
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise _unusable(path, "expected a file of a Hugging Face model, found none") from None
    except (OSError, ValueError, RecursionError) as error:
        raise _unusable(path, f"expected JSON ({error})") from error
    if not isinstance(content, dict):
        raise _unusable(path, f"expected a JSON object, found {type(content).__name__}")
    return content


def _unusable(path: Path, problem: str) -> SourceError:
    return SourceError(path, problem, "choose another model, or save it again with save_pretrained of transformers")


def _family_of(path: Path, config: Mapping[str, Any]) -> Family:
    family = FAMILIES.get(str(config.get("model_type")))
    if family is None:
        raise _unusable(path, f"expected model_type {', '.join(FAMILIES)}, found {config.get('model_type')!r}")
    for key, wanted in (("position_embedding_type", "absolute"), ("is_decoder", False)):
        if config.get(key, wanted) != wanted:
            raise _unusable(path, f"expected {key} = {wanted!r}, found {config[key]!r}")
    return family


def _check_head(path: Path, config: Mapping[str, Any], family: Family) -> None:
    named = config.get("architectures") or [family.architecture]
    if named != [family.architecture]:
        raise _unusable(path, f"expected the architecture {family.architecture}, found {named!r}")
    kind = config.get("problem_type")
    if kind not in (None, "single_label_classification"):
        raise _unusable(path, f"expected a model that gives each text one label, found problem_type {kind!r}")


def _form_of(path: Path, config: Mapping[str, Any], family: Family) -> tuple[dict[str, int], GraphForm]:
    """The sizes of an encoder by their names in _SIZES, and the rest of it."""
    sizes = {name: _size(path, config, family, name) for name in _SIZES}
    activation = _value(config, family, "hidden_act")
    if not isinstance(activation, str) or activation not in _ACTIVATIONS:
        raise _unusable(path, f"expected hidden_act = {' or '.join(_ACTIVATIONS)}, found {activation!r}")
    epsilon = _value(config, family, "layer_norm_eps")
    if not isinstance(epsilon, float) or not 0 < epsilon < 1:
        raise _unusable(path, f"expected a number between 0 and 1 as layer_norm_eps, found {epsilon!r}")
    return sizes, GraphForm(_ACTIVATIONS[activation], 0, "cls", family.pooler, epsilon)


def _skip_positions(
    path: Path,
    config: Mapping[str, Any],
    family: Family,
    sizes: Mapping[str, int],
    weights: dict[str, NDArray[np.float32]],
) -> None:
    """Drop the rows at the start of the position table that no text uses."""
    skipped = family.skipped_positions
    if skipped is None:
        padding = config.get("pad_token_id", family.defaults["pad_token_id"])
        if type(padding) is not int or not 0 <= padding < sizes["max_position_embeddings"] - 3:
            raise _unusable(path, f"expected the id of a token as pad_token_id, found {padding!r}")
        skipped = padding + 1
    weights["position_embedding/embeddings"] = weights["position_embedding/embeddings"][skipped:]


def _checked_sizes(folder: Path, weights: Weights) -> EncoderSizes:
    try:
        return encoder_sizes(weights)
    except UnknownEncoderError as error:
        raise _unusable(folder, f"the weights do not fit config.json: {error}") from error


def _class_names(path: Path, config: Mapping[str, Any]) -> tuple[str, ...]:
    labels = config.get("id2label")
    if labels is None:  # transformers writes it only if it differs from its default.
        count = config.get("num_labels", 2)
        if type(count) is not int or not 0 < count <= _MAX_CLASSES:
            raise _unusable(path, f"expected a whole number up to {_MAX_CLASSES} as num_labels, found {count!r}")
        labels = {str(i): f"LABEL_{i}" for i in range(count)}
    if not isinstance(labels, dict) or set(labels) != {str(i) for i in range(len(labels))} or not labels:
        raise _unusable(path, f"expected id2label with the ids 0 to K-1, found {labels!r}"[:300])
    if odd := [label for label in labels.values() if not isinstance(label, str | int | float)]:
        raise _unusable(path, f"expected text as each label of id2label, found {shortened(odd)}")
    names = tuple(str(labels[str(i)]) for i in range(len(labels)))
    if len(set(names)) < len(names) or not all(map(is_class_name, names)):
        raise _unusable(
            path,
            f"expected different labels of up to {MAX_CLASS_NAME_CHARS} printable characters, found {shortened(names)}",
        )
    return names


def _value(config: Mapping[str, Any], family: Family, name: str) -> Any:
    name = family.config_names.get(name, name)
    return config.get(name, family.defaults.get(name))


def _size(path: Path, config: Mapping[str, Any], family: Family, name: str) -> int:
    found = _value(config, family, name)
    if type(found) is not int or not 0 < found <= _MAX_SIZE:
        raise _unusable(path, f"expected a whole number as {family.config_names.get(name, name)}, found {found!r}")
    return found


def _read_tensors(folder: Path) -> tuple[dict[str, NDArray[Any]], str]:
    """All tensors by name, and the SHA-256 of the file; of several files, that of their hashes."""
    from safetensors import SafetensorError

    paths = [folder / WEIGHTS_FILE]
    if not paths[0].is_file():
        if not (folder / INDEX_FILE).is_file():
            raise _unusable(folder, f"expected weights in {WEIGHTS_FILE}, found none; pickles can run code and are "
                                    f"not read")  # fmt: skip
        names = read_json(folder / INDEX_FILE).get("weight_map")
        if not isinstance(names, dict) or not all(_is_plain(name) for name in names.values()):
            raise _unusable(folder / INDEX_FILE, "expected the file of each tensor as weight_map")
        paths = [folder / name for name in sorted(set(names.values()))]
    tensors: dict[str, NDArray[Any]] = {}
    for path in paths:
        try:
            tensors |= _floats(path)
        except (SafetensorError, OSError, ValueError) as error:
            raise _unusable(path, f"not a readable safetensors file ({error})") from error
    hashes = [sha256_of_file(path) for path in paths]
    if len(hashes) == 1:
        return tensors, hashes[0]
    return tensors, hashlib.sha256("".join(hashes).encode()).hexdigest()


def _is_plain(name: object) -> bool:
    return isinstance(name, str) and name.endswith(".safetensors") and Path(name).name == name


def _floats(path: Path) -> dict[str, NDArray[Any]]:
    """The tensors of one file; 16-bit floats are widened to float32."""
    from safetensors import deserialize

    found = {}
    read: Any = deserialize
    for name, tensor in read(path.read_bytes()):
        kind, data = tensor["dtype"], tensor["data"]
        if kind == "BF16":  # The upper half of a float32.
            values = (np.frombuffer(data, "<u2").astype(np.uint32) << 16).view(np.float32)
        elif kind in ("F16", "F32", "F64"):
            values = np.frombuffer(data, f"<f{int(kind[1:]) // 8}").astype(np.float32)
        else:
            continue  # Buffers, such as position_ids.
        found[name] = values.reshape(tensor["shape"])
    return found


def _weights(
    folder: Path,
    tensors: Mapping[str, NDArray[Any]],
    family: Family,
    sizes: Mapping[str, int],
    modules_outside_layers: Mapping[str, str],
) -> dict[str, NDArray[np.float32]]:
    """The weights by the names of textclf.graph.bert_weights, in the shapes of a TF-Hub encoder."""
    width, heads = sizes["hidden_size"], sizes["num_attention_heads"]
    if width % heads:
        raise _unusable(folder / CONFIG_FILE, f"expected a width that {heads} heads divide, found {width}")
    split = (heads, width // heads)
    last = family.layer.format(sizes["num_hidden_layers"] - 1) + family.layer_modules["output"]
    _tensor(folder, tensors, last, "kernel")  # Before a name is made for each of many layers.
    modules = dict(modules_outside_layers)
    for number in range(sizes["num_hidden_layers"]):
        for part, module in family.layer_modules.items():
            modules[f"transformer/layer_{number}/{part}"] = family.layer.format(number) + module
    weights: dict[str, NDArray[np.float32]] = {}
    for name, module in modules.items():
        for part in _parts(name):
            tensor = _tensor(folder, tensors, module, part)
            if part == "kernel":  # PyTorch's Linear has [out, in].
                tensor = np.ascontiguousarray(tensor.T)
            if name.endswith(("/query", "/key", "/value")):
                tensor = _reshaped(folder, module, tensor, (width, *split) if part == "kernel" else split)
            elif name.endswith("/attention_output") and part == "kernel":
                tensor = _reshaped(folder, module, tensor, (*split, width))
            weights[f"{name}/{part}"] = tensor
    if not family.has_token_types:
        weights["type_embeddings/embeddings"] = np.zeros((1, width), np.float32)
    return weights


def _parts(name: str) -> tuple[str, ...]:
    if name.endswith(("word_embeddings", "position_embedding", "type_embeddings")):
        return ("embeddings",)
    return ("gamma", "beta") if name.endswith("layer_norm") else ("kernel", "bias")


def _tensor(folder: Path, tensors: Mapping[str, NDArray[Any]], module: str, part: str) -> NDArray[np.float32]:
    for tensor in (HUGGING_FACE_TENSORS[part], _OLD_TENSORS.get(part, "")):
        if f"{module}.{tensor}" in tensors:
            return np.asarray(tensors[f"{module}.{tensor}"], np.float32)
    raise _unusable(folder, f"expected the tensor {module}.{HUGGING_FACE_TENSORS[part]}, found none")


def _reshaped(folder: Path, module: str, tensor: NDArray[np.float32], shape: tuple[int, ...]) -> NDArray[np.float32]:
    if tensor.size != int(np.prod(shape)):
        raise _unusable(folder, f"the shape {list(tensor.shape)} of {module} does not fit config.json")
    return tensor.reshape(shape)


def _of_two_classes(
    name: str, weights: Mapping[str, NDArray[np.float32]]
) -> tuple[tuple[str, str], dict[str, NDArray[np.float32]]]:
    """A classifier of one logit z as one of two: softmax of (0, z) is the logistic function of z."""
    kernel, bias = weights["classifier/kernel"], weights["classifier/bias"]
    return (f"not {name}", name), {
        **weights,
        "classifier/kernel": np.concatenate([np.zeros_like(kernel), kernel], axis=1),
        "classifier/bias": np.concatenate([np.zeros_like(bias), bias]),
    }
