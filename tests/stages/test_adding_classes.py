"""A class that the champion does not know, through the stage: reported, added with a real training, then known."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import inference
import retraining
from textclf.data.datasets import load_dataset
from textclf.retraining.champion_data import is_test_set_of_champion
from textclf.retraining.combined_dataset import read_holdout
from textclf.runtime.loading import predictor_of_version
from textclf.store.model_store import ModelStore
from train_model import Training

TELL = {"neg": ["weak", "poor", "hate"], "pos": ["superb", "warm", "love"], "pace": ["slow", "fast", "long", "short"]}
COMMON = ["the", "a", "with", "this", "that", "very", "camera", "always", "never", "i", "we", "of", "in", "so"]
OPTIONS = (
    *("--min-holdout", "10", "--margin", "0.1", "--calibration-margin", "0.2", "--precision", "float32"),
    *("--min-class-texts", "40", "--new-share", "0.5", "--epochs", "4"),
)


@pytest.fixture(scope="module")
def new_texts(tmp_path_factory) -> Path:
    """Labelled texts of both classes of the champion, and of another one."""
    root, random = tmp_path_factory.mktemp("new") / "new_data", np.random.default_rng(3)
    for name, words in TELL.items():
        (root / "train" / name).mkdir(parents=True)
        for number in range(60 if name == "pace" else 30):
            text = [*random.choice(COMMON, random.integers(6, 20)), *random.choice(words, 4)]
            random.shuffle(text)
            (root / "train" / name / f"{number}.txt").write_text(" ".join(text), encoding="utf-8")
    return root


def run(folder: Path, reviews: Path, new: Path, *options: str):
    paths = {
        "old-dataset-path": reviews,
        "new-dataset-path": new,
        "combined-dataset-path": folder / "combined",
        "model-dir": folder / "model",
        "data-dir": folder / "datasets",
        "runs-dir": folder / "runs",
    }
    arguments = [part for name, path in paths.items() for part in (f"--{name}", str(path))]
    return CliRunner().invoke(retraining.main, ["run", *arguments, *OPTIONS, *options])


@pytest.fixture(scope="module")
def added(trained_version, reviews, new_texts, tmp_path_factory):
    """The folder of a retraining that added the class, the id of the champion, and the output."""
    folder = tmp_path_factory.mktemp("added")
    shutil.copytree(trained_version.parent.parent, folder / "model")
    with pytest.MonkeyPatch.context() as patch:
        # Quantising is the slow part of saving.
        patch.setattr("textclf.training.export.engine_export._CALIBRATION_TEXTS", 4)
        result = run(folder, reviews, new_texts, "--add-classes")
    assert result.exit_code == 0, result.output
    return folder, trained_version.name, result.stdout


def test_a_class_is_reported_and_left_out(trained_version, reviews, new_texts, tmp_path, monkeypatch):
    shutil.copytree(trained_version.parent.parent, tmp_path / "model")
    monkeypatch.setattr(Training, "save_model", lambda *_, **__: pytest.fail("a training was started"))
    result = run(tmp_path, reviews, new_texts, "--min-holdout", "1000")
    assert result.exit_code == 4, result.output
    assert "left out:      60 unknown labels (pace: 60)" in result.stdout
    assert "note:          the current version does not know pace; --add-classes trains a challenger" in result.stdout


@pytest.mark.slow
def test_the_class_is_added_and_the_old_ones_hold_up(added, reviews):
    folder, champion, out = added
    version = ModelStore(folder / "model").open()
    assert (version.manifest.class_names, version.manifest.parent) == (("neg", "pace", "pos"), champion)
    assert "new classes:   pace (" in out
    assert f"promoted:      {version.id} (instead of {champion})" in out
    assert "new class pace: " in out
    assert predictor_of_version(version).predict(["the story was slow fast long so short"])[0].label == "pace"
    shown = (
        CliRunner()
        .invoke(inference.main, ["--model-path", str(folder / "model"), "compare", champion, version.id])
        .stdout
    )
    assert "the manifests do not record whether the texts are the same" in shown
    assert "NOT the same texts" not in shown


@pytest.mark.slow
def test_the_next_retraining_knows_the_class(added, reviews, new_texts, tmp_path):
    """With the same old data, which has no text of the class, and with the combined data set."""
    folder, champion, _ = added
    shutil.copytree(folder / "model", tmp_path / "model")
    store = ModelStore(tmp_path / "model")
    result = run(tmp_path, reviews, new_texts, "--min-holdout", "1000")
    assert result.exit_code == 4, result.output
    assert "unknown label" not in result.stdout
    assert f"test set:      63 texts, the test part of {store.current_id()}" in result.stdout
    combined = load_dataset(tmp_path / "combined")
    assert combined.class_names == ("neg", "pace", "pos")
    assert len(read_holdout(tmp_path / "combined", combined.class_names)[0]) > 10
    for version_id in (champion, store.current_id()):
        assert is_test_set_of_champion(combined, store.open(version_id))
    result = run(tmp_path / "again", folder / "combined", new_texts, "--model-dir", str(tmp_path / "model"))
    assert result.exit_code == 7, result.output
