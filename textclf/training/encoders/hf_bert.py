"""Exports a Hugging Face BERT checkpoint as TF-Hub SavedModels: an encoder and its preprocessing.

The tools of tf-models-official export; this module renames and reshapes the weights.
"""

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file

from textclf.errors import EncoderError
from textclf.graph.bert_weights import LAYER_NORM_EPSILON, hugging_face_name
from textclf.training.tf_setup import tf

CHECKPOINT_FILES = ("config.json", "model.safetensors", "vocab.txt")
# The encoder of tf-models-official supports no others: exporting such a checkpoint would change its outputs.
_ACTIVATIONS = ("gelu", "gelu_new", "gelu_pytorch_tanh", "relu")
_SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def export_checkpoint(folder: Path, encoder_folder: Path, preprocessing_folder: Path) -> None:
    """Write the encoder and preprocessing SavedModels of the checkpoint in `folder`.

    GELU is exported in its tanh form, which changes outputs by a few thousandths.

    Raises:
        EncoderError: if a file is missing or damaged, or the checkpoint is not a plain BERT encoder.
    """
    from official.nlp.configs import encoders
    from official.nlp.tools import export_tfhub_lib

    config = _read_config(folder)
    _check_vocabulary(folder / "vocab.txt", config["vocab_size"])
    weights = _read_weights(folder)
    lower_case = _reads_lower_case(folder)
    encoder_config = encoders.EncoderConfig(
        type="bert",
        bert=encoders.BertEncoderConfig(
            vocab_size=config["vocab_size"],
            hidden_size=config["hidden_size"],
            num_layers=config["num_hidden_layers"],
            num_attention_heads=config["num_attention_heads"],
            intermediate_size=config["intermediate_size"],
            hidden_activation="relu" if config["hidden_act"] == "relu" else "gelu",
            dropout_rate=config.get("hidden_dropout_prob", 0.1),
            attention_dropout_rate=config.get("attention_probs_dropout_prob", 0.1),
            max_position_embeddings=config["max_position_embeddings"],
            type_vocab_size=config["type_vocab_size"],
        ),
    )
    encoder = encoders.build_encoder(encoder_config)
    for variable in encoder.trainable_variables:
        variable.assign(_hugging_face_weight(variable.name, tuple(variable.shape), weights, folder))
    vocabulary = str(folder / "vocab.txt")
    with tempfile.TemporaryDirectory() as scratch:
        # The exporter reads weights from a TensorFlow checkpoint, under either of these two names, and expects the
        # counter that only save() adds.
        checkpoint = tf.train.Checkpoint(model=encoder, encoder=encoder).save(str(Path(scratch, "encoder")))
        export_tfhub_lib.export_model(
            str(encoder_folder),
            encoder_config=encoder_config,
            model_checkpoint_path=checkpoint,
            with_mlm=False,
            vocab_file=vocabulary,
            do_lower_case=lower_case,
        )
    export_tfhub_lib.export_preprocessing(
        str(preprocessing_folder),
        vocab_file=vocabulary,
        do_lower_case=lower_case,
        tokenize_with_offsets=False,
        default_seq_length=128,
    )


def is_original_bert(folder: Path) -> bool:
    """Whether export_checkpoint() can express the form of the checkpoint, and has the files for it."""
    try:
        _read_config(folder)
        _reads_lower_case(folder)
    except EncoderError:
        return False
    return True


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise EncoderError(f"{path}: expected a JSON file of a Hugging Face checkpoint ({error})") from error
    if not isinstance(content, dict):
        raise EncoderError(f"{path}: expected a JSON object, found {type(content).__name__}")
    return content


def _read_config(folder: Path) -> dict[str, Any]:
    missing = [name for name in CHECKPOINT_FILES if not (folder / name).is_file()]
    if missing:
        raise EncoderError(
            f"{folder}: a Hugging Face BERT folder contains {', '.join(CHECKPOINT_FILES)}; {', '.join(missing)} is "
            f"missing (save the model with safe_serialization=True; other families need tokenizer.json instead "
            f"of vocab.txt)"
        )
    config = _read_json(folder / "config.json")
    wanted = {
        "model_type": ("bert",),
        "hidden_act": _ACTIVATIONS,
        "position_embedding_type": ("absolute",),
        "layer_norm_eps": (LAYER_NORM_EPSILON,),
        "is_decoder": (False,),
    }
    config = {"hidden_act": "gelu", "position_embedding_type": "absolute", "is_decoder": False, **config}
    config.setdefault("layer_norm_eps", LAYER_NORM_EPSILON)
    for key, allowed in wanted.items():
        if config.get(key) not in allowed:
            expected = " or ".join(map(str, allowed))
            raise EncoderError(
                f"{folder / 'config.json'}: expected {key} = {expected}, found {config.get(key)!r}; an encoder of "
                f"another form needs tokenizer.json in its folder"
            )
    sizes = (
        "vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads",
        "intermediate_size", "max_position_embeddings", "type_vocab_size",
    )  # fmt: skip
    for key in sizes:
        if type(config.get(key)) is not int or config[key] < 1:
            raise EncoderError(f"{folder / 'config.json'}: expected a whole number as {key}, found {config.get(key)!r}")
    if config["hidden_size"] % config["num_attention_heads"]:
        raise EncoderError(
            f"{folder / 'config.json'}: expected a hidden_size that num_attention_heads divides, found "
            f"{config['hidden_size']} and {config['num_attention_heads']}"
        )
    return config


def _check_vocabulary(path: Path, size: int) -> None:
    entries = path.read_bytes().rstrip(b"\n").split(b"\n")
    if len(entries) != size:
        raise EncoderError(
            f"{path}: has {len(entries)} lines, config.json says vocab_size = {size}; they do not belong together"
        )
    distinct = set(entries)
    if len(distinct) != len(entries):
        twice = next(entry for entry in distinct if entries.count(entry) > 1)
        raise EncoderError(f"{path}: expected every wordpiece once, found {twice.decode(errors='replace')!r} twice")
    missing = [token for token in _SPECIAL_TOKENS if token.encode() not in distinct]
    if missing:
        raise EncoderError(f"{path}: expected BERT's special tokens, found no {', '.join(missing)}")


def _read_weights(folder: Path) -> dict[str, np.ndarray]:
    path = folder / "model.safetensors"
    try:
        tensors = load_file(path)
    except (SafetensorError, OSError) as error:
        raise EncoderError(f"{path}: not a readable safetensors file ({error}); download it again") from error
    # Checkpoints with a task head have the prefix "bert."; old ones name the scale and shift of norms gamma and beta.
    renamed = {}
    for name, tensor in tensors.items():
        short = name.removeprefix("bert.").replace("LayerNorm.gamma", "LayerNorm.weight")
        renamed[short.replace("LayerNorm.beta", "LayerNorm.bias")] = tensor
    return renamed


def _reads_lower_case(folder: Path) -> bool:
    """True if the checkpoint's tokenizer folds case, BERT's default."""
    path = folder / "tokenizer_config.json"
    settings = _read_json(path) if path.is_file() else {}
    lower_case = bool(settings.get("do_lower_case", True))
    # TF-Hub's preprocessing strips accents if it folds case, and always splits CJK characters.
    for key, allowed in (("strip_accents", (None, lower_case)), ("tokenize_chinese_chars", (None, True))):
        if settings.get(key) not in allowed:
            raise EncoderError(
                f"{path}: expected {key} = {str(allowed[1]).lower()}, found {settings[key]!r}; the exported "
                f"encoder would get other wordpieces than it was trained with"
            )
    return lower_case


def _hugging_face_weight(
    variable_name: str, shape: tuple[int, ...], weights: Mapping[str, np.ndarray], folder: Path
) -> np.ndarray:
    """The checkpoint's tensor for a variable of the TF encoder, in that variable's shape."""
    name = variable_name.removesuffix(":0")
    source = hugging_face_name(name)
    if source not in weights:
        raise EncoderError(f"{folder / 'model.safetensors'}: the tensor {source} is missing; is this a BERT encoder?")
    weight = weights[source].astype(np.float32)
    if name.endswith("/kernel"):  # PyTorch's Linear has [out, in], Keras [in, out].
        weight = weight.T
    if weight.size != np.prod(shape) or (weight.ndim == len(shape) and weight.shape != shape):
        raise EncoderError(
            f"{folder / 'model.safetensors'}: the shape {list(weights[source].shape)} of {source} does not fit "
            f"config.json; are both files from one checkpoint?"
        )
    return weight.reshape(shape)  # Attention kernels: [hidden, hidden] -> [hidden, heads, head_dim].
