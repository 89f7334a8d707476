"""The model that the repository ships: whole, right on reviews written for this project, and as its card says."""

import re
import shlex
import subprocess

import numpy as np
import pytest
from click.testing import CliRunner
from serving_stack import ROOT, need_nginx, running_stack, serving_python

import train_model
from inference import Inference
from textclf.config import DataOptions
from textclf.data.readers import read_part
from textclf.store.model_store import ModelStore, ModelVersion

STORE = ROOT / "model"
CARD = (STORE / "README.md").read_text(encoding="utf-8")
SHIPPED = ("engine", "evaluation.json", "plots", "reference.npz")
README = {
    "A joy from beginning to end.": "pos",
    "Clever, warm and very funny.": "pos",
    "Lovely.": "pos",
    "Dull, and far too long.": "neg",
    "Two hours of nothing.": "neg",
}
PLAIN = {
    "pos": [
        "I loved every minute of it.",
        "A masterpiece.",
        "Best film of the year!",
        "It drags, but I left smiling.",
        "Wonderful performances by all, a must see for the whole family.",
    ],
    "neg": [
        "What a waste of two hours.",
        "worst movie ever",
        "Great cast, terrible script.",
        "Not good.",
        "The plot is thin, the jokes are flat, and I was bored.",
    ],
}


@pytest.fixture(scope="module")
def version() -> ModelVersion:
    """The version of the card; a checkout may have others, and another current one."""
    (version_id,) = re.findall(r"version `([^`]+)`", CARD)
    return ModelStore(STORE).open(version_id)


class AskedError(Exception):
    """Instead of a training; holds its options."""


def percent(share: float, digits: int = 2) -> str:
    return f"{100 * share:.{digits}f}%"


def commands_that_train(text: str) -> list[list[str]]:
    """The words after `textclf train`, of each such command of a document."""
    lines = text.replace("\\\n", " ").splitlines()
    return [shlex.split(line)[2:] for line in lines if re.match(r" *textclf train --dataset-path", line)]


def test_shipped_version_passes_every_check(version):
    assert all(version.has(part) for part in SHIPPED)
    version.verify(SHIPPED)
    assert version.manifest.engine["precision"] == "int8"
    assert version.manifest.cascade["settings"] is not None


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="not a clone")
def test_all_of_it_but_the_saved_model_is_in_the_repository(version):
    listed = subprocess.run(["git", "ls-files", "model"], cwd=ROOT, capture_output=True, text=True, check=True)
    folder = version.path.relative_to(ROOT).as_posix()
    inside = {path for path in version.manifest.files if path.split("/")[0] in SHIPPED} | {"manifest.json"}
    assert set(listed.stdout.split()) == {"model/README.md", "model/LICENSE", "model/current"} | {
        f"{folder}/{path}" for path in inside
    }
    pointer = subprocess.run(["git", "show", ":model/current"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert pointer.stdout.strip() == version.id


@pytest.mark.parametrize("cascade", [True, False])
def test_shipped_version_is_right_on_plain_reviews(version, cascade):
    for label, texts in PLAIN.items():
        for prediction in Inference(version.path, cascade=cascade).predict(texts):
            assert prediction.label == label, prediction
            assert prediction.probabilities[label] > 0.8, prediction


def test_shipped_version_is_right_on_the_examples_of_the_readme(version):
    assert set(re.findall(r'"([A-Z][^"\n]*\.)"', (ROOT / "README.md").read_text(encoding="utf-8"))) == set(README)
    for prediction in Inference(version.path).predict(list(README)):
        assert prediction.label == README[prediction.text], prediction


def test_the_limitations_have_the_predictions_of_the_shipped_version(version):
    page = " ".join((ROOT / "docs" / "limitations.md").read_text(encoding="utf-8").split())
    shown = {text: float(score) for text, score in re.findall(r'"([^"]+)" \((0\.\d+)', page)}
    assert len(shown) == 6
    for prediction in Inference(version.path).predict(list(shown)):
        # Another CPU rounds in other ways.
        assert prediction.probabilities["pos"] == pytest.approx(shown[prediction.text], abs=0.05)


def test_the_card_says_how_it_does_on_hard_reviews(version):
    reviews = read_part(ROOT / "data" / "sample" / "hard", DataOptions())
    (right, count) = map(int, re.findall(r"right on (\d+) of\s+the (\d+)", CARD)[0])
    found = sum(
        prediction.label == label
        for prediction, label in zip(Inference(version.path).predict(reviews.texts), reviews.labels, strict=True)
    )
    assert len(reviews.texts) == count
    # Another CPU rounds in other ways, which changes labels near the threshold.
    assert abs(found - right) <= 3


def test_shipped_version_is_served_without_tensorflow(version, tmp_path):
    python = serving_python()
    need_nginx()
    with running_stack(tmp_path, version.path, python=python, MODEL_SERVER_WORKERS="1") as stack:
        for text, label in (("I loved every minute of it.", "pos"), ("What a waste of two hours.", "neg")):
            answer = stack.request("POST", "/predict", {"text": text})
            assert (answer.status, answer.json["label"]) == (200, label)
            assert answer.json["probabilities"][label] > 0.8
        assert stack.stop() == 0, stack.log


def test_the_card_has_the_figures_of_the_version(version):
    assert "@@" not in CARD
    manifest = version.manifest
    test, cascade = manifest.metrics["test"], manifest.cascade["test"]
    rows = {
        "trained model in float32": test["accuracy"],
        "encoder alone, int8": cascade["accuracy"]["encoder"],
        "linear stage alone": cascade["accuracy"]["linear"],
        "both, everywhere": cascade["accuracy"]["combination"],
        "**cascade, as served**": cascade["accuracy"]["cascade"],
    }
    for row, accuracy in rows.items():
        assert f"| {row} | {percent(accuracy)} |" in CARD
    assert f"The linear stage predicts {percent(cascade['exit_share'], 1)} of the reviews" in CARD
    error = cascade["expected_calibration_error"]["cascade"]
    assert f"calibration error of the cascade is {error:.3f}" in CARD
    assert f"On {test['n']:,} test reviews" in CARD
    counts = manifest.data["counts"]
    assert (
        f"From {counts['train_read']:,} training reviews {counts['duplicates']} duplicates and {counts['in_test']} "
        in CARD
    )
    with np.load(version.part("reference.npz"), allow_pickle=False) as reference:
        held_out = len(reference["labels"])
    assert f"wordpieces of {held_out:,} held-out reviews" in " ".join(CARD.split())


def test_the_cards_command_is_the_recipe_of_the_version(version, monkeypatch):
    def training(**options):
        raise AskedError(options)

    monkeypatch.setattr(train_model, "Training", training)
    (words,) = commands_that_train(CARD)
    assert words in commands_that_train((ROOT / "docs" / "models.md").read_text(encoding="utf-8"))
    asked = CliRunner().invoke(train_model.main, words).exception
    assert isinstance(asked, AskedError), asked
    (given,) = asked.args
    manifest = version.manifest
    recipe = {
        **manifest.data["options"],
        "model_name": manifest.encoder["model_name"],
        "max_length": manifest.max_length,
        "truncation": manifest.truncation,
        "head_fraction": manifest.head_fraction,
        "dropout": manifest.training["dropout"],
        **manifest.training["options"],
    }
    no_recipe = {"precision", "checkpoint_steps"}
    assert {name: given[name] for name in recipe.keys() - no_recipe} == {
        name: recipe[name] for name in recipe.keys() - no_recipe
    }
