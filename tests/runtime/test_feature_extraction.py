"""Features of texts from a real engine: computed by hand, computed once, and the reference made of them."""

import dataclasses
import time

import numpy as np
import pytest
from tiny_bert import vocabulary
from tiny_engine import tiny_reviews, write_version
from word_backend import WordBackend

from textclf.drift.reference import MAX_TEXTS, load_reference, projection_of
from textclf.errors import ConfigError, InputError
from textclf.report.versions import describe_version
from textclf.runtime import feature_extraction as module
from textclf.runtime.backend import EncodedBatch, ModelOutputs
from textclf.runtime.feature_extraction import features_of, reference_of, text_features, wordpieces_of
from textclf.runtime.loading import load_predictor
from textclf.runtime.prediction import Prediction
from textclf.runtime.predictor import PredictionBatch, Predictor
from textclf.stats.calibration import decide, softmax
from textclf.store.model_store import open_model

# What ran before decides in which order an engine adds.
ROUNDING = 1e-4


@pytest.fixture(scope="module")
def version(tmp_path_factory):
    return open_model(write_version(tmp_path_factory.mktemp("store"), temperature=2.0, threshold=0.6))


@pytest.fixture(scope="module")
def predictor(version):
    return load_predictor(version.path)


@pytest.fixture(scope="module")
def reference(version):
    return load_reference(version.part("reference.npz"))


def counts(features):
    """Of each text the wordpieces and how often they stand in it."""
    words, names = features.words, vocabulary()
    return [
        {names[i]: int(k) for i, k in zip(words.ids[start:end], words.counts[start:end], strict=True)}
        for start, end in zip(words.offsets[:-1], words.offsets[1:], strict=True)
    ]


# --- features


def test_an_accent_alone_is_blank_to_a_cased_encoder_too(predictor):
    batch = predictor.predict_batch(["good", "\u0301"])
    as_cased = dataclasses.replace(batch, encoded=dataclasses.replace(batch.encoded, token_counts=np.array([3, 3])))
    assert features_of(as_cased, wordpieces_of(predictor), None).lengths.tolist() == [3, 2]


def test_features_by_hand(predictor):
    texts = ["The film, the plot: great!", "filmx xyz €", "", "bad " * 100]
    found = text_features(predictor, texts, None)
    assert counts(found) == [
        {"the": 2, "film": 1, ",": 1, "plot": 1, ":": 1, "great": 1, "!": 1},
        {"film": 1, "##x": 1, "x": 1, "##y": 1, "##z": 1, "[UNK]": 1},
        {},
        {"bad": 30},  # What is left of 102 in a model that sees 32.
    ]
    assert found.lengths.tolist() == [10, 8, 2, 102]
    np.testing.assert_allclose(found.unknown_rates, [0, 1 / 6, 0, 0])
    np.testing.assert_allclose(found.continuation_rates, [0, 3 / 6, 0, 0])
    np.testing.assert_allclose(found.non_letter_rates, [3 / 22, 1 / 9, 0, 0], rtol=1e-6)
    assert found.embeddings is None
    types = {
        found.unknown_rates.dtype,
        found.continuation_rates.dtype,
        found.non_letter_rates.dtype,
        found.logits.dtype,
    }
    assert types == {np.dtype(np.float32)}
    assert (found.lengths.dtype, found.predicted.dtype) == (np.int64, np.int64)


@pytest.mark.parametrize(
    ("text", "rate"),
    [("abc", 0), ("a1 b2\n", 0.5), ("!?", 1), (" \t\n\u00a0", 0), ("Žluťoučký", 0), ("東京。", 1 / 3), ("a😀", 0.5)],
)
def test_letters_of_any_script_are_letters(predictor, text, rate):
    assert text_features(predictor, [text], None).non_letter_rates[0] == pytest.approx(rate)


def test_features_say_what_predictions_say(predictor, reference):
    texts = [text for text, _ in tiny_reviews(60, seed=5)]
    found, batch = text_features(predictor, texts, reference.projection), predictor.predict_batch(texts)
    assert found.predicted.tolist() == [predictor.class_names.index(each.label) for each in batch.predictions]
    assert 0 < found.predicted.sum() < 60
    assert found.lengths.tolist() == [each.tokens for each in batch.predictions]
    np.testing.assert_allclose(found.logits, batch.outputs.logits, atol=ROUNDING)
    pooled = predictor.run(predictor.encode(texts)).embeddings
    np.testing.assert_allclose(found.embeddings, reference.projection.apply(pooled), atol=ROUNDING)


def test_features_of_an_answer_run_nothing_again(predictor, reference, monkeypatch):
    texts = [text for text, _ in tiny_reviews(20, seed=6)]
    expected = text_features(predictor, texts, reference.projection)
    answer, wordpieces = predictor.predict_batch(texts), wordpieces_of(predictor)
    for name in ("encode", "run"):
        monkeypatch.setattr(predictor.backend, name, lambda *_: pytest.fail("computed again"))
    found = features_of(answer, wordpieces, reference.projection)
    assert counts(found) == counts(expected)
    for name, value in vars(expected).items():
        if name != "words" and value is not None:
            np.testing.assert_allclose(getattr(found, name), value, atol=ROUNDING)


def test_no_texts_have_no_features(predictor, reference):
    assert len(text_features(predictor, [], reference.projection)) == 0


def test_a_review_takes_well_under_a_millisecond():
    """Of 1,300 characters, 300 wordpieces, of which 256 are seen, and an encoder of width 384."""
    random = np.random.default_rng(0)
    text = " ".join("".join(random.choice(list("abcdefghij,."), random.integers(2, 9))) for _ in range(210))[:1300]
    ids = [101, *random.integers(1000, 30_000, 254).tolist(), 102]
    pooled = random.normal(size=(1, 384)).astype(np.float32)
    answer = PredictionBatch(
        [Prediction(text, "pos", 0.9, {"neg": 0.1, "pos": 0.9}, True, 300)],
        np.array([1]),
        EncodedBatch([ids], np.array([256]), np.array([300])),
        ModelOutputs(np.array([[0, 1]], np.float32), pooled),
    )
    wordpieces = module.Wordpieces(100, random.random(30_522) < 0.2)
    projection = projection_of(random.normal(size=(100, 384)))
    seconds = []
    for _ in range(50):
        start = time.perf_counter()
        features_of(answer, wordpieces, projection)
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < 1e-3


def test_a_model_without_an_engine_has_no_features():
    predictor = Predictor(WordBackend(("neg", "pos")), ("neg", "pos"), name="plain")
    with pytest.raises(ConfigError, match=r"plain: drift needs a version with an engine"):
        text_features(predictor, ["a text"], None)
    with pytest.raises(ConfigError, match="needs a version with an engine"):
        reference_of(predictor, ["a text"], [0], projection_texts=["another"])


def test_the_answer_of_a_model_without_an_engine_is_refused(predictor):
    answer = Predictor(WordBackend(("neg", "pos"), counts=False), ("neg", "pos")).predict_batch(["a text"])
    with pytest.raises(InputError, match="expected predictions of an engine"):
        features_of(answer, wordpieces_of(predictor), None)


def test_the_projection_of_another_model_is_refused(predictor):
    with pytest.raises(InputError, match="the reference is of another model"):
        text_features(predictor, ["a text"], projection_of(np.eye(7)))


# --- the reference


def test_the_reference_of_a_version(version, predictor, reference):
    version.verify()
    labelled = tiny_reviews(200)
    found = text_features(predictor, [text for text, _ in labelled], reference.projection)
    assert counts(found) == counts(reference.features)
    np.testing.assert_allclose(found.embeddings, reference.features.embeddings, atol=ROUNDING)
    np.testing.assert_allclose(found.logits, reference.features.logits, atol=ROUNDING)
    assert reference.labels.tolist() == [label for _, label in labelled]
    assert reference.n_all == 200
    assert reference.error_rate == np.mean(found.predicted != reference.labels)


def test_inspect_says_what_the_reference_holds(version, reference):
    (line,) = (line for line in describe_version(version).splitlines() if line.startswith("reference"))
    assert " ".join(line.split()) == (
        f"reference 200 of 200 held-out texts, error rate {reference.error_rate:.2%}, embeddings in 32 directions"
    )


def test_the_projection_is_fitted_to_texts_of_its_own(predictor, monkeypatch):
    monkeypatch.setattr(module, "_PROJECTION_TEXTS", 50)
    others = [text for text, _ in tiny_reviews(80, seed=8)]
    texts, labels = zip(*tiny_reviews(30), strict=True)
    found = reference_of(predictor, texts, labels, projection_texts=others).projection
    rng = np.random.default_rng(0)
    rng.permutation(30)  # Of the texts themselves.
    drawn = [others[i] for i in rng.permutation(80)[:50]]
    expected = projection_of(predictor.run(predictor.encode(drawn)).embeddings)
    np.testing.assert_allclose(found.mean, expected.mean, atol=ROUNDING)
    np.testing.assert_allclose(found.components[:3], expected.components[:3], atol=1e-2)


def test_of_many_texts_some_are_chosen_by_the_seed(predictor):
    texts, labels = zip(*tiny_reviews(60, seed=9), strict=True)

    def chosen(seed):
        return reference_of(predictor, texts, labels, max_texts=20, seed=seed, projection_texts=texts)

    one, again, other = chosen(0), chosen(0), chosen(1)
    assert len(one.labels) == len(one.features) == 20
    assert one.n_all == 60
    np.testing.assert_allclose(one.features.logits, again.features.logits, atol=ROUNDING)
    assert np.abs(one.features.logits - other.features.logits).max() > 0.1
    # Each with its own label.
    everything = text_features(predictor, texts, None)
    for logits, label in zip(one.features.logits, one.labels, strict=True):
        rows = np.flatnonzero(np.abs(everything.logits - logits).max(axis=1) < 1e-4)
        assert label in {labels[row] for row in rows}


def test_held_out_logits_are_those_of_the_chosen_texts(predictor):
    texts, labels = zip(*tiny_reviews(60, seed=9), strict=True)
    held_out = np.random.default_rng(0).normal(size=(60, 2)).astype(np.float32)

    def reference(logits):
        return reference_of(predictor, texts, labels, max_texts=20, projection_texts=texts, held_out_logits=logits)

    found = reference(held_out)
    chosen = np.sort(np.random.default_rng(0).permutation(60)[:20])
    np.testing.assert_array_equal(found.features.logits, held_out[chosen])
    decided = decide(softmax(held_out[chosen], predictor.temperature), predictor.threshold)
    np.testing.assert_array_equal(found.features.predicted, decided)
    # Those of an earlier reference of the same texts are of the same sample.
    np.testing.assert_array_equal(reference(found.features.logits).features.logits, held_out[chosen])


def test_a_reference_has_at_most_5000_texts():
    assert MAX_TEXTS == 5000
    assert reference_of.__defaults__ == (MAX_TEXTS, 0)


def test_without_texts_to_fit_to_there_are_no_embeddings(predictor):
    found = reference_of(predictor, ["a film", "the plot"], [0, 1], projection_texts=["one text"])
    assert (found.projection, found.features.embeddings) == (None, None)


@pytest.mark.parametrize(
    ("texts", "labels", "message"),
    [
        (["a"], [0, 1], "a label for each text, got 2 for 1"),
        ([], [], "from 1 to n_all"),
        (["a"], [2], "labels and predictions from 0"),
    ],
)
def test_labels_that_do_not_fit_are_refused(predictor, texts, labels, message):
    with pytest.raises(InputError, match=message):
        reference_of(predictor, texts, labels, projection_texts=["x", "y"])
