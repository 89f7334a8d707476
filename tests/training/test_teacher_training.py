"""A training with a teacher: it goes on after a kill without another prediction, and the manifest names the teacher."""

import csv
import dataclasses

import numpy as np
import pytest
from tiny_engine import write_version
from tiny_training import tiny_training

from textclf.errors import DatasetError
from textclf.tokenization.text_key import TextKeys
from textclf.training.compiled_training import compile_training
from textclf.training.export.version_writer import trained_version
from textclf.training.fitting.checkpoints import RunDirectory
from textclf.training.teachers import open_teachers


class KilledError(Exception):
    pass


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    folder = tmp_path_factory.mktemp("teacher")
    write_version(folder / "store")
    return folder / "store"


def training_with(teacher, tiny_checkpoint, reviews, folder):
    settings = {"epochs": 1, "select": "last", "checkpoint_steps": 3, "near_duplicates": "ignore"}
    return tiny_training(tiny_checkpoint, reviews, folder, teachers=[str(teacher)], **settings)


@pytest.mark.slow
def test_a_killed_training_goes_on_and_its_manifest_names_the_teacher(
    teacher, tiny_checkpoint, reviews, tmp_path, monkeypatch, capsys
):
    save, steps = RunDirectory.save, []

    def save_then_die(run, checkpoint, progress):
        save(run, checkpoint, progress)
        steps.append(progress.step)
        raise KilledError

    with monkeypatch.context() as patched:
        patched.setattr(RunDirectory, "save", save_then_die)
        with pytest.raises(KilledError):
            training_with(teacher, tiny_checkpoint, reviews, tmp_path).fit_model()
    version = (teacher / "current").read_text().strip()
    assert f"teacher:       {teacher} ({version})" in capsys.readouterr().out
    # The same version at another path is the same teacher, and predicts nothing again.
    monkeypatch.setattr("textclf.training.teachers.combined_probabilities", None)
    again = training_with(teacher / "versions" / version, tiny_checkpoint, reviews, tmp_path)
    again.predict_model()
    assert again._fitted.result.resumed_from_step == steps[0] == 3

    ready = again._compiled
    new = trained_version(ready, again._fitted, again._measured, again.data_options, "data", "tiny", None, None)
    (record,) = new.manifest.training["teachers"]
    assert (record["path"], record["version"]) == (str(teacher / "versions" / version), version)
    assert record["texts"] == len(again.dataset.train)
    assert new.manifest.training["options"]["teacher_weight"] == 0.5
    # Labels alone are measured.
    assert all(split.taught is None for split in again.dataset.splits.values())

    # Another teacher, or another weight of it, is another training.
    texts = again.dataset.train.texts[:4]
    runs = {ready.run.path}
    for neg, weight in ((0.2, 0.5), (0.7, 0.5), (0.7, 0.9)):
        with open(tmp_path / "scored.csv", "w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([("text", "p:neg", "p:pos"), *((text, neg, 1 - neg) for text in texts)])
        options = dataclasses.replace(ready.options, teacher_weight=weight)
        teachers = open_teachers([str(tmp_path / "scored.csv")], ready.dataset, "text", TextKeys())
        parts = ready.dataset, ready.folders, ready.preprocessing, ready.classifier, ready.model_options
        other = compile_training(*parts, options, tmp_path, teachers)
        runs.add(other.run.path)
        assert other.mlm_run.path.name == ready.mlm_run.path.name
        np.testing.assert_allclose(other.taught.split.taught[:4, 0], neg, rtol=1e-6)
        assert other.taught.records[0].texts == 4
    assert len(runs) == 4


@pytest.mark.slow
def test_texts_of_a_table_are_equal_as_those_of_the_data_set_are(tiny_checkpoint, reviews, tmp_path):
    dataset = tiny_training(tiny_checkpoint, reviews, tmp_path).read_dataset()
    with open(tmp_path / "scored.csv", "w", encoding="utf-8", newline="") as file:
        rows = [(text.upper(), 0.5, 0.5) for text in dataset.train.texts]
        csv.writer(file).writerows([("text", "p:neg", "p:pos"), *rows])
    by_characters = tiny_training(
        tiny_checkpoint, reviews, tmp_path, teachers=[str(tmp_path / "scored.csv")], equal_texts="characters"
    )
    with pytest.raises(DatasetError, match="found none of the"):
        by_characters.compile()
