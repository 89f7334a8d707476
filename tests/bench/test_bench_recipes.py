"""The benchmark of recipes: variations, comparison, and that nothing is trained twice."""

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from labelled_sets import write_set
from tiny_engine import tiny_reviews

from bench.errors import BenchError
from bench.labelled_sets import read_set
from bench.training import recipes
from bench.training.recipes import BASE, compared, main, measured_texts, table, variations_of
from train_model import Training


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return write_set(tmp_path_factory.mktemp("data") / "trec", tiny_reviews(400), tiny_reviews(20, seed=1)).parent


def test_a_variation_says_what_it_changes():
    base, slower, longer = variations_of(BASE, ["--init-lr 5e-5", "--epochs 3 --max-length 512"])
    assert [each.title for each in (base, slower, longer)] == [BASE, "--init-lr 5e-5", "--epochs 3 --max-length 512"]
    assert base.options["init_lr"] == 1e-4
    assert {**base.options, "init_lr": 5e-5} == slower.options
    assert {**base.options, "epochs": 3, "max_length": 512} == longer.options
    assert len({each.digest(code, 2) for each in (base, slower, longer) for code in ("old", "new")}) == 6
    (again,) = variations_of(f"{BASE} --init-lr 5e-5", [])
    assert again.digest("old", 2) == slower.digest("old", 2) != slower.digest("old", 1)
    training = Training(dataset_path="nowhere", **longer.options)
    assert (training.training_options.epochs, training.model_options.truncation) == (3, "head+tail")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--no-such-option 1", "No such option"),
        ("--epochs many", "not a valid integer"),
        ("--epochs -1", "epochs: expected a whole number of at least 0, got -1"),
        ("--warmup 2", "warmup: expected a number of at least 0"),
        ("--help", "No such option"),
        ("--init-lr 'unclosed", "No closing quotation"),
        ("--val-split .5", "val_split is the same for all recipes"),
        ("--patience 1 --checkpoint-steps 5", "checkpoint_steps, patience is the same"),
    ],
)
def test_variations_of_bad_options_fails_before_training(words, said):
    with pytest.raises(BenchError, match=rf"expected options of train_model\.py, got .*{said}"):
        variations_of(BASE, [words])


def test_what_is_measured_with_is_not_learnt_from(data):
    splits = read_set("trec", data, data).data
    measured = measured_texts(splits, 200, 100)
    assert measured.texts == splits.validation_select.texts + splits.train.texts[-100:]
    assert measured.labels.tolist() == [*splits.validation_select.labels, *splits.train.labels[-100:]]
    others = {*splits.train.texts[:200], *splits.validation_calibrate.texts, *splits.test.texts}
    assert not others & set(measured.texts)
    with pytest.raises(BenchError, match="expected at most 320 training texts together, got 321"):
        measured_texts(splits, 300, 21)


def found(logits):
    return {"fit_seconds": 10.0, "others": 0.0, "logits": logits}


def test_recipes_are_compared_with_the_first_text_by_text():
    right, wrong = [2.0, 0.0], [0.0, 2.0]
    labels = np.zeros(10, np.int64)
    first, second = compared([found([wrong] * 2 + [right] * 8), found([right] * 9 + [wrong])], labels, ["neg", "pos"])
    assert (first["accuracy"], second["accuracy"]) == (0.8, 0.9)
    assert first["difference"] == 0
    assert second["difference"] == pytest.approx(0.1)  # Two gained, one lost.
    assert second["low"] < 0 < second["high"]
    surely, hardly = -np.log(1 / (1 + np.exp(-2))), -np.log(1 / (1 + np.exp(2)))
    assert second["log_loss"] == pytest.approx(0.9 * surely + 0.1 * hardly)
    of_first, of_second = table(variations_of(BASE, ["--epochs 3"]), [first, second]).splitlines()[2:]
    assert [cell.strip() for cell in of_first.split("|")][1:6] == [
        f"`{BASE}`",
        "10",
        "0%",
        f"{first['log_loss']:.4f}",
        "80.00%",
    ]
    assert "`--epochs 3`" in of_second
    assert "+10.00" in of_second


@pytest.fixture
def trainings(monkeypatch):
    """Instead of trainings: the options of each. With more epochs more is right."""
    asked = []

    def train_here(options, drawn, epochs, predict, work):
        assert predict
        asked.append(options)
        labels = drawn.validation.labels.tolist()
        wrong = 20 // epochs
        logits = [[0.0, 1.0] if (label == 1) != (at < wrong) else [1.0, 0.0] for at, label in enumerate(labels)]
        return {
            "epochs": [{"texts": len(drawn.train), "seconds": 2.0}] * epochs,
            "reading_seconds": 0.5,
            "others": 0.0,
            "logits": logits,
        }

    monkeypatch.setattr(recipes, "train_here", train_here)
    monkeypatch.setattr(recipes, "keep_to_cores", lambda count: None)
    return asked


def test_a_recipe_is_trained_once(data, trainings, tmp_path):
    given = ["--data-dir", data, "--set", "trec", "--work-dir", tmp_path / "work", "--texts", 100, "--more-texts", 100]
    given += ["--base", "--encoder minilm-l6 --epochs 1", "--json", tmp_path / "recipes.json", "--vary", "--epochs 2"]
    first = CliRunner().invoke(main, list(map(str, given)))
    assert first.exit_code == 0, first.output
    assert [each["epochs"] for each in trainings] == [1, 2]
    assert "90 texts, 140 to measure with" in first.stdout
    written = json.loads((tmp_path / "recipes.json").read_bytes())
    assert [each["fit_seconds"] for each in written["recipes"]] == [2.5, 4.5]
    assert [each["difference"] for each in written["recipes"]] == [0, pytest.approx(10 / 140)]
    trainings.clear()
    again = CliRunner().invoke(main, list(map(str, [*given, "--vary", "--epochs 4"])))
    assert [each["epochs"] for each in trainings] == [4]
    rows = [
        [" ".join(row.split()) for row in run.stdout.splitlines() if row.startswith("| `")] for run in (first, again)
    ]
    assert len(rows[1]) == 3
    assert rows[1][:2] == rows[0]
