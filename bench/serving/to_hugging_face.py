"""A trained version's SavedModel -> a Hugging Face folder with the same weights: BertForSequenceClassification.

The way back of textclf/training/encoders/hf_bert.py, and the classifier with it. Runs where TensorFlow, PyTorch and
Transformers are installed (bench/requirements.txt); texts are scored both ways before the folder is kept.
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
from textclf.files import atomic_folder
from textclf.store.model_store import ModelVersion, open_model
from textclf.training.encoders.bert_weights import hugging_face_name

if TYPE_CHECKING:
    from numpy.typing import NDArray

LARGEST_DIFFERENCE = 1e-3  # of logits: two libraries add in different orders.
_SAMPLE = (
    "A quiet film that stays with you for days.",
    "The plot makes no sense and nobody in it seems to care!",
    "Well, it isn't terrible: 5/10, but I'd rather have read the book again than sit through the last hour.",
    "Brilliant.",
)


def state_of_variables(variables: Mapping[str, "NDArray[Any]"]) -> dict[str, "NDArray[np.float32]"]:
    """PyTorch's name and shape of every weight.

    Args:
        variables: TensorFlow's name of each variable, without `:0`, and its value; attention kernels are
            [width, heads, head_dim], all others [in, out].

    Raises:
        BenchError: a variable is none of a BERT classifier's.
    """
    state = {}
    for name, value in variables.items():
        module, _, kind = name.rpartition("/")
        try:
            head = {"classifier/kernel": "classifier.weight", "classifier/bias": "classifier.bias"}
            target = head.get(name) or f"bert.{hugging_face_name(name)}"
        except KeyError:
            raise BenchError(f"expected the variables of a BERT encoder and its classifier, found {name}") from None
        if kind == "kernel":
            # PyTorch's Linear keeps [out, in]. The heads of queries, keys and values are outputs, those of the
            # attention's own output are inputs.
            is_split_input = value.ndim > 2 and module.endswith("self_attention/attention_output")
            value = value.reshape(-1, value.shape[-1]).T if is_split_input else value.reshape(value.shape[0], -1).T
        elif kind == "bias":
            value = value.reshape(-1)
        state[target] = np.ascontiguousarray(value, np.float32)
    return state


def convert(version: ModelVersion, folder: Path) -> float:
    """Write the folder; gives the largest difference of logits on a few texts.

    Raises:
        ModelStoreError: the version has no saved_model/ here.
        BenchError: it is another kind of model, or the two do not agree.
    """
    saved_model = version.part("saved_model")
    # TensorFlow and PyTorch each bring an LLVM of their own, and one process holds only one.
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
        variables, scored = process.submit(_read, saved_model).result()
    with atomic_folder(folder) as staging:
        _write(version, saved_model / "assets" / "vocab.txt", variables, staging)
        difference = float(np.abs(_logits(staging, _SAMPLE, version.manifest.max_length) - scored).max())
        if not difference < LARGEST_DIFFERENCE:
            raise BenchError(
                f"{folder}: expected logits within {LARGEST_DIFFERENCE:g} of the SavedModel's, got {difference:.2g} off"
            )
    return difference


def _read(saved_model: Path) -> tuple[dict[str, "NDArray[Any]"], "NDArray[np.float32]"]:
    """The variables by name, and the logits of the sample [texts, classes]."""
    prepare_tensorflow_import()
    import tensorflow as tf
    import tensorflow_text  # noqa: F401

    model = tf.saved_model.load(str(saved_model))
    # The one variable of no dimension is the seed of the dropout.
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
    """Read back from disk, as a server would: float32 [texts, classes]."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    with torch.inference_mode():
        batch = tokenizer(list(texts), padding=True, truncation=True, max_length=max_length, return_tensors="pt")
        logits: NDArray[np.float32] = model(**batch).logits.numpy()
    return logits


@click.command(cls=Command)
@click.option("--model-path", default="model", help="A model store, or a version's folder, with its saved_model/.")
@click.option("--out", "folder", required=True, type=click.Path(path_type=Path), help="The folder to make.")
def main(model_path: str, folder: Path) -> None:
    """Write a trained version as a Hugging Face folder of the same weights."""
    difference = convert(open_model(model_path), folder)
    click.echo(f"{folder}: logits within {difference:.1e} of the SavedModel's")


if __name__ == "__main__":
    main()
