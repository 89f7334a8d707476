"""Exported encoders against an independent forward pass, and checkpoints that can't be exported."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from numpy_bert import erf_gelu, forward, tanh_gelu
from safetensors.numpy import load_file, save_file
from tiny_bert import vocabulary

from textclf.errors import EncoderError
from textclf.training.encoders import hf_bert
from textclf.training.encoders import resolve as encoders
from textclf.training.tf_setup import hub, tf


def random_inputs(vocabulary_size: int, batch: int = 5, length: int = 23, types: int = 2):
    """Ids with padding of different lengths, and a mask with a hole in it, int32 [batch, length] each."""
    random = np.random.default_rng(11)
    mask = (np.arange(length) < random.integers(3, length + 1, batch)[:, None]).astype(np.int32)
    mask[0, 1] = 0
    ids = random.integers(0, vocabulary_size, (batch, length)) * mask
    return ids.astype(np.int32), mask, random.integers(0, types, (batch, length)).astype(np.int32)


def largest_differences(checkpoint: Path, folder: Path, ids, mask, types, gelu):
    """Of pooled and sequence output, between the exported SavedModel and numpy."""
    inputs = {"input_word_ids": ids, "input_mask": mask, "input_type_ids": types}
    outputs = hub.load(str(folder))({name: tf.constant(value) for name, value in inputs.items()}, training=False)
    pooled, sequence = forward(checkpoint, ids, mask, types, gelu)
    return np.abs(outputs["pooled_output"] - pooled).max(), np.abs(outputs["sequence_output"] - sequence).max()


def test_the_tiny_encoder_answers_as_the_weights_say(tiny_checkpoint):
    folder = encoders.resolve("tiny", str(tiny_checkpoint), "").encoder
    inputs = random_inputs(200)
    pooled, sequence = largest_differences(tiny_checkpoint, folder, *inputs, tanh_gelu)
    assert max(pooled, sequence) < 1e-5  # Measured: 1e-6.
    pooled, sequence = largest_differences(tiny_checkpoint, folder, *inputs, erf_gelu)
    assert 1e-5 < max(pooled, sequence) < 1e-3  # Measured: 3e-4; a small net adds up less of the two forms' difference.


@pytest.mark.slow
def test_the_embedded_encoder_answers_as_the_weights_say():
    folder = encoders.resolve("minilm-l6", "minilm-l6", "").encoder
    checkpoint = encoders._embedded_folder()
    inputs = random_inputs(30522, batch=3, length=40)
    pooled, sequence = largest_differences(checkpoint, folder, *inputs, tanh_gelu)
    assert max(pooled, sequence) < 1e-5  # Measured: pooled 2e-7, sequence 3e-6.
    pooled, sequence = largest_differences(checkpoint, folder, *inputs, erf_gelu)
    assert pooled < 3e-3  # Measured: 5e-4.
    assert sequence < 1e-2  # Measured: 5.3e-3, on ids that make no sense.


@pytest.mark.parametrize(("dtype", "precision"), [("float16", 1e-3), ("bfloat16", 8e-3)])
def test_checkpoint_with_a_head_and_half_precision_is_the_same_encoder(tiny_checkpoint, tmp_path, dtype, precision):
    """What BertForMaskedLM saves: names begin with bert., old ones call a norm's scale gamma, more tensors follow."""
    old = {}
    for name, tensor in load_file(tiny_checkpoint / "model.safetensors").items():
        name = name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta")
        old[f"bert.{name}"] = tensor.astype(np.dtype(dtype))
    folder = copy_of(tiny_checkpoint, tmp_path)
    save_file(old | {"cls.predictions.bias": np.zeros(200, np.float32)}, folder / "model.safetensors")
    weights = hf_bert._read_weights(folder)
    for name, tensor in load_file(tiny_checkpoint / "model.safetensors").items():
        np.testing.assert_allclose(weights[name], tensor, rtol=precision, atol=1e-6)


def copy_of(checkpoint: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(checkpoint, tmp_path / "copy"))


def with_config(**changes):
    def change(folder: Path) -> None:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        (folder / "config.json").write_text(json.dumps(config | changes), encoding="utf-8")

    return change


def with_file(name: str, content: bytes):
    return lambda folder: (folder / name).write_bytes(content)


def without_file(name: str):
    return lambda folder: (folder / name).unlink()


def with_weights(change):
    """`change` gets the tensors and changes them in place."""

    def rewrite(folder: Path) -> None:
        tensors = load_file(folder / "model.safetensors")
        change(tensors)
        save_file(tensors, folder / "model.safetensors")

    return rewrite


def transpose_intermediate(tensors):
    name = "encoder.layer.0.intermediate.dense.weight"
    tensors[name] = np.ascontiguousarray(tensors[name].T)


def shorten_query_bias(tensors):
    tensors["encoder.layer.1.attention.self.query.bias"] = np.zeros(31, np.float32)


def cut_weights(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


WORDS = "\n".join(vocabulary()) + "\n"


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (with_config(model_type="roberta"), r"config\.json: expected model_type = bert, found 'roberta'"),
        (with_config(model_type=None), "expected model_type = bert, found None"),
        (with_config(layer_norm_eps=1e-5), "expected layer_norm_eps = 1e-12, found 1e-05"),
        (with_config(hidden_act="silu"), "expected hidden_act = gelu or .*, found 'silu'"),
        (with_config(position_embedding_type="relative_key"), "expected position_embedding_type = absolute"),
        (with_config(is_decoder=True), "expected is_decoder = False, found True"),
        (with_config(hidden_size="32"), "expected a whole number as hidden_size, found '32'"),
        (with_config(num_hidden_layers=0), "expected a whole number as num_hidden_layers, found 0"),
        (with_config(type_vocab_size=True), "expected a whole number as type_vocab_size, found True"),
        (with_config(num_attention_heads=5), "that num_attention_heads divides, found 32 and 5"),
        (with_config(vocab_size=201), r"vocab\.txt: has 200 lines, config\.json says vocab_size = 201"),
        (with_file("config.json", b"{"), r"config\.json: expected a JSON file"),
        (with_file("config.json", b"\xff"), r"config\.json: expected a JSON file"),
        (with_file("config.json", b"[]"), r"config\.json: expected a JSON object, found list"),
        (with_file("tokenizer_config.json", b"{"), r"tokenizer_config\.json: expected a JSON file"),
        (with_file("tokenizer_config.json", b'{"strip_accents": false}'), "expected strip_accents = true, found False"),
        (
            with_file("tokenizer_config.json", b'{"tokenize_chinese_chars": false}'),
            "expected tokenize_chinese_chars = true, found False",
        ),
        (with_file("vocab.txt", WORDS.replace("great", "good").encode()), "every wordpiece once, found 'good' twice"),
        (with_file("vocab.txt", WORDS.replace("[CLS]", "<s>").encode()), r"special tokens, found no \[CLS\]"),
        (without_file("vocab.txt"), r"vocab\.txt is missing"),
        (without_file("model.safetensors"), r"model\.safetensors is missing \(save the model with safe_serialization"),
        (cut_weights, r"model\.safetensors: not a readable safetensors file .*; download it again"),
        (with_file("model.safetensors", b"<html></html>"), "not a readable safetensors file"),
        (
            with_weights(lambda tensors: tensors.pop("encoder.layer.1.output.dense.bias")),
            r"model\.safetensors: the tensor encoder\.layer\.1\.output\.dense\.bias is missing",
        ),
        (with_weights(transpose_intermediate), r"shape \[32, 64\] of encoder\.layer\.0\.intermediate\.dense\.weight"),
        (with_weights(shorten_query_bias), r"shape \[31\] of encoder\.layer\.1\.attention\.self\.query\.bias"),
    ],
)
def test_what_can_not_be_exported_says_why_and_leaves_nothing(tiny_checkpoint, tmp_path, damage, message):
    folder = copy_of(tiny_checkpoint, tmp_path)
    damage(folder)
    with pytest.raises(EncoderError, match=message) as caught:
        encoders.resolve("copy", str(folder), "", cache=tmp_path / "cache")
    assert str(folder) in str(caught.value)
    assert [path for path in (tmp_path / "cache").rglob("*") if path.name != "exported"] == []
