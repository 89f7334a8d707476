"""Explanations of tiny engine versions: they add up, and every word is found again in the text."""

from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest
from tiny_engine import write_version
from word_backend import WordBackend

from inference import Inference
from textclf.errors import InputError
from textclf.explain.explainer import Explainer
from textclf.runtime.predictor import Predictor
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


def test_words_that_truncation_left_out_have_no_value(models):
    text = f"great {'dull ' * 60}brilliant"
    head, both = models["two"].explain(text), models["head+tail"].explain(text)
    assert head.truncated
    assert both.truncated
    assert head.unseen == (((text.index("dull") + 29 * 5), len(text)),)
    assert head.values[30:].tolist() == [[0, 0]] * 32
    assert np.abs(head.values[:30]).min() > 0
    (gap,) = both.unseen
    assert text[: gap[0]].split() == ["great", *["dull"] * 6]
    assert text[gap[1] :].split() == [*["dull"] * 22, "brilliant"]
    assert not np.abs(both.values[7:39]).any()
    assert both.values[-1].any()


def test_windows_read_more_words(models):
    text = "the film was dull " * 20
    found = models["windows"].explain(text, max_evaluations=200)
    assert found.complete
    assert found.unseen == ()
    assert np.abs(found.values).min() > 0


def test_the_linear_stage_needs_no_evaluations(models):
    found = models["cascade"].explain("the film was dull and boring")
    assert (found.stage, found.baseline, found.evaluations, found.complete) == ("linear", "absence", 0, True)
    neg = dict(zip(found.words, found.values[:, 0], strict=True))
    assert min(neg["dull"], neg["boring"]) > max(neg["the"], neg["was"], neg["and"])


def test_short_texts_get_exact_values(models):
    """The clause "dull." is added to the text or to nothing: both texts can be predicted."""
    model = models["two"]
    found = model.explain("the film was good, dull.")
    assert found.values.tolist() == model.explain(found.text, max_evaluations=10**6).values.tolist()
    before, after = (model.predict(text).probabilities["neg"] for text in ("the film was good,", "dull."))
    expected = ((after - found.base_values[0]) + (found.probabilities["neg"] - before)) / 2
    assert found.values[5:].sum(axis=0)[0] == pytest.approx(expected, abs=1e-5)


def test_equal_words_get_equal_values(models):
    for name in ("two", "three"):
        found = models[name].explain("good good good good")
        assert found.values == pytest.approx(np.tile(found.values[0], (4, 1)), abs=1e-9)


@pytest.mark.parametrize("budget", [2, 10, 50])
def test_a_budget_is_kept(models, budget):
    found = models["two"].explain(
        "the film was good, but the plot was dull and the music was bad.", max_evaluations=budget
    )
    assert found.evaluations <= budget
    assert found.complete == (budget == 50)


def test_time_ends_the_evaluations(models):
    found = models["two"].explain("the film was good, but the plot was dull. " * 2, seconds=1e-9)
    assert not found.complete
    assert sums(found) == pytest.approx(list(found.probabilities.values()))


def test_no_batch_starts_after_the_time(models, monkeypatch):
    """A clock that goes on with each batch ends the time among the masks that are evaluated together."""
    starts = []
    monkeypatch.setattr("textclf.explain.explainer.time", SimpleNamespace(monotonic=lambda: len(starts)))
    explainer = Explainer(models["two"].predictor, tokens_per_batch=16)
    text = "the film was good, but the plot was dull. It was long and boring. A lovely story, and a brilliant actor!"
    (found,) = explainer.explain([text], seconds=7, on_batch=lambda: starts.append(None))
    assert len(starts) == 7
    assert 2 < found.evaluations < 30
    assert not found.complete
    assert len(np.unique(found.values[:, 0])) > 1
    assert sums(found) == pytest.approx(list(found.probabilities.values()))


def test_the_caller_can_end_an_explanation_between_batches(models):
    class EndedError(Exception):
        pass

    calls = []

    def end():
        calls.append(None)
        if len(calls) == 3:
            raise EndedError

    with pytest.raises(EndedError):
        Explainer(models["two"].predictor).explain([TEXTS[4]], on_batch=end)
    assert len(calls) == 3


def test_classes_can_be_chosen(models):
    model = models["three"]
    every, chosen = model.explain(TEXTS[3]), model.explain(TEXTS[3], classes=["good", "bad"])
    assert chosen.class_names == ("good", "bad")
    assert chosen.values.tolist() == every.values[:, [2, 0]].tolist()
    assert list(chosen.probabilities) == ["bad", "fair", "good"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"unit": "percent"}, "unit: expected probability or logit, got 'percent'"),
        ({"max_evaluations": 1}, "max_evaluations: expected a whole number of at least 2, got 1"),
        ({"seconds": 0}, "seconds: expected a number above 0, got 0"),
        ({"classes": ["great"]}, "classes: expected some of neg, pos, got 'great'; correct the name"),
        ({"classes": []}, "classes: expected at least one class, got none"),
        ({"classes": ["pos", "pos"]}, "classes: expected each class once, got 'pos' twice"),
        ({"classes": "pos"}, "classes: expected a list of class names, got the str 'pos'"),
    ],
)
def test_invalid_arguments(models, options, message):
    with pytest.raises(InputError, match=message):
        models["two"].explain("good", **options)


def test_a_model_without_a_tokenizer_is_refused():
    explainer = Explainer(Predictor(WordBackend(("bad", "good")), ("bad", "good")))
    with pytest.raises(InputError, match="expected a model version with an engine, found a SavedModel"):
        explainer.explain(["good"])


def test_threads_get_the_values_of_one_thread(models):
    explainer = Explainer(models["cascade"].predictor)
    texts = [*TEXTS, "the film was dull and boring", "a film"]
    alone = explainer.explain(texts, max_evaluations=60)
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(lambda _: explainer.explain(texts, max_evaluations=60), range(4)):
            for one, other in zip(alone, found, strict=True):
                assert one.values.tolist() == other.values.tolist()
                assert one.to_dict() == other.to_dict()
