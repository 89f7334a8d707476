"""Explanations of tiny engine versions: they add up, and every word is found again in the text."""

import pytest
from tiny_engine import write_version

from inference import Inference
from textclf.stats.calibration import softmax

TEXTS = [
    "",
    "  \n ",
    "good",
    "the film was great",
    "Don't miss it: a lovely, funny film! The music is great... but the ending was dull (very dull).",
    "zzzz 😀❤️ 漢字 e\u0301te ½ …",
    "it was good and " * 40,
]


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    """Store by name: without a cascade, with one, with three classes, with windows, and with head+tail."""
    folder = tmp_path_factory.mktemp("stores")
    versions = {
        "two": {},
        "cascade": {"cascade": True},
        "three": {"class_names": ("bad", "fair", "good")},
        "three-cascade": {"class_names": ("bad", "fair", "good"), "cascade": True},
        "windows": {"windows": 3},
        "head+tail": {"truncation": "head+tail", "cascade": True},
    }
    for name, changes in versions.items():
        write_version(folder / name, **changes)
    return folder


@pytest.fixture(scope="module")
def models(stores):
    return {path.name: Inference(path) for path in stores.iterdir()}


def sums(explanation):
    return explanation.base_values + explanation.values.sum(axis=0)


@pytest.mark.parametrize("name", ["two", "cascade", "three", "three-cascade", "windows", "head+tail"])
def test_values_add_up_to_the_served_probabilities(models, name):
    model = models[name]
    for explanation in model.explain(TEXTS, max_evaluations=60):
        served = model.predict(explanation.text)
        assert explanation.probabilities == served.probabilities
        assert (explanation.label, explanation.stage) == (served.label, served.stage)
        assert sums(explanation) == pytest.approx(list(served.probabilities.values()), abs=1e-9)
        assert "".join(piece for piece, _ in explanation.pieces()) == explanation.text
        assert [explanation.text[start:end] for start, end in explanation.spans] == list(explanation.words)


@pytest.mark.parametrize("name", ["two", "cascade", "three-cascade"])
def test_logits_add_up_to_the_served_probabilities(models, name):
    for explanation in models[name].explain(TEXTS, unit="logit", max_evaluations=60):
        found = sums(explanation)
        assert found.sum() == pytest.approx(0, abs=1e-9)
        assert softmax(found) == pytest.approx(list(explanation.probabilities.values()), abs=1e-6)
