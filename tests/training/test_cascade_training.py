"""add_cascade on a tiny engine: on, off and why; what the manifest says, and what is written."""

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest
from tiny_engine import tiny_reviews, write_version

from textclf.data.datasets import Counts, Dataset
from textclf.data.splits import Split
from textclf.runtime.engine import load_engine
from textclf.runtime.linear_stage import LINEAR_FILE
from textclf.runtime.loading import load_predictor, predictor_with
from textclf.stats.cascade_objective import Objective
from textclf.stats.cascade_rules import CascadeSettings
from textclf.stats.parity import Parity, parity_failures
from textclf.store.model_store import ModelStore, ModelVersion
from textclf.training import cascade_training as training
from textclf.training.cascade_training import add_cascade
from textclf.training.export.engine_export import ExportedEngine

COUNTS = Counts(0, None, 0, 0, None, None, 0, 0, 0, 0)


def split(count, seed):
    texts, labels = zip(*tiny_reviews(count, seed), strict=True)
    return Split(texts, np.array(labels, np.int32))


def dataset(half_c=700, test: int | None = 300):
    return Dataset(
        ("neg", "pos"),
        split(300, 1),
        split(20, 2),
        split(half_c, 3),
        None if test is None else split(test, 4),
        COUNTS,
        "0" * 64,
        Path("tiny"),
    )


@pytest.fixture(scope="module")
def version(tmp_path_factory):
    """A version with an engine of random weights, as good as chance."""
    path = write_version(tmp_path_factory.mktemp("engine") / "model", reference_texts=[])
    return ModelStore(path.parent.parent).open(path.name)


@pytest.fixture
def add(version, tmp_path):
    """Add a cascade to a copy of the version, and save that: the new version, and the cascade."""

    def add(data, logits_of=lambda logits: logits, max_compared=2000, **changes):
        store = ModelStore(tmp_path / "model")
        with store.new_version() as draft:
            shutil.copytree(version.path / "engine", draft.path / "engine")
            manifest = dataclasses.replace(version.manifest, id="", files={}, created="", **changes)
            encoder = predictor_with(load_engine(ModelVersion(draft.path, manifest), threads=1), manifest)
            original = encoder.run(encoder.encode(list(data.validation_calibrate.texts))).logits
            compared = np.arange(len(original))[-max_compared:]
            exported = ExportedEngine(manifest, compared, logits_of(original)[compared])
            draft.manifest, cascade, _ = add_cascade(exported, encoder, data, draft.path / "engine")
        return store.open(draft.id), cascade

    return add


def test_where_the_linear_stage_knows_more_the_cascade_is_on(add):
    version, cascade = add(dataset())
    found = version.manifest.cascade
    assert list(found) == ["settings", "why_off", "validation", "golden_logits", "test"]
    assert (found["why_off"], CascadeSettings.from_dict(found["settings"])) == ("", cascade.settings)
    assert found["settings"]["linear_weight"] > 0
    assert np.shape(found["golden_logits"]) == (len(version.manifest.golden_texts), 2)
    assert (found["validation"]["texts"], found["test"]["texts"]) == (700, 300)
    for split_name in ("validation", "test"):
        figures = found[split_name]
        assert figures["exit_share"] > 0.5
        assert figures["accuracy"]["encoder"] < 0.7 < 0.97 < figures["accuracy"]["cascade"]
    assert "curve" in found["validation"]
    assert f"engine/{LINEAR_FILE}" in version.manifest.files
    figures = Parity(**version.manifest.parity["cascade"])
    assert (figures.texts, figures.agreement) == (700, 1)
    assert parity_failures(figures) == []


def test_what_was_saved_answers_with_stages_as_its_figures_say(add):
    version, cascade = add(dataset())
    predictor = load_predictor(version.path)
    assert predictor.cascade.settings == cascade.settings
    np.testing.assert_array_equal(predictor.cascade.linear.weights, cascade.linear.weights)
    test = dataset().test
    predictions = predictor.predict(list(test.texts))
    figures = version.manifest.cascade["test"]
    assert np.mean([prediction.stage == "linear" for prediction in predictions]) == figures["exit_share"]
    names = np.array(("neg", "pos"))[test.labels]
    right = [prediction.label == name for prediction, name in zip(predictions, names, strict=True)]
    assert np.mean(right) == figures["accuracy"]["cascade"]


def test_a_test_part_that_is_unread_stays_unread(add):
    version, _ = add(dataset(test=None))
    assert "test" not in version.manifest.cascade
    assert version.manifest.cascade["settings"] is not None


def test_a_half_c_that_is_too_small_leaves_it_off_with_the_reason(add):
    version, cascade = add(dataset(half_c=30))
    assert cascade is None
    found = version.manifest.cascade
    assert list(found) == ["settings", "why_off", "validation"]
    assert found["settings"] is None
    assert "too few of 30 held-out texts" in found["why_off"]
    assert "at least 200 held-out texts" in found["why_off"]
    assert not (version.path / "engine" / LINEAR_FILE).exists()
    assert load_predictor(version.path).cascade is None


def test_an_engine_that_is_not_the_trained_model_leaves_it_off(add):
    """On half of the texts that go on to the encoder the SavedModel says something else."""

    def other(logits):
        return np.where(np.arange(len(logits))[:, None] % 2 == 0, logits, 50 * logits[:, ::-1]).astype(np.float32)

    version, cascade = add(dataset(), other)
    assert version.manifest.cascade["validation"]["exit_share"] < 1
    assert cascade is None
    assert version.manifest.cascade["settings"] is None
    assert version.manifest.cascade["why_off"].startswith("with the engine, ")
    assert parity_failures(Parity(**version.manifest.parity["cascade"]))
    assert not (version.path / "engine" / LINEAR_FILE).exists()


def test_too_many_classes_leave_it_off(add, monkeypatch):
    monkeypatch.setattr(training, "fit_linear_stage", lambda *_, **__: None)
    version, cascade = add(dataset())
    assert cascade is None
    assert version.manifest.cascade == {
        "settings": None,
        "why_off": "the linear stage of 2 classes would be larger than 64 MiB",
    }


@pytest.mark.parametrize(
    ("options", "objective"),
    [
        ({}, Objective()),
        ({"metric": "macro_f1", "class_weights": True, "epochs": 3}, Objective("macro_f1", class_weights=True)),
    ],
)
def test_the_objective_is_that_of_the_training(add, monkeypatch, options, objective):
    asked = []
    fit = training.fit_cascade
    weigh = training.fit_linear_stage
    monkeypatch.setattr(training, "fit_cascade", lambda *args: asked.append(args[-1]) or fit(*args))
    monkeypatch.setattr(training, "fit_linear_stage", lambda *of, **more: asked.append(of[-1]) or weigh(*of, **more))
    add(dataset(half_c=30), training={"options": options})
    assert asked == [objective.class_weights, objective]


def test_a_child_does_not_inherit_its_parents_figures(add):
    version, _ = add(dataset(half_c=30), parity={"engine": {"texts": 1}, "cascade": {"texts": 2}})
    assert version.manifest.parity == {"engine": {"texts": 1}}


def test_the_same_data_give_the_same_cascade(add):
    (one, _), (two, _) = add(dataset()), add(dataset())
    assert one.manifest.cascade == two.manifest.cascade
    assert one.manifest.files == two.manifest.files


def test_the_engine_is_compared_on_the_texts_that_the_export_chose(add):
    version, cascade = add(dataset(), max_compared=100)
    figures = Parity(**version.manifest.parity["cascade"])
    assert (figures.texts, figures.agreement) == (100, 1)
    assert figures.largest_logit_difference < 1e-3
    assert cascade is not None


def test_half_c_is_read_by_the_encoder_once(version, monkeypatch, tmp_path):
    data, read = dataset(test=None), []
    encoder = predictor_with(load_engine(version, threads=1), version.manifest)
    logits = encoder.run(encoder.encode(list(data.validation_calibrate.texts))).logits
    run = encoder.run
    monkeypatch.setattr(encoder, "run", lambda encoded: read.append(len(encoded.inputs)) or run(encoded))
    exported = ExportedEngine(version.manifest, np.arange(len(logits)), logits)
    assert add_cascade(exported, encoder, data, tmp_path).cascade is not None
    assert read == [700]
