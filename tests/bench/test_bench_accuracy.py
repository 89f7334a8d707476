"""The accuracy benchmark: its baselines by hand, its sets, its recipe, and a run with a tiny encoder."""

import json

import numpy as np
import pytest
from click.testing import CliRunner
from labelled_sets import write_set
from scipy import sparse
from sklearn.svm import LinearSVC
from tiny_engine import tiny_reviews, write_version

from bench.accuracy.all_sets import CASCADE, ENCODER, exit_sentence, main, tables
from bench.accuracy.recipe import Recipe, trained_store
from bench.accuracy.word_baselines import BASELINES, BETA, TOLERANCE, fit_interpolated
from bench.errors import BenchError
from bench.labelled_sets import read_set
from textclf.data.datasets import split_fingerprint
from textclf.stats.cascade_rules import CascadeSettings
from train_model import main as train_model

RECIPE = Recipe("tiny", 32, "head", 5e-3, 0.5, 2048, 0.1, None, min_epochs=2, min_steps=11, steps_per_class=1)


def test_nb_svm_is_drawn_from_the_svm_towards_equal_weights():
    random = np.random.default_rng(0)
    features = sparse.csr_matrix(random.normal(size=(40, 5)))
    is_class = np.asarray(features[:, [0]].todense()).ravel() > 0.2
    svm = LinearSVC(C=1.0, tol=TOLERANCE, random_state=0).fit(features, is_class)
    found = fit_interpolated(features, is_class)
    mean = np.abs(svm.coef_).mean()
    assert found.coefficients == pytest.approx((1 - BETA) * mean + BETA * svm.coef_.ravel())
    assert found.intercept == pytest.approx(BETA * svm.intercept_[0])


@pytest.mark.parametrize("baseline", BASELINES, ids=lambda baseline: baseline.name)
@pytest.mark.parametrize("classes", [2, 3])
def test_baseline_separates_learnable_classes(baseline, classes):
    texts, labels = zip(*tiny_reviews(300, classes=classes), strict=True)
    predict = baseline.fit(texts, np.array(labels), classes)
    new, truth = zip(*tiny_reviews(100, seed=1, classes=classes), strict=True)
    found = predict(new)
    assert found.dtype == np.int64
    assert np.mean(found == truth) > 0.95


@pytest.mark.parametrize("baseline", BASELINES, ids=lambda baseline: baseline.name)
def test_baseline_reads_punctuation_marks(baseline):
    predict = baseline.fit(["I write C#", "I write C", "C# it is", "C it is"], np.array([1, 0, 1, 0]), 2)
    assert predict(["C#", "C"]).tolist() == [1, 0]


def test_a_set_is_read_cleaned_and_its_classes_renamed(tmp_path):
    names = ("age_limit", "reverted_card_payment?")
    train = [*tiny_reviews(60), tiny_reviews(1)[0], ("a test text", 1)]
    data = write_set(tmp_path / "banking77", train, [("a test text", 1), ("dull", 0)], names).parent
    found = read_set("banking77", data, tmp_path / "unpacked")
    assert found.data.class_names == ("age_limit", "reverted_card_payment")
    texts, labels = found.learnable
    assert sorted(texts) == sorted(text for text, _ in tiny_reviews(60))
    assert len(labels) == 60 > len(found.data.train)
    assert found.tested[0] == ["a test text", "dull"]
    assert found.tested[1].tolist() == [1, 0]
    with pytest.raises(BenchError, match=r"expected aclImdb or aclImdb_v1\.tar\.gz, found nothing"):
        read_set("imdb", data, tmp_path / "unpacked")


def test_epochs_are_as_few_as_make_enough_steps(tmp_path):
    data = write_set(tmp_path / "trec", tiny_reviews(125), tiny_reviews(10, seed=1)).parent
    found = read_set("trec", data, tmp_path)
    assert len(found.learnable[0]) == 125  # Nine tenths are four batches of 32.
    assert RECIPE.epochs_of(found) == 3
    values = {**RECIPE.__dict__}
    assert Recipe(**{**values, "steps_per_class": 8}).epochs_of(found) == 4
    assert Recipe(**{**values, "min_epochs": 5}).epochs_of(found) == 5
    assert Recipe(**{**values, "val_split": 0.5}).epochs_of(found) == 6
    assert Recipe(**{**values, "epochs": 7}).epochs_of(found) == 7
    assert json.loads(json.dumps(values))["epochs"] is None
    assert RECIPE.digest() != Recipe(**{**values, "max_length": 33}).digest()


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_set(tmp_path_factory.mktemp("data") / "trec", tiny_reviews(150), tiny_reviews(60, seed=1)).parent


def fingerprints(data):
    """As the manifest of a version that was trained on the set has them."""
    found = read_set("trec", data, data).data
    return {"fingerprint": {"test": split_fingerprint(found.class_names, {"test": found.test})}}


def test_command_with_existing_version_measures_it_once(data, tmp_path):
    training = {"seconds": 12.5, "history": {"loss": [0.5, 0.4]}}
    store = tmp_path / "versions" / "trec"
    cascade = CascadeSettings(linear_temperature=1.0, encoder_weight=1.0, linear_weight=1.0, exit_confidence=0.9)
    write_version(store, cascade=cascade, reference_texts=[], training=training, data=fingerprints(data))
    arguments = ["--data-dir", data, "--work-dir", tmp_path / "work", "--versions", tmp_path / "versions"]
    arguments += ["--sets", "trec", "--json", tmp_path / "accuracy.json"]
    first = CliRunner().invoke(main, list(map(str, arguments)))
    assert first.exit_code == 0, first.output
    found = json.loads((tmp_path / "accuracy.json").read_bytes())
    figures = found["figures"]["trec"]
    assert list(figures) == ["nb-lr", "nb-svm", "tf-idf-svm", ENCODER, CASCADE]
    assert figures["nb-svm"]["accuracy"] == 1
    assert figures[CASCADE]["accuracy"] > 0.95 > figures[ENCODER]["accuracy"]
    assert figures[CASCADE]["exit_share"] > 0.5
    assert figures[ENCODER]["exit_share"] is None
    assert figures[ENCODER]["fit_seconds"] == 12.5
    assert found["sets"]["trec"]["tested on"] == 60
    assert "trec: 2 epochs; the linear stage predicts" in first.stdout
    again = CliRunner().invoke(main, list(map(str, arguments)))
    assert again.stdout.splitlines()[1:] == first.stdout.splitlines()[1:]
    assert "nb-lr …" in first.stderr
    assert "nb-lr …" not in again.stderr


def test_a_version_that_may_have_learnt_the_test_texts_is_refused(data, tmp_path):
    write_version(tmp_path / "versions" / "trec", reference_texts=[], data={"fingerprint": {"test": "0" * 64}})
    arguments = ["--data-dir", data, "--work-dir", tmp_path, "--versions", tmp_path / "versions", "--sets", "trec"]
    found = CliRunner().invoke(main, list(map(str, [*arguments, "--rows", "project"])))
    assert found.exit_code == 1
    assert "expected a version that was trained next to the test part of trec" in found.stderr


def test_tables_leave_missing_results_empty():
    sets = {name: {"classes": 2, "learnt from": 1200, "tested on": 500} for name in ("trec", "imdb")}
    one = {"accuracy": 0.9, "macro_f1": 0.89, "fit_seconds": 1.0}
    text = tables(sets, {"trec": {"nb-lr": one}, "imdb": {"nb-lr": one, "nb-svm": {**one, "accuracy": 0.91}}})
    rows = text.splitlines()
    assert [" ".join(row.split()) for row in rows[2:3] + rows[4:6]] == [
        "| set | classes | learnt from | tested on | NB-LR | NB-SVM |",
        "| trec | 2 | 1,200 | 500 | 90.00% | |",
        "| imdb | 2 | 1,200 | 500 | 90.00% | 91.00% |",
    ]
    assert text.count("| set ") == 3
    assert "no linear stage" in exit_sentence("trec", {"exit_share": None, "epochs": 1})


def test_a_training_gets_the_recipe_and_is_done_once(data, tmp_path, monkeypatch):
    started = []

    def run(script, *arguments, log):
        assert script == "train_model.py"
        started.append(train_model.make_context(script, list(map(str, arguments))).params)
        write_version(tmp_path / "work" / "model", reference_texts=[])

    monkeypatch.setattr("bench.accuracy.recipe.run", run)
    found = read_set("trec", data, tmp_path)
    for _ in range(2):
        assert trained_store(RECIPE, found, tmp_path / "work") == tmp_path / "work" / "model"
    (given,) = started
    assert (given["dataset_path"], given["name"], given["max_length"]) == (str(found.path), "trec", 32)
    assert (given["encoder"], given["truncation"], given["init_lr"], given["r_drop"]) == ("tiny", "head", 5e-3, 0.5)
    assert (given["tokens_per_batch"], given["val_split"]) == (2048, 0.1)
    assert given["epochs"] == RECIPE.epochs_of(found) == 3
