"""Further masked-language training: what is hidden; that the encoder learns from it, and goes on after a kill."""

from types import SimpleNamespace

import numpy as np
import pytest
from tiny_training import tiny_training

from textclf.config import TrainingOptions
from textclf.errors import ConfigError
from textclf.graph.engine_graph import GraphForm
from textclf.training.classifier import load_encoder
from textclf.training.encoders.preprocessing import TokenizedTexts
from textclf.training.encoders.resolve import resolve
from textclf.training.fitting import masked_lm as masked_language
from textclf.training.fitting.batching import Batch
from textclf.training.fitting.checkpoints import RunDirectory
from textclf.training.fitting.masked_lm import Wordpieces, _Head, mask_tokens, pretrain_mlm
from textclf.training.fused_bert import trainable_classifier as bert_classifier
from textclf.training.fused_bert.trainable_classifier import BertClassifier
from textclf.training.tf_setup import tf, tf_keras

WORDPIECES = Wordpieces(size=200, padding=0, mask=4, never_masked=(2, 3))


def batch(rows=400, length=50, padding=10):
    """Texts [CLS] words [SEP], as long as `length` without the padding at their end."""
    ids = np.random.default_rng(0).integers(5, 200, (rows, length)).astype(np.int32)
    ids[:, 0], ids[:, length - padding - 1], ids[:, length - padding :] = 2, 3, 0
    return Batch(np.arange(rows), ids, (np.arange(length) < length - padding).astype(np.int32) * np.ones_like(ids))


# --- what is hidden


def test_shares_are_berts():
    before = batch()
    after, places, hidden = mask_tokens(before, WORDPIECES, np.random.default_rng(1))
    words = before.word_ids.size * 38 / 50
    assert len(places) / words == pytest.approx(0.15, abs=5 * np.sqrt(0.15 * 0.85 / words))
    np.testing.assert_array_equal(before.word_ids.ravel()[places], hidden)
    shown = after.word_ids.ravel()[places]
    tolerance = 5 * np.sqrt(0.25 / len(places))
    assert (shown == WORDPIECES.mask).mean() == pytest.approx(0.8, abs=tolerance)
    assert (shown == hidden).mean() == pytest.approx(0.1, abs=tolerance)
    others = np.ones(before.word_ids.size, bool)
    others[places] = False
    np.testing.assert_array_equal(after.word_ids.ravel()[others], before.word_ids.ravel()[others])
    np.testing.assert_array_equal(after.mask, before.mask)


def test_neither_padding_nor_special_tokens_are_hidden():
    _, _, hidden = mask_tokens(batch(), WORDPIECES, np.random.default_rng(1))
    assert not np.isin(hidden, [0, 2, 3]).any()


def test_a_choice_repeats_itself_and_leaves_its_input_alone():
    before = batch()
    ids = before.word_ids.copy()
    one, other, third = (mask_tokens(before, WORDPIECES, np.random.default_rng(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(before.word_ids, ids)
    np.testing.assert_array_equal(one[0].word_ids, other[0].word_ids)
    assert (one[0].word_ids != third[0].word_ids).any()


@pytest.mark.parametrize("words", [0, 1])
def test_there_is_always_something_to_guess(words):
    ids = np.array([[2, *[9] * words, 3]], np.int32)
    for seed in range(20):
        _, places, hidden = mask_tokens(
            Batch(np.arange(1), ids, np.ones_like(ids)), WORDPIECES, np.random.default_rng(seed)
        )
        assert len(places) == len(hidden) == 1
        assert hidden[0] == (9 if words else 2)


# --- the head


@pytest.fixture
def model():
    """What the head needs of an encoder: word embeddings, [7, 3]."""
    return SimpleNamespace(word_embeddings=tf.Variable(tf.random.normal([7, 3], seed=1)), product_dtype=tf.float32)


def test_there_is_a_logit_for_each_row_of_the_embeddings(model):
    assert _Head(model)(tf.ones([2, 3]), model.word_embeddings).shape == (2, 7)


def test_the_embeddings_are_the_encoders_and_take_each_step_once(model):
    head = _Head(model)
    head(tf.ones([2, 3]), model.word_embeddings)
    assert len(head.trainable_variables) == 5
    assert not any(item is model.word_embeddings for item in head.trainable_variables)


# --- reading


@pytest.fixture(scope="module")
def classifier(tiny_checkpoint):
    dense = tf_keras.layers.Dense(2, name="classifier")
    dense(tf_keras.Input([32]))
    encoder = load_encoder(resolve("tiny", str(tiny_checkpoint), "").encoder, 16)
    return BertClassifier(encoder, dense, GraphForm(), 0.1)


@pytest.fixture
def fresh(classifier):
    """A function: the classifier with the weights that it had in the beginning."""
    before = classifier.get_weights()

    def fresh():
        classifier.set_weights(before)
        return classifier

    yield fresh
    classifier.set_weights(before)


def chains(count=64, length=14):
    """Texts in which each word tells the next: [CLS] w w+1 w+2 … [SEP]."""
    starts = np.random.default_rng(0).integers(5, 60, (count, 1))
    words = starts + np.arange(length)
    ids = np.concatenate([np.full((count, 1), 2), words, np.full((count, 1), 3)], 1).astype(np.int32)
    offsets = np.arange(count + 1, dtype=np.int64) * (length + 2)
    return TokenizedTexts(ids.ravel(), offsets, np.diff(offsets))


@pytest.fixture
def losses(monkeypatch):
    """The losses of the steps of reading, as they come."""
    seen: list[float] = []
    make = masked_language._training_step

    def noting(*arguments):
        step = make(*arguments)

        def noted(*batch):
            seen.append(float(step(*batch)))
            return seen[-1]

        return noted

    monkeypatch.setattr(masked_language, "_training_step", noting)
    return seen


class KilledError(Exception):
    pass


@pytest.mark.slow
def test_it_learns_to_guess_goes_on_after_a_kill_and_is_done_once(fresh, tmp_path, monkeypatch, losses):
    texts = chains()
    options = TrainingOptions(mlm_epochs=6, mlm_lr=5e-3, batch_size=16, checkpoint_steps=10)
    model = fresh()
    pretrain_mlm(model, texts, WORDPIECES, options, RunDirectory(tmp_path / "whole"))
    weights, steps = model.get_weights(), len(losses)
    assert steps == 6 * 4
    # 200 wordpieces, 69 of which occur.
    assert np.mean(losses[:3]) == pytest.approx(np.log(200), abs=0.7)
    assert np.mean(losses[-3:]) < np.mean(losses[:3]) - 1.0

    save = RunDirectory.save

    def save_then_die(run, checkpoint, progress):
        save(run, checkpoint, progress)
        raise KilledError

    losses.clear()
    with monkeypatch.context() as patched:
        patched.setattr(RunDirectory, "save", save_then_die)
        with pytest.raises(KilledError):
            pretrain_mlm(fresh(), texts, WORDPIECES, options, RunDirectory(tmp_path / "killed"))
    assert len(losses) == 10
    for _ in range(2):  # The second time it is done, and only loads the weights.
        model = fresh()
        pretrain_mlm(model, texts, WORDPIECES, options, RunDirectory(tmp_path / "killed"))
        assert len(losses) == steps
        for one, other in zip(model.get_weights(), weights, strict=True):
            np.testing.assert_array_equal(one, other)


# --- a training with it


@pytest.mark.slow
def test_a_training_reads_once(tiny_checkpoint, reviews, tmp_path, losses):
    # A rate of fitting so low that the weights in the end are those after reading.
    options = {"mlm_epochs": 1, "mlm_lr": 5e-3, "epochs": 1, "init_lr": 1e-12}
    first = tiny_training(tiny_checkpoint, reviews, tmp_path, **options)
    history = first.fit_model()
    steps = len(losses)
    assert steps == 24

    # Another rate of fitting begins with what was read.
    other = tiny_training(tiny_checkpoint, reviews, tmp_path, **{**options, "init_lr": 1e-11})
    other.fit_model()
    assert len(losses) == steps
    words, others = (
        next(item.numpy() for item in training.classifier_model.weights if "word_embeddings" in item.name)
        for training in (first, other)
    )
    np.testing.assert_allclose(others, words, atol=1e-6)

    # What has begun to fit needs no reading any more, not even where what was read is gone.
    other._compiled.mlm_run.forget()
    assert tiny_training(tiny_checkpoint, reviews, tmp_path, **options).fit_model() == history
    assert len(losses) == steps


def test_an_encoder_with_another_graph_is_refused(tiny_checkpoint, reviews, tmp_path, monkeypatch):
    monkeypatch.setattr(bert_classifier, "_LOGIT_TOLERANCE", -1.0)
    training = tiny_training(tiny_checkpoint, reviews, tmp_path, mlm_epochs=1)
    with pytest.raises(ConfigError, match="mlm_epochs: expected 0 for this encoder"):
        training.compile()
