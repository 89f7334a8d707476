"""Unusual texts: sequences of bytes, each reason, files, and predictions alone and in batches."""

import time

import numpy as np
import pytest
from tiny_engine import tiny_reviews, tiny_unusual, wordpieces_of_texts, write_version

from textclf.errors import ModelStoreError
from textclf.runtime import predictor as predictor_module
from textclf.runtime.backend import Timings
from textclf.runtime.loading import load_predictor
from textclf.runtime.prediction import in_words
from textclf.runtime.unusual import BUCKETS, GRAM, MAX_CHARS, UNUSUAL_FILE, UnusualTexts, buckets_of, normalised
from textclf.unusual_reasons import FAR_FROM_TRAINING, NO_WORDS, UNKNOWN_WORDS

USUAL = "the film was dull and boring"
REASONS = {
    USUAL: None,
    "great": None,  # Too short to judge its words.
    "12345 67890": NO_WORDS,
    "?!": NO_WORDS,
    "": NO_WORDS,
    "der film war langweilig und viel zu lang": UNKNOWN_WORDS,
    "qwzx vbnkj plmok": UNKNOWN_WORDS,
    "这部电影很长": UNKNOWN_WORDS,
    "the the qzwx the was the jjvk the the xxqp the": FAR_FROM_TRAINING,
}


def reasons_of(unusual, texts):
    return [unusual.reason(text, ids) for text, ids in zip(texts, wordpieces_of_texts(texts), strict=True)]


def by_hand(limit, marks_wordless=True):
    """Statistics with surprise 5.0 for the sequences of " good film " and 20.0 for all others."""
    surprises = np.full(BUCKETS, 200, np.uint8)
    surprises[buckets_of(b" good film ")] = 50
    lengths, limits = np.array([8, 16], np.int64), np.array([limit, limit], np.float32)
    return UnusualTexts(surprises, lengths, limits, np.array([7], np.int32), marks_wordless)


@pytest.mark.parametrize("data", [b"", b"abcd", b"abcde", b" abcabcabcabcabc ", " caf\u00e9 caf\u00e9 ".encode()])
def test_equal_sequences_and_only_they_have_equal_buckets(data):
    sequences = [data[start : start + GRAM] for start in range(max(0, len(data) - GRAM + 1))]
    found = buckets_of(data).tolist()
    assert len(found) == len(sequences)
    assert all(0 <= bucket < BUCKETS for bucket in found)
    assert len(set(zip(sequences, found, strict=True))) == len(set(sequences)) == len(set(found))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A Fine\tFILM\r\n", " a fine film "),
        ("  two   spaces ", " two spaces "),
        ("CAFE\u0301 \u00c9T\u00c9", " caf\u00e9 \u00e9t\u00e9 "),
        ("", "  "),
    ],
)
def test_case_white_space_and_composition_make_no_difference(text, expected):
    assert normalised(text) == expected.encode()


def test_only_the_beginning_of_a_huge_text_is_read():
    assert len(normalised("x" * (MAX_CHARS + 5))) == MAX_CHARS + 2


def test_the_mean_surprise_is_compared_with_the_limit():
    """` good film ` has 7 sequences of 5.0; ` good fill ` shares its first 5, so its mean is (5 x 5 + 2 x 20) / 7."""
    mean = 10 * (5 * 5 + 2 * 20) / 7
    assert by_hand(mean + 0.1).reason("Good fill", [1]) is None
    assert by_hand(mean - 0.1).reason("Good fill", [1]) == UNKNOWN_WORDS
    assert by_hand(mean - 0.1).reason("Good film", [1]) is None


@pytest.mark.parametrize(
    ("wordpieces", "reason"), [([7, 1, 1, 1, 1], FAR_FROM_TRAINING), ([7, 1, 1, 1, 1, 1], UNKNOWN_WORDS)]
)
def test_frequent_wordpieces_tell_other_words_from_other_texts(wordpieces, reason):
    assert by_hand(60).reason("something else", wordpieces) == reason


def test_texts_without_letters_where_they_are_usual():
    assert by_hand(60).reason("1234 5678", [1]) == NO_WORDS
    assert by_hand(250, marks_wordless=False).reason("1234 5678", [1]) is None


@pytest.mark.parametrize(("text", "reason"), REASONS.items())
def test_each_reason(text, reason):
    assert reasons_of(tiny_unusual(), [text]) == [reason]


def test_a_file_keeps_the_statistics(tmp_path):
    unusual = tiny_unusual()
    unusual.save(tmp_path)
    first = (tmp_path / UNUSUAL_FILE).read_bytes()
    loaded = UnusualTexts.load(tmp_path)
    texts = [*REASONS, *(text for text, _ in tiny_reviews(50, seed=3))]
    assert reasons_of(loaded, texts) == reasons_of(unusual, texts)
    loaded.save(tmp_path)
    assert (tmp_path / UNUSUAL_FILE).read_bytes() == first
    assert UnusualTexts.load(tmp_path / "elsewhere") is None


@pytest.mark.parametrize(
    "damage", [b"", b"PK", "cut", {"format": 2}, {"limits": np.zeros(3, np.float32)}, {"lengths": 1}]
)
def test_a_damaged_file_is_refused(tmp_path, damage):
    path = tmp_path / UNUSUAL_FILE
    tiny_unusual().save(tmp_path)
    if isinstance(damage, dict):
        np.savez_compressed(path, **{**np.load(path), **damage})
    else:
        path.write_bytes(path.read_bytes()[:1000] if damage == "cut" else damage)
    with pytest.raises(ModelStoreError, match="expected the statistics of usual texts"):
        UnusualTexts.load(tmp_path)


@pytest.mark.parametrize("cascade", [False, True])
def test_predictions_of_a_version(tmp_path, cascade, monkeypatch):
    version = write_version(tmp_path / "model", cascade=cascade, unusual=True)
    predictor = load_predictor(version)
    batch = predictor.predict(list(REASONS))
    assert [prediction.unusual_reason for prediction in batch] == list(REASONS.values())
    assert [prediction.unusual for prediction in batch] == [reason is not None for reason in REASONS.values()]
    singles = [predictor.predict([text])[0].unusual_reason for text in REASONS]
    assert singles == list(REASONS.values())
    # Long lists are read in groups.
    monkeypatch.setattr(predictor_module, "groups_by_size", lambda texts: [slice(0, 3), slice(3, len(texts))])
    assert [prediction.unusual_reason for prediction in predictor.predict(list(REASONS))] == list(REASONS.values())
    assert in_words(batch[2]).endswith("; unusual: the text has no letters)")
    assert "unusual" not in in_words(batch[0])


def test_the_time_of_the_mark_counts_as_tokenising(tmp_path, monkeypatch):
    predictor, timings = load_predictor(write_version(tmp_path / "model", unusual=True)), Timings()
    monkeypatch.setattr(predictor.unusual, "reason", lambda *_: time.sleep(0.1))
    predictor.read([USUAL] * 3, timings)
    assert timings.tokenise > 0.3


def test_versions_of_earlier_software_mark_no_text(tmp_path):
    predictor = load_predictor(write_version(tmp_path / "model"))
    assert predictor.unusual is None
    assert [prediction.unusual for prediction in predictor.predict(list(REASONS))] == [False] * len(REASONS)


def test_the_time_is_linear_in_runs_of_combining_marks():
    """To sort a run takes unicodedata quadratic time: eight times the marks would take 64 times as long."""

    def seconds(count):
        text, times = "a" + "\u0300" * count + "\u0327" * count, []
        for _ in range(3):
            start = time.perf_counter()
            normalised(text)
            times.append(time.perf_counter() - start)
        return min(times)

    assert seconds(16_000) < 25 * seconds(2000)


@pytest.mark.parametrize("offset", range(4))
def test_slices_of_a_long_text_are_composed(offset):
    start = "x" * offset
    expected = f" {start}" + "\u1eb9\u0301 " * 1000
    assert normalised(start + "e\u0323\u0301 " * 1000) == expected.encode()
