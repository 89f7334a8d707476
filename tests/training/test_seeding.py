"""Dropout inside an encoder's SavedModel follows the seed, and the original stays as it was."""

import gc
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from textclf.training.classifier import load_encoder
from textclf.training.encoders import resolve as encoders
from textclf.training.seeding import seeded_copy
from textclf.training.tf_setup import tf

IDS = {
    "input_word_ids": np.tile(np.arange(5, 25, dtype=np.int32), (3, 1)),
    "input_mask": np.ones((3, 20), np.int32),
    "input_type_ids": np.zeros((3, 20), np.int32),
}


@pytest.fixture(scope="module")
def encoder_folder(tiny_checkpoint) -> Path:
    return encoders.resolve("tiny", str(tiny_checkpoint), "").encoder


def dropout_sequence(encoder, calls: int = 3) -> np.ndarray:
    """Pooled outputs [calls, 3, 32] of the same inputs in training mode."""
    return np.array([encoder(IDS, training=True)["pooled_output"].numpy() for _ in range(calls)])


def random_ops(folder: Path) -> list[tuple[int, int]]:
    """The seeds of all random ops of a SavedModel."""
    from tensorflow.core.protobuf import saved_model_pb2

    saved_model = saved_model_pb2.SavedModel.FromString((folder / "saved_model.pb").read_bytes())
    return [
        (node.attr["seed"].i, node.attr["seed2"].i)
        for meta_graph in saved_model.meta_graphs
        for function in meta_graph.graph_def.library.function
        for node in function.node_def
        if "Random" in node.op
    ]


@pytest.mark.slow
def test_one_seed_one_sequence(encoder_folder):
    first = dropout_sequence(load_encoder(encoder_folder, 64, seed=1))
    again = dropout_sequence(load_encoder(encoder_folder, 64, seed=1))
    other = dropout_sequence(load_encoder(encoder_folder, 64, seed=2))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 1e-3
    assert np.abs(first[0] - first[1]).max() > 1e-3  # Each step draws anew,
    assert np.abs(first[0, 0] - first[0, 1]).max() > 1e-3  # and each text of a batch.


def test_without_training_the_seed_does_not_matter(encoder_folder):
    one, two = (load_encoder(encoder_folder, 64, seed=seed)(IDS, training=False)["pooled_output"] for seed in (1, 2))
    np.testing.assert_array_equal(one, two)


def test_every_random_op_has_its_own_seed_whatever_it_was_traced_with(encoder_folder, tmp_path):
    """An export after tf.random.set_seed() carries seeds, some of them twice: they must not win."""
    from tensorflow.core.protobuf import saved_model_pb2

    assert random_ops(encoder_folder)
    seeded = shutil.copytree(encoder_folder, tmp_path / "seeded")
    saved_model = saved_model_pb2.SavedModel.FromString((seeded / "saved_model.pb").read_bytes())
    for function in saved_model.meta_graphs[0].graph_def.library.function:
        for node in function.node_def:
            if "Random" in node.op:
                node.attr["seed"].i = 42
    (seeded / "saved_model.pb").write_bytes(saved_model.SerializeToString())
    assert set(random_ops(seeded)) == {(42, 0)}
    for original in (encoder_folder, seeded):
        copy = seeded_copy(original, seed=0)
        seeds = random_ops(copy)
        assert {seed for seed, _ in seeds} == {1}
        assert len(set(seeds)) == len(seeds) == len(random_ops(original))
        shutil.rmtree(copy)


def test_original_is_untouched_and_all_of_it_reachable(encoder_folder):
    def content(folder: Path) -> dict[str, bytes]:
        return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}

    before = content(encoder_folder)
    copy = seeded_copy(encoder_folder, seed=7)
    for name in before:
        if name not in ("saved_model.pb", "fingerprint.pb"):
            assert (copy / name).read_bytes() == before[name]
    assert any(name.startswith("assets/") for name in before)
    shutil.rmtree(copy)
    assert content(encoder_folder) == before


@pytest.mark.slow
def test_copy_is_removed_with_the_layer(encoder_folder, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    encoder = load_encoder(encoder_folder, 64)
    assert [path.name.startswith("textclf-encoder-") for path in tmp_path.iterdir()] == [True]
    del encoder
    gc.collect()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_copy_lasts_as_long_as_it_is_needed_and_is_removed_at_exit(encoder_folder, tmp_path):
    """Saving a classifier reads the encoder's assets again, long after it was loaded."""
    program = f"""
import gc, pathlib
from textclf.training.classifier import load_encoder
from textclf.training.tf_setup import tf, tf_keras
inputs = {{name: tf_keras.Input((None,), dtype=tf.int32, name=name) for name in {sorted(IDS)!r}}}
model = tf_keras.Model(inputs, load_encoder(pathlib.Path({str(encoder_folder)!r}), 64)(inputs)["pooled_output"])
gc.collect()
assert len(list(pathlib.Path({str(tmp_path / "temporary")!r}).glob("textclf-encoder-*"))) == 1
tf.saved_model.save(model, {str(tmp_path / "saved")!r})
"""
    (tmp_path / "temporary").mkdir()
    subprocess.run(
        [sys.executable, "-c", program],
        check=True,
        cwd=Path(__file__).parents[2],
        env={"PATH": "", "TMPDIR": str(tmp_path / "temporary")},
        timeout=300,
    )
    assert list((tmp_path / "temporary").glob("textclf-encoder-*")) == []
    assert list((tmp_path / "saved" / "assets").iterdir())
    loaded = tf.saved_model.load(str(tmp_path / "saved"))
    assert loaded({name: tf.constant(values) for name, values in IDS.items()}).shape == (3, 32)
