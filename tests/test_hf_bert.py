"""Exported encoders against an independent forward pass, and checkpoints that can't be exported."""

import json
from pathlib import Path

import numpy as np
import pytest
from numpy_bert import erf_gelu, forward, tanh_gelu
from safetensors.numpy import load_file, save_file
from tiny_bert import vocabulary, write_checkpoint

from textclf.errors import EncoderError
from textclf.training import encoders, hf_bert
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
    assert pooled < 1e-5  # MEASURED
    assert sequence < 1e-5
    pooled, sequence = largest_differences(tiny_checkpoint, folder, *inputs, erf_gelu)
    print("erf", pooled, sequence)
    assert pooled < 3e-3
    assert sequence < 3e-3


@pytest.mark.slow
def test_the_embedded_encoder_answers_as_the_weights_say():
    folders = encoders.resolve("minilm-l6", "minilm-l6", "")
    checkpoint = encoders._embedded_folder()
    inputs = random_inputs(30522, batch=3, length=40)
    pooled, sequence = largest_differences(checkpoint, folders.encoder, *inputs, tanh_gelu)
    print("tanh", pooled, sequence)
    assert pooled < 1e-5
    assert sequence < 1e-5
    pooled, sequence = largest_differences(checkpoint, folders.encoder, *inputs, erf_gelu)
    print("erf", pooled, sequence)
    assert pooled < 3e-3
    assert sequence < 3e-3
