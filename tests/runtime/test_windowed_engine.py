"""Long texts in several windows with a tiny engine: the mean of the windows, in any batch, and what it costs."""

import numpy as np
import pytest
from tiny_engine import write_version

from textclf.runtime.backend import EncodedBatch, Timings
from textclf.runtime.feature_extraction import features_of, wordpieces_of
from textclf.runtime.loading import load_predictor
from textclf.tokenization.windows import window_starts

MAX_LENGTH, WINDOWS = 32, 3
CAPACITY = MAX_LENGTH - 2
LENGTHS = (1, CAPACITY, CAPACITY + 1, 2 * CAPACITY, 3 * CAPACITY, 10 * CAPACITY)
# Between float32 sums in batches of other sizes.
TOLERANCE = 1e-4
WORDS = ("good", "film", "bad", "the", "was", "boring", "a", "lovely", "plot")


def text_of(length):
    return " ".join(np.random.default_rng(length).choice(WORDS, length))


TEXTS = [text_of(length) for length in LENGTHS]


@pytest.fixture(scope="module")
def load(tmp_path_factory):
    folder = tmp_path_factory.mktemp("windows")
    paths = {
        (windows, cascade): write_version(
            folder / f"{windows}{cascade}", windows=windows, max_length=MAX_LENGTH, cascade=cascade
        )
        for windows, cascade in ((1, False), (WINDOWS, False), (WINDOWS, True))
    }

    def load(windows=WINDOWS, cascade=False, **more):
        return load_predictor(paths[windows, cascade], **more)

    return load


def logits_by_hand(predictor, text):
    """Mean of the logits of each window, computed one by one."""
    tokenizer = predictor.backend.tokenizer
    (pieces,) = (found.wordpieces for found in tokenizer([text]))
    windows = [
        [tokenizer.start_id, *pieces[start : start + CAPACITY], tokenizer.end_id]
        for start in window_starts(len(pieces), CAPACITY, WINDOWS)
    ]
    return np.mean([predictor.backend.run([window], Timings()).logits[0] for window in windows], axis=0)


def test_logits_are_means_over_the_windows_in_any_batch(load):
    predictor = load(tokens_per_batch=3 * MAX_LENGTH)
    expected = np.array([logits_by_hand(predictor, text) for text in TEXTS])
    found = predictor.predict_batch(TEXTS).outputs.logits
    np.testing.assert_allclose(found, expected, atol=TOLERANCE)
    alone = np.concatenate([predictor.predict_batch([text]).outputs.logits for text in TEXTS])
    np.testing.assert_allclose(alone, expected, atol=TOLERANCE)
    order = [4, 0, 5, 2, 1, 3]
    mixed = predictor.predict_batch([TEXTS[i] for i in order]).outputs.logits
    np.testing.assert_allclose(mixed, expected[order], atol=TOLERANCE)
    assert np.abs(expected[-1] - logits_by_hand(predictor, TEXTS[1])).max() > 10 * TOLERANCE


def test_texts_of_one_window_have_the_results_of_one_window(load):
    one, several = load(windows=1), load()
    short = TEXTS[:2]
    before, after = (predictor.predict_batch(short).outputs for predictor in (one, several))
    np.testing.assert_array_equal(before.logits, after.logits)
    np.testing.assert_array_equal(before.embeddings, after.embeddings)
    assert several.encode(short).windows is None
    assert one.encode(TEXTS).windows is None


def test_costs_and_truncation_count_all_windows(load):
    predictor = load()
    read = predictor.read(TEXTS)
    assert read.encoder_tokens.tolist() == [8, 32, 64, 64, 96, 96]
    assert read.encoded.token_counts.tolist() == [length + 2 for length in LENGTHS]
    assert [found.truncated for found in predictor.predict(TEXTS)] == [False] * 5 + [True]
    batches = []
    predictor.tokens_per_batch = MAX_LENGTH
    predictor.score(read, on_batch=batches.append)
    # A deadline can end a long text between two of its windows. There is no call after the last batch, the shortest.
    assert batches == [MAX_LENGTH] * 11


def test_windows_are_counted_without_making_them(load, monkeypatch):
    tokenizer = load().backend.tokenizer
    expected = [len(tokenizer.windows(text.ids)) for text in tokenizer(TEXTS)]
    monkeypatch.setattr(tokenizer, "windows", None)
    assert load().encode(TEXTS).windows.tolist() == expected == [1, 1, 2, 2, 3, 3]


def test_parts_of_a_batch_keep_their_windows(load):
    predictor = load()
    encoded = predictor.encode(TEXTS)
    whole = predictor.run(encoded).logits
    rows = np.array([5, 0, 3])
    np.testing.assert_allclose(predictor.run(encoded.take(rows)).logits, whole[rows], atol=TOLERANCE)
    joined = EncodedBatch.joined([predictor.encode(TEXTS[:2]), predictor.encode(TEXTS[2:])])
    assert joined.windows.tolist() == [1, 1, 2, 2, 3, 3]
    np.testing.assert_allclose(predictor.run(joined).logits, whole, atol=TOLERANCE)


def test_exits_of_a_cascade_need_no_window(load):
    predictor = load(cascade=True)
    texts = ["the film was dull and boring", *TEXTS, "dull and boring " * 40]
    batch = predictor.predict_batch(texts)
    assert batch.stages.exits[[0, -1]].all()
    assert np.isnan(batch.stages.encoder_logits[-1]).all()
    both = predictor.predict_batch(texts, both_stages=True)
    np.testing.assert_allclose(batch.outputs.logits, both.outputs.logits, atol=TOLERANCE)
    np.testing.assert_allclose(both.stages.encoder_logits[6], logits_by_hand(predictor, TEXTS[5]), atol=TOLERANCE)


def test_features_count_each_wordpiece_that_is_read_once(load):
    predictor = load()
    features = features_of(predictor.predict_batch(TEXTS), wordpieces_of(predictor), None)
    read = [min(length, WINDOWS * CAPACITY) for length in LENGTHS]
    words = features.words
    assert [int(words.counts[a:b].sum()) for a, b in zip(words.offsets, words.offsets[1:], strict=False)] == read
