"""Conversion of a version's SavedModel to a Hugging Face folder, BertForSequenceClassification with the same weights.

It inverts textclf/training/encoders/hf_bert.py, and converts the classifier too. It needs bench/requirements.txt. The
folder is kept only if both models return the same logits on a few texts.
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np

from bench.errors import BenchError
from textclf.cli.commands import Command
from textclf.environment import prepare_tensorflow_import
from textclf.exporting.hugging_face_weights import state_of_weights
from textclf.files import atomic_folder
from textclf.store.model_store import ModelVersion, open_model

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAX_DIFFERENCE = 1e-3  # In logits: the libraries add in different orders.
_SAMPLE = (
    "A quiet film that stays with you for days.",
    "The plot makes no sense and nobody in it seems to care!",
    "Well, it isn't terrible: 5/10, but I'd rather have read the book again than sit through the last hour.",
    "Brilliant.",
)


def state_of_variables(variables: Mapping[str, "NDArray[Any]"]) -> dict[str, "NDArray[np.float32]"]:
    """Return the weights with PyTorch's names and shapes.

    Args:
        variables: values by TensorFlow's name without `:0`; attention kernels are [width, heads, head_dim], all other
            kernels [in, out].

    Raises:
        BenchError: if a variable does not belong to a BERT classifier.
    """
    try:
        return state_of_weights(variables)
    except KeyError as error:
        raise BenchError(
            f"expected the variables of a BERT encoder and its classifier, found {error.args[0]}"
        ) from None


def convert(version: ModelVersion, folder: Path) -> float:
    """Write the folder; return the maximum difference of logits on a few texts.

    Raises:
        ModelStoreError: if the version has no saved_model/.
        BenchError: if the model is not a BERT classifier, or the logits differ too much.
    """
    saved_model = version.part("saved_model")
    # TensorFlow and PyTorch each contain an LLVM; one process can load only one.
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
        variables, scored = process.submit(_read, saved_model).result()
    with atomic_folder(folder) as staging:
        _write(version, saved_model / "assets" / "vocab.txt", variables, staging)
        difference = float(np.abs(_logits(staging, _SAMPLE, version.manifest.max_length) - scored).max())
        if not difference < MAX_DIFFERENCE:
            raise BenchError(
                f"{folder}: expected logits within {MAX_DIFFERENCE:g} of the SavedModel's, got {difference:.2g} off"
            )
    return difference


def _read(saved_model: Path) -> tuple[dict[str, "NDArray[Any]"], "NDArray[np.float32]"]:
    """Read the variables by name, and compute the logits of the sample, [texts, classes]."""
    prepare_tensorflow_import()
    import tensorflow as tf
    import tensorflow_text  # noqa: F401

    model = tf.saved_model.load(str(saved_model))
    # The only scalar variable is the seed of the dropout.
    variables = {v.name.removesuffix(":0"): v.numpy() for v in model.weights if v.shape.rank}
    return variables, model.signatures["serving_default"](text=tf.constant(_SAMPLE))["logits"].numpy()


def _write(version: ModelVersion, vocabulary: Path, variables: Mapping[str, "NDArray[Any]"], folder: Path) -> None:
    import torch
    from transformers import BertConfig, BertForSequenceClassification, BertTokenizer

    manifest = version.manifest
    state = state_of_variables(variables)
    words, width = state["bert.embeddings.word_embeddings.weight"].shape
    config = BertConfig(
        vocab_size=words,
        hidden_size=width,
        num_hidden_layers=sum(name.endswith("attention/query/kernel") for name in variables),
        num_attention_heads=variables["transformer/layer_0/self_attention/query/kernel"].shape[1],
        intermediate_size=len(state["bert.encoder.layer.0.intermediate.dense.bias"]),
        hidden_act="gelu_pytorch_tanh",
        max_position_embeddings=len(state["bert.embeddings.position_embeddings.weight"]),
        type_vocab_size=len(state["bert.embeddings.token_type_embeddings.weight"]),
        id2label=dict(enumerate(manifest.class_names)),
        label2id={name: position for position, name in enumerate(manifest.class_names)},
    )
    model = BertForSequenceClassification(config)
    model.load_state_dict({name: torch.from_numpy(value) for name, value in state.items()})
    model.save_pretrained(folder)
    (folder / "vocab.txt").write_bytes(vocabulary.read_bytes())
    tokenizer = BertTokenizer(str(folder / "vocab.txt"), do_lower_case=manifest.lower_case)
    tokenizer.model_max_length = manifest.max_length
    tokenizer.save_pretrained(folder)


def _logits(folder: Path, texts: Sequence[str], max_length: int) -> "NDArray[np.float32]":
    """Load the written folder and compute logits, float32 [texts, classes]."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    with torch.inference_mode():
        batch = tokenizer(list(texts), padding=True, truncation=True, max_length=max_length, return_tensors="pt")
        logits: NDArray[np.float32] = model(**batch).logits.numpy()
    return logits


@click.command(cls=Command)
@click.option("--model-path", default="model", help="Model store, or folder of a version with its saved_model/.")
@click.option("--out", "folder", required=True, type=click.Path(path_type=Path), help="Folder to write.")
def main(model_path: str, folder: Path) -> None:
    """Convert a version to a Hugging Face folder with the same weights."""
    difference = convert(open_model(model_path), folder)
    click.echo(f"{folder}: logits within {difference:.1e} of the SavedModel's")


if __name__ == "__main__":
    main()
