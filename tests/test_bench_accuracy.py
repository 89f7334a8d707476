"""The accuracy benchmark: its baselines by hand, its sets, its recipe, and a run with a tiny encoder."""

import gzip
import json
import math

import numpy as np
import pytest
from scipy import sparse
from sklearn.svm import LinearSVC
from tiny_engine import tiny_reviews

from bench.errors import BenchError
from bench.labelled_sets import read_set
from bench.recipe import Recipe
from bench.word_baselines import BASELINES, BETA, fit_interpolated, log_count_ratios

RECIPE = Recipe("tiny", 32, "head", 5e-3, None, least_steps=9, steps_per_class=1)


def write_set(folder, train, test, names=("neg", "pos")):
    """A set as DATA holds it, of pairs of text and class id."""
    folder.mkdir(parents=True)
    for part, rows in (("train", train), ("test", test)):
        with gzip.open(folder / f"{part}.csv.gz", "wt", encoding="utf-8") as file:
            file.writelines(["text,label\n", *(f'"{text}",{names[label]}\n' for text, label in rows)])
    return folder.parent


def test_log_count_ratios_by_hand():
    features = sparse.csr_matrix(np.array([[1, 0], [1, 1], [0, 1]], np.float32))
    ratios = log_count_ratios(features, np.array([True, True, False]))
    # Each count and one more: 3 and 2 of 5 in the class, 1 and 2 of 3 outside it.
    assert ratios == pytest.approx([math.log(3 / 5) - math.log(1 / 3), math.log(2 / 5) - math.log(2 / 3)])


def test_nb_svm_is_drawn_from_the_svm_towards_equal_weights():
    random = np.random.default_rng(0)
    features = sparse.csr_matrix(random.normal(size=(40, 5)))
    is_class = np.asarray(features[:, [0]].todense()).ravel() > 0.2
    svm = LinearSVC(C=1.0, max_iter=10_000, random_state=0).fit(features, is_class)
    found = fit_interpolated(features, is_class)
    mean = np.abs(svm.coef_).mean()
    assert found.coefficients == pytest.approx((1 - BETA) * mean + BETA * svm.coef_.ravel())
    assert found.intercept == pytest.approx(BETA * svm.intercept_[0])


@pytest.mark.parametrize("baseline", BASELINES, ids=lambda baseline: baseline.name)
@pytest.mark.parametrize("classes", [2, 3])
def test_baselines_learn(baseline, classes):
    texts, labels = zip(*tiny_reviews(300, classes=classes), strict=True)
    predict = baseline.fit(texts, np.array(labels), classes)
    new, truth = zip(*tiny_reviews(100, seed=1, classes=classes), strict=True)
    found = predict(new)
    assert found.dtype == np.int64
    assert np.mean(found == truth) > 0.95


@pytest.mark.parametrize("baseline", BASELINES, ids=lambda baseline: baseline.name)
def test_marks_are_read(baseline):
    predict = baseline.fit(["I write C#", "I write C", "C# it is", "C it is"], np.array([1, 0, 1, 0]), 2)
    assert predict(["C#", "C"]).tolist() == [1, 0]


def test_a_set_is_read_cleaned_and_its_classes_renamed(tmp_path):
    names = ("age_limit", "reverted_card_payment?")
    train = [*tiny_reviews(60), tiny_reviews(1)[0], ("a test text", 1)]
    data = write_set(tmp_path / "banking77", train, [("a test text", 1), ("dull", 0)], names)
    found = read_set("banking77", data, tmp_path / "unpacked")
    assert found.data.class_names == ("age_limit", "reverted_card_payment")
    texts, labels = found.learnable
    assert sorted(texts) == sorted(text for text, _ in tiny_reviews(60))
    assert len(labels) == 60 > len(found.data.train)
    assert found.tested[0] == ["a test text", "dull"]
    assert found.tested[1].tolist() == [1, 0]
    with pytest.raises(BenchError, match="expected aclImdb or aclImdb_v1.tar.gz, found nothing"):
        read_set("imdb", data, tmp_path / "unpacked")


def test_epochs_are_as_few_as_make_enough_steps(tmp_path):
    data = write_set(tmp_path / "trec", tiny_reviews(125), tiny_reviews(10, seed=1))
    found = read_set("trec", data, tmp_path)
    assert len(found.data.train) == 100  # Four batches of 32.
    assert RECIPE.epochs_of(found) == 3
    values = {**RECIPE.__dict__}
    assert Recipe(**{**values, "steps_per_class": 8}).epochs_of(found) == 4
    assert Recipe(**{**values, "epochs": 7}).epochs_of(found) == 7
    assert json.loads(json.dumps(values))["epochs"] is None
    assert RECIPE.digest() != Recipe(**{**values, "max_length": 33}).digest()
