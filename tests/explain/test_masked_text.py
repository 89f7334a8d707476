"""Texts without some of their words: both stages read them as predict() reads the shortened text."""

import numpy as np
import pytest
from tiny_bert import vocabulary
from tiny_engine import CASCADE, write_version

from inference import Inference
from textclf.errors import ModelStoreError
from textclf.explain.masked_text import ATTENTION, DELETION, MASK, MaskedText, ReadPieces, in_unit
from textclf.explain.word_spans import text_words
from textclf.runtime.backend import ModelOutputs
from textclf.tokenization.tokenizer import Tokenizer

TEXT = "the film was good, but the plot was dull"
# Only the encoder's texts are explained with masks, so every text is sent there.
NEVER_EXITS = CASCADE.__class__(**{**CASCADE.to_dict(), "exit_confidence": 1.0})
STORES = {
    "two": {},
    "cascade": {"cascade": NEVER_EXITS},
    "three-cascade": {"class_names": ("bad", "fair", "good"), "cascade": NEVER_EXITS},
    "windows": {"windows": 3},
    "head+tail": {"truncation": "head+tail", "cascade": NEVER_EXITS},
}


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stores")
    for name, changes in STORES.items():
        write_version(folder / name, **changes)
    return {name: Inference(folder / name) for name in STORES}


def function_of(model, text, baseline=DELETION):
    """The function of a text in logits, and its words that the encoder reads."""
    predictor = model.predictor
    tokenizer = predictor.backend.tokenizer
    words = text_words(text, tokenizer)
    logits = predictor.predict_batch([text]).outputs.logits[0].astype(np.float64) / predictor.temperature
    read = ReadPieces.of(words, tokenizer)
    return MaskedText(predictor, tokenizer, words, read, logits, baseline, "logit", 256, lambda: None), read


def probabilities(function, masks):
    return in_unit(function.read_logits(np.atleast_2d(masks)), "probability")


def predicted(model, text):
    return list(model.predict(text).probabilities.values())


@pytest.mark.parametrize("name", STORES)
@pytest.mark.parametrize("text", [TEXT, "dull", "the film was dull and very good " * 20])
def test_the_encoder_reads_all_words_as_they_are_served(models, name, text):
    function, read = function_of(models[name], text)
    whole = np.ones(len(read.words), np.bool_)
    assert probabilities(function, whole)[0] == pytest.approx(predicted(models[name], text), abs=1e-4)


@pytest.mark.parametrize("name", ["two", "windows"])
def test_a_deleted_word_is_not_read(models, name):
    function, _ = function_of(models[name], TEXT)
    words = [*TEXT.replace(",", " ,").split()]
    masks = np.random.default_rng(0).random((12, len(words))) < 0.6
    for mask, found in zip(masks, probabilities(function, masks), strict=True):
        shortened = " ".join(word for word, is_present in zip(words, mask, strict=True) if is_present)
        assert found == pytest.approx(predicted(models[name], shortened), abs=1e-4)


@pytest.mark.parametrize("name", ["cascade", "three-cascade"])
def test_words_at_an_end_are_deleted_for_both_stages(models, name):
    """Within a text, deletion makes new bigrams for predict(), but not for the linear stage of an explanation."""
    function, _ = function_of(models[name], TEXT)
    words = [*TEXT.replace(",", " ,").split()]
    for start, end in ((0, 4), (3, len(words)), (5, 6)):
        mask = np.zeros(len(words), np.bool_)
        mask[start:end] = True
        found = probabilities(function, mask)[0]
        assert found == pytest.approx(predicted(models[name], " ".join(words[start:end])), abs=1e-4)


def test_words_in_the_gap_stay_for_the_linear_stage(models):
    """The encoder does not read the gap; the features of its words count whatever the mask."""
    model = models["head+tail"]
    text = f"good film {'was very lovely ' * 30}bad plot"
    function, read = function_of(model, text)
    nothing = np.zeros((1, len(read.words)), np.bool_)
    gap = text.split()[read.positions[read.positions < 30][-1] + 1 : -int((read.positions >= 30).sum())]
    linear = model.predictor.cascade.linear
    wordpieces = text_words(" ".join(gap), model.predictor.backend.tokenizer).wordpieces.tolist()
    assert function._linear(nothing)[0] == pytest.approx(linear([wordpieces])[0], abs=1e-3)


def test_a_masked_word_is_another_piece(models):
    model = models["two"]
    tokenizer = model.predictor.backend.tokenizer
    mask = np.array([True, False, True, True])
    text = "the film was good"
    masked, _ = function_of(model, text, MASK)
    ids = tokenizer(["the film was good"])[0].wordpieces
    row = [tokenizer.start_id, ids[0], tokenizer.mask_id, ids[2], ids[3], tokenizer.end_id]
    assert masked._row(mask, masked._windows[0]).tolist() == row
    hidden, _ = function_of(model, text, ATTENTION)
    row[2] = tokenizer.padding_id
    assert hidden._row(mask, hidden._windows[0]).tolist() == row


def test_a_hidden_word_does_not_count(models):
    """Two texts that differ only in the hidden word get equal logits; behind [MASK] the positions stay, too."""
    mask = np.array([True, True, True, False])
    for baseline in (ATTENTION, MASK):
        found = [
            function_of(models["two"], f"the film was {word}", baseline)[0].read_logits(mask[None])
            for word in ("good", "bad")
        ]
        assert found[0] == pytest.approx(found[1], abs=1e-6)


def test_a_vocabulary_without_a_mask_piece():
    entries = vocabulary()
    assert entries[Tokenizer(entries, True, 32).mask_id] == "[MASK]"
    entries[entries.index("[MASK]")] = "[unused1000]"
    tokenizer = Tokenizer(entries, True, 32)
    assert tokenizer.mask_id == tokenizer.unknown_id


def test_logits_that_are_not_finite_are_refused(models, monkeypatch):
    function, read = function_of(models["two"], TEXT)
    backend = models["two"].predictor.backend

    def run(inputs, timings):
        return ModelOutputs(np.full((len(inputs), 2), np.nan, np.float32), None)

    monkeypatch.setattr(backend, "run", run)
    with pytest.raises(ModelStoreError, match="gave logits that are not finite numbers"):
        function(np.zeros((1, len(read.words)), np.bool_))


def test_time_leaves_masks_without_values(models):
    """The text without words, and the whole text, always get values."""
    function, read = function_of(models["two"], TEXT)
    function._is_over = lambda: True
    players = len(read.words)
    masks = np.stack([np.zeros(players, np.bool_), np.ones(players, np.bool_), np.arange(players) > 2])
    found = function(masks)
    assert np.isfinite(found[:2]).all()
    assert np.isnan(found[2]).all()
