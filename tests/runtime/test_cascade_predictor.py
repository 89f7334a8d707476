"""A predictor with a cascade: what exits, what the encoder reads, and that both stages are on one scale."""

import dataclasses

import numpy as np
import pytest
from tiny_bert import vocabulary
from tiny_engine import CASCADE, tiny_linear, tiny_reviews
from word_backend import WordBackend

from textclf.errors import ConfigError, ModelStoreError
from textclf.runtime.backend import Timings
from textclf.runtime.cascade import Cascade
from textclf.runtime.predictor import Predictor
from textclf.stats.calibration import softmax
from textclf.stats.cascade_rules import CascadeSettings
from textclf.tokenization.tokenizer import Tokenizer

TEXTS = [text for text, _ in tiny_reviews(60, seed=9)]
EVERY = dataclasses.replace(CASCADE, exit_confidence=0.5)
NONE = dataclasses.replace(CASCADE, exit_confidence=None)
# What the encoder says is taken as it is.
NEUTRAL = CascadeSettings(linear_temperature=2.0, encoder_weight=1.0, linear_weight=0.0, exit_confidence=None)


class Backend(WordBackend):
    """Counts words; gives embeddings and, as an engine does, the wordpieces of whole texts."""

    def __init__(self, max_length=8, keeps_wordpieces=True):
        super().__init__(("bad", "good"), max_length=max_length, embeddings=True)
        self.tokenizer = Tokenizer(vocabulary(), lower_case=True, max_length=max_length)
        self.keeps_wordpieces = keeps_wordpieces

    def encode(self, texts, max_chars=None):
        tokenized = self.tokenizer(texts, max_chars)
        wordpieces = [text.wordpieces for text in tokenized] if self.keeps_wordpieces else None
        return dataclasses.replace(super().encode(texts), wordpieces=wordpieces)


def make(settings=CASCADE, classes=2, **arguments):
    backend = arguments.pop("backend", None) or Backend()
    cascade = None if settings is None else Cascade(tiny_linear(classes), settings)
    arguments = {"max_wordpieces": 8, "temperature": 1.5} | arguments
    return Predictor(backend, ("neg", "pos"), cascade=cascade, **arguments)


def read_by(predictor):
    return sorted(text for batch in predictor.backend.batches for text in batch)


def test_the_encoder_reads_what_does_not_exit_and_nothing_else():
    predictor = make()
    predictions = predictor.predict(TEXTS)
    assert [prediction.text for prediction in predictions] == TEXTS
    stages = [prediction.stage for prediction in predictions]
    assert 10 < stages.count("linear") < 50
    assert read_by(predictor) == sorted(text for text, stage in zip(TEXTS, stages, strict=True) if stage == "encoder")


def test_the_order_of_the_texts_changes_nothing():
    predictor = make(tokens_per_batch=20)
    before = predictor.predict(TEXTS)
    order = np.random.default_rng(0).permutation(len(TEXTS))
    after = predictor.predict([TEXTS[i] for i in order])
    assert after == [before[i] for i in order]
    assert [predictor.predict([text])[0] for text in TEXTS] == before


def test_an_exit_is_the_linear_stages_answer_and_the_rest_a_sum():
    predictor = make()
    answer = predictor.predict_batch(TEXTS)
    linear = predictor.cascade.linear(predictor.encode(TEXTS).wordpieces)
    counts = predictor.run(predictor.encode(TEXTS)).logits
    is_exit = answer.stages.exits
    probabilities = softmax(answer.outputs.logits, 1.5)
    np.testing.assert_allclose(probabilities[is_exit], softmax(linear, 2.0)[is_exit], atol=1e-6)
    both = softmax(counts / 1.5 + 0.5 * linear / 2.0)
    np.testing.assert_allclose(probabilities[~is_exit], both[~is_exit], atol=1e-6)


def test_probabilities_come_from_the_logits_and_the_temperature():
    answer = make(threshold=0.4).predict_batch(TEXTS)
    probabilities = softmax(answer.outputs.logits, 1.5)
    for prediction, row, label in zip(answer.predictions, probabilities, answer.predicted, strict=True):
        assert list(prediction.probabilities.values()) == row.tolist()
        assert prediction.score == row[1]
        assert prediction.label == ("pos" if row[1] >= 0.4 else "neg") == ("neg", "pos")[label]


def test_both_stages_give_the_same_answers_and_more_of_what_led_to_them():
    predictor = make()
    short, whole = predictor.predict_batch(TEXTS), predictor.predict_batch(TEXTS, both_stages=True)
    assert whole.predictions == short.predictions
    is_exit = short.stages.exits
    assert 0 < is_exit.sum() < len(TEXTS)
    for name in ("exits", "linear_logits"):
        np.testing.assert_array_equal(getattr(whole.stages, name), getattr(short.stages, name))
    assert np.isnan(short.stages.encoder_logits[is_exit]).all()
    assert np.isnan(short.outputs.embeddings[is_exit]).all()
    assert np.isfinite(whole.stages.encoder_logits).all()
    assert np.isfinite(whole.outputs.embeddings).all()
    np.testing.assert_array_equal(whole.stages.encoder_logits[~is_exit], short.stages.encoder_logits[~is_exit])
    np.testing.assert_array_equal(whole.outputs.embeddings[~is_exit], short.outputs.embeddings[~is_exit])
    np.testing.assert_array_equal(whole.stages.encoder_logits, predictor.run(predictor.encode(TEXTS)).logits)


def test_where_all_exit_the_encoder_does_nothing():
    predictor, timings = make(EVERY), Timings()
    answer = predictor.predict_batch(TEXTS, timings)
    assert {prediction.stage for prediction in answer.predictions} == {"linear"}
    assert predictor.backend.batches == []
    assert answer.outputs.embeddings is None
    assert answer.outputs.logits.shape == (60, 2)
    assert timings.linear > 0
    assert (timings.queue, timings.infer) == (0, 0)


def test_where_none_exits_the_encoder_reads_all():
    predictor = make(NONE)
    answer = predictor.predict_batch(TEXTS)
    assert {prediction.stage for prediction in answer.predictions} == {"encoder"}
    assert read_by(predictor) == sorted(TEXTS)
    assert np.isfinite(answer.outputs.embeddings).all()


def test_without_early_answers_and_with_the_encoder_weighted_alone_its_answers_are_the_encoders():
    with_it, without = make(NEUTRAL).predict_batch(TEXTS), make(None).predict_batch(TEXTS)
    assert [dataclasses.replace(one, stage=None) for one in with_it.predictions] == without.predictions
    np.testing.assert_array_equal(with_it.outputs.logits, without.outputs.logits)
    np.testing.assert_array_equal(with_it.outputs.embeddings, without.outputs.embeddings)


def test_without_a_cascade_there_are_no_stages():
    answer = make(None).predict_batch(TEXTS, both_stages=True)
    assert answer.stages is None
    assert {prediction.stage for prediction in answer.predictions} == {None}


def test_of_an_exit_nothing_is_truncated():
    """The linear stage has read all of it; 8 wordpieces are what the encoder reads."""
    long = "the film was " * 5
    exit_, other, short = make().predict([long + "dull and boring", long, "a film"])
    assert (exit_.stage, exit_.truncated, exit_.tokens) == ("linear", False, 20)
    assert (other.stage, other.truncated, other.tokens) == ("encoder", True, 17)
    assert (short.stage, short.truncated) == ("encoder", False)


def test_what_is_said_beyond_the_encoders_reach_counts():
    (before,) = make(NONE).predict(["a film " * 20])
    (after,) = make(NONE).predict(["a film " * 20 + "dull boring awful"])
    assert after.score < before.score


def test_no_texts():
    predictor = make()
    answer = predictor.predict_batch([])
    assert answer.predictions == []
    assert answer.stages.exits.shape == (0,)
    assert predictor.backend.batches == []


def test_whole_texts_as_ids_are_not_kept():
    assert make().predict_batch(TEXTS).encoded.wordpieces is None


def test_another_number_of_classes_is_refused():
    with pytest.raises(ConfigError, match="expected a linear stage of 2 classes, got one of 3"):
        make(classes=3)


def test_a_backend_without_a_tokenizer_is_refused():
    with pytest.raises(ConfigError, match="expected a backend with a tokenizer"):
        make(backend=WordBackend(("neg", "pos")))


def test_a_backend_that_gives_no_wordpieces_is_refused():
    with pytest.raises(ModelStoreError, match="expected the wordpieces of whole texts, got none"):
        make(backend=Backend(keeps_wordpieces=False)).predict(["a film"])
