"""Teachers: versions and tables become probabilities of the training texts; cached, averaged, and refused."""

import csv
import dataclasses

import numpy as np
import pytest
from tiny_engine import tiny_reviews, write_version

from inference import Inference
from textclf.data.datasets import load_dataset
from textclf.errors import ConfigError, DatasetError, ModelStoreError
from textclf.runtime.loading import load_predictor
from textclf.stats.calibration import softmax
from textclf.store.model_store import path_or_version
from textclf.tokenization.text_key import TextKeys
from textclf.training.teachers import check_teachers, combined_probabilities, open_teachers, teach

KEYS = TextKeys()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A store with a cascade, and a table of texts that it did not see."""
    folder = tmp_path_factory.mktemp("teachers")
    write_version(folder / "store", cascade=True)
    with open(folder / "texts.csv", "w", encoding="utf-8", newline="") as file:
        rows = [(text, ("neg", "pos")[label]) for text, label in tiny_reviews(60, seed=3)]
        csv.writer(file).writerows([("text", "label"), *rows])
    return folder


@pytest.fixture(scope="module")
def dataset(folder):
    return load_dataset(folder / "texts.csv")


def taught(dataset, paths, cache):
    teachers = open_teachers(list(map(str, paths)), dataset, "text", KEYS)
    return teach(dataset.train, teachers, dataset.class_names, cache)


def test_both_stages_of_a_cascade_teach_every_text(folder, dataset):
    """Some texts exit, where the version serves the linear stage alone."""
    predictor = load_predictor(folder / "store")
    texts = list(dataset.train.texts)
    served = predictor.predict_batch(texts, both_stages=True)
    assert served.stages.exits.any()
    assert not served.stages.exits.all()
    settings = predictor.cascade.settings
    encoder = served.stages.encoder_logits / predictor.temperature
    linear = served.stages.linear_logits / settings.linear_temperature
    expected = softmax(settings.encoder_weight * encoder + settings.linear_weight * linear, 1.0)
    np.testing.assert_allclose(combined_probabilities(predictor, texts), expected, atol=1e-4)
    alone = load_predictor(folder / "store", cascade=False)
    np.testing.assert_allclose(
        combined_probabilities(alone, texts), [[*p.probabilities.values()] for p in alone.predict(texts)], atol=1e-5
    )


def test_what_a_version_predicts_is_kept_for_the_next_training(folder, dataset, tmp_path, monkeypatch):
    first = taught(dataset, [folder / "store"], tmp_path / "runs-teacher")
    np.testing.assert_allclose(
        first.split.taught, combined_probabilities(load_predictor(folder / "store"), dataset.train.texts), atol=1e-6
    )
    assert first.split.texts == dataset.train.texts
    (kept,) = tmp_path.iterdir()
    monkeypatch.setattr("textclf.training.teachers.combined_probabilities", None)  # Nothing is predicted again.
    again = taught(dataset, [folder / "store"], tmp_path / "runs-teacher")
    np.testing.assert_array_equal(again.split.taught, first.split.taught)
    monkeypatch.undo()
    kept.write_bytes(kept.read_bytes()[:-30])
    np.testing.assert_allclose(
        taught(dataset, [folder / "store"], tmp_path / "runs-teacher").split.taught, first.split.taught, atol=1e-6
    )
    # Other texts have other probabilities.
    fewer = dataclasses.replace(dataset, train=dataset.train.chosen(range(5)))
    assert taught(fewer, [folder / "store"], tmp_path / "runs-teacher").split.taught.shape == (5, 2)


@pytest.mark.parametrize("ending", ["csv", "jsonl.gz"])
def test_a_scored_file_is_a_teacher(folder, dataset, tmp_path, ending):
    scored = tmp_path / f"scored.{ending}"
    Inference(folder / "store").score_file(folder / "texts.csv", scored)
    found = taught(dataset, [scored], tmp_path / "cache")
    expected = [
        [*prediction.probabilities.values()]
        for prediction in load_predictor(folder / "store").predict(list(dataset.train.texts))
    ]
    np.testing.assert_allclose(found.split.taught, expected, atol=1e-5)
    (record,) = found.records
    assert (record.path, record.version, record.texts) == (str(scored), None, len(dataset.train))
    assert list(tmp_path.iterdir()) == [scored]  # A table needs no cache.


def table(path, rows):
    with open(path, "w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("text", "p:pos", "p:neg"), *rows])
    return path


def test_several_teachers_are_averaged_over_those_that_know_a_text(dataset, tmp_path):
    one, two, three = dataset.train.texts[:3]
    # Case and spaces make no other text; of two rows of a text the mean counts.
    table(tmp_path / "a.csv", [(one.upper(), 0.9, 0.1), (two, 0.2, 0.8), (f"  {two}", 0.4, 0.6)])
    table(tmp_path / "b.csv", [(one, 0.5, 0.5), (three, 1, 0), ("not a training text", 0, 1)])
    found = taught(dataset, [tmp_path / "a.csv", tmp_path / "b.csv"], tmp_path / "cache")
    np.testing.assert_allclose(found.split.taught[:3], [[0.3, 0.7], [0.7, 0.3], [0, 1]], atol=1e-6)
    assert np.isnan(found.split.taught[3:]).all()
    assert [record.texts for record in found.records] == [2, 2]
    # Some of the texts keep their probabilities.
    np.testing.assert_allclose(found.split.chosen([2, 0]).taught, [[0, 1], [0.3, 0.7]], atol=1e-6)


def test_notes(folder, dataset, tmp_path):
    some = table(tmp_path / "a.csv", [(dataset.train.texts[0], 1, 0)])
    write_version(tmp_path / "store", data={"fingerprint": {"train": dataset.fingerprints["train"]}})
    part, own, other = open_teachers([str(some), str(tmp_path / "store"), str(folder / "store")], dataset, "text", KEYS)
    assert str(part).endswith(f"a.csv; it knows 1 of {len(dataset.train)} training texts")
    assert "trained on these very texts" in str(own)
    assert ";" not in str(other)
    assert other.version in str(other)


def test_a_teacher_was_trained_on_the_same_texts_with_or_without_their_weights(dataset, tmp_path):
    weights = np.linspace(0.5, 2, len(dataset.train))
    weighted = dataclasses.replace(dataset, train=dataclasses.replace(dataset.train, weights=weights))
    for name, trained_on in (("plain", dataset), ("weighted", weighted)):
        write_version(tmp_path / name, data={"fingerprint": {"train": trained_on.fingerprints["train"]}})
        (teacher,) = open_teachers([str(tmp_path / name)], weighted, "text", KEYS)
        assert "trained on these very texts" in teacher.note


def test_a_teacher_has_the_classes_of_the_data(dataset, tmp_path):
    names = ("negative", "positive")
    write_version(tmp_path / "other", class_names=names)
    with pytest.raises(DatasetError, match="expected a teacher with the classes of the data, 'neg', 'pos', found 'neg"):
        open_teachers([str(tmp_path / "other")], dataset, "text", KEYS)
    # The names of its training data count, too, and so does another order.
    renamed = {"pos": "negative", "neg": "positive"}
    write_version(tmp_path / "same", class_names=names, data={"options": {"rename_labels": renamed}})
    (teacher,) = open_teachers([str(tmp_path / "same")], dataset, "text", KEYS)
    expected = combined_probabilities(load_predictor(tmp_path / "same"), dataset.train.texts)[:, ::-1]
    np.testing.assert_allclose(teacher.predict(), expected, atol=1e-6)


def test_what_is_no_teacher(folder, dataset, tmp_path):
    (tmp_path / "notes.md").write_text("no table")
    check_teachers([str(folder / "store"), str(folder / "texts.csv")])
    for path, message in (("notes.md", "another file"), ("lost", "nothing there")):
        with pytest.raises(ConfigError, match=message):
            check_teachers([str(tmp_path / path)])
    with pytest.raises(ModelStoreError, match="expected a model store"):
        check_teachers([str(tmp_path)])
    strangers = table(tmp_path / "strangers.csv", [("not a training text", 0, 1)])
    with pytest.raises(DatasetError, match=r"found none of the .* training texts in its 1 rows"):
        open_teachers([str(strangers)], dataset, "text", KEYS)


def test_an_id_is_a_version_of_the_store(folder, tmp_path):
    (version,) = (folder / "store" / "versions").iterdir()
    assert path_or_version(version.name, folder / "store") == str(version)
    assert path_or_version("my-models", folder / "store") == "my-models"
    with pytest.raises(ModelStoreError):
        path_or_version(version.name, tmp_path)
