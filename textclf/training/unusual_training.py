"""Fits the statistics that mark unusual texts (textclf.runtime.unusual) to the training texts of a version.

Limits are the largest usual mean surprise at several lengths. Each of five folds of the training texts is judged by
the counts of the other four, as a new text would be. At each length a limit has at most 1.5% of these texts above it:
of whole texts of about this length, and of passages of it that are cut out of all texts. With passages, a version that
was trained on long reviews can judge a short sentence.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from textclf.runtime.unusual import (
    BUCKETS,
    GRAM,
    MAX_LENGTH,
    MIN_SEQUENCES,
    STEPS_PER_UNIT,
    UnusualTexts,
    buckets_of,
    has_letters,
    normalised,
)
from textclf.tokenization.text_tokenizer import TextTokenizer
from textclf.unusual_reasons import REASONS

# With fewer texts the limits are uncertain.
MIN_TEXTS = 100
# Share of usual texts above a limit.
MAX_SHARE = 0.015
# A larger share of training texts without letters makes such texts usual.
_MAX_WORDLESS = 0.005
_LENGTHS = np.array([8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 512, 1024, 2048, MAX_LENGTH], np.int64)
_FOLDS = 5
# Added to the count of each bucket, so that a new sequence is not infinitely surprising.
_SMOOTHING = 0.1
# Training texts that passages are cut out of, and passages of each length that are wanted.
_CALIBRATION_TEXTS = 2500
_PASSAGES = 4000
_MIN_PASSAGES = 200
_MIN_WHOLE = 300
# Whole texts whose length differs by up to this factor.
_NEAR = 1.5
_FREQUENT_TEXTS = 2000
_COUNTED_TEXTS = 5000
_BYTES_PER_COUNT = 2**22
_LETTERS = np.array([byte >= 128 or bytes([byte]).isalpha() for byte in range(256)])
_SPACE = 0x20


def fit_unusual(texts: Sequence[str], tokenizer: TextTokenizer, seed: int = 0) -> UnusualTexts:
    """Statistics of the training texts; with fewer than MIN_TEXTS only texts without letters can be marked.

    Args:
        texts: training texts, at least one.
        tokenizer: tokenizer of the version.
        seed: random seed of folds and passages.
    """
    rng = np.random.default_rng(seed)
    data = [normalised(text) for text in texts if has_letters(text)]
    marks_wordless = len(texts) - len(data) <= _MAX_WORDLESS * len(texts)
    frequent = _frequent_wordpieces([texts[row] for row in rng.permutation(len(texts))[:_FREQUENT_TEXTS]], tokenizer)
    nothing = UnusualTexts(
        np.zeros(0, np.uint8), np.zeros(0, np.int64), np.zeros(0, np.float32), frequent, marks_wordless
    )
    if len(data) < MIN_TEXTS:
        return nothing
    folds = rng.permutation(len(data)) % _FOLDS
    counts = np.array([_counts(data, np.flatnonzero(folds == fold)) for fold in range(_FOLDS)])
    total = counts.sum(axis=0)
    tables = [_surprises(total - of_fold) for of_fold in counts]
    drawn = rng.permutation(len(data))[:_CALIBRATION_TEXTS]
    lengths, limits = _limits([data[row] for row in drawn], [tables[folds[row]] for row in drawn], rng)
    if not len(lengths):
        return nothing
    return UnusualTexts(_surprises(total), lengths, limits, frequent, marks_wordless)


def unusual_counts(unusual: UnusualTexts, tokenizer: TextTokenizer, texts: Sequence[str]) -> dict[str, Any]:
    """Manifest.unusual: how many of up to 5,000 held-out texts are unusual, by reason."""
    texts = texts[:_COUNTED_TEXTS]
    found = Counter(
        unusual.reason(text, tokenized.wordpieces) for text, tokenized in zip(texts, tokenizer(texts), strict=True)
    )
    flagged = {reason: found[reason] for reason in REASONS}
    return {"judges_words": len(unusual.lengths) > 0, "texts": len(texts), "flagged": flagged}


def _frequent_wordpieces(texts: Sequence[str], tokenizer: TextTokenizer) -> NDArray[np.int32]:
    """The most frequent wordpieces with letters, which together are half of all with letters in the texts."""
    is_letters = np.array([any(map(str.isalpha, piece)) and piece[0] != "[" for piece in tokenizer.spellings()])
    found = np.concatenate([np.zeros(0, np.int64), *(text.wordpieces for text in tokenizer(texts))]).astype(np.int64)
    counts = np.bincount(found, minlength=len(is_letters)) * is_letters
    order = np.argsort(-counts, kind="stable")
    needed = np.searchsorted(np.cumsum(counts[order]), counts.sum() / 2) + 1
    return np.sort(order[:needed]).astype(np.int32) if counts.any() else np.zeros(0, np.int32)


def _counts(data: Sequence[bytes], rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """How often each bucket occurs in these texts, int64 [BUCKETS]."""
    counts = np.zeros(BUCKETS, np.int64)
    waiting: list[NDArray[np.int64]] = []
    size = 0
    for row in rows.tolist():
        waiting.append(buckets_of(data[row]))
        size += len(waiting[-1])
        if size > _BYTES_PER_COUNT:
            counts += np.bincount(np.concatenate(waiting), minlength=BUCKETS)
            waiting, size = [], 0
    if waiting:
        counts += np.bincount(np.concatenate(waiting), minlength=BUCKETS)
    return counts


def _surprises(counts: NDArray[np.int64]) -> NDArray[np.uint8]:
    smoothed = counts + _SMOOTHING
    surprises = np.rint(-STEPS_PER_UNIT * np.log(smoothed / smoothed.sum()))
    return np.asarray(surprises.clip(0, 255), np.uint8)


def _limits(
    data: Sequence[bytes], tables: Sequence[NDArray[np.uint8]], rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The lengths that have a limit, and the limits, which never rise with the length.

    Args:
        data: normalised texts.
        tables: for each text, surprises that it was not counted in.
        rng: chooses the passages.
    """
    passages: list[list[float]] = [[] for _ in _LENGTHS]
    whole_lengths, whole_means = [], []
    per_text = max(1, _PASSAGES // len(data))
    for text, table in zip(data, tables, strict=True):
        surprises = table.take(buckets_of(text)).astype(np.int64)
        if len(surprises) < MIN_SEQUENCES:
            continue
        whole_lengths.append(len(text))
        whole_means.append(float(surprises.mean()))
        for row, mean in _passage_means(text, surprises, per_text, rng):
            passages[row].append(mean)
    lengths, means = np.array(whole_lengths), np.array(whole_means)
    kept, limits = [], []
    for length, found in zip(_LENGTHS.tolist(), passages, strict=True):
        near = means[(lengths >= length / _NEAR) & (lengths <= length * _NEAR)]
        samples = [sample for sample, enough in ((found, _MIN_PASSAGES), (near, _MIN_WHOLE)) if len(sample) >= enough]
        if samples:
            kept.append(length)
            limits.append(max(np.quantile(sample, 1 - MAX_SHARE) for sample in samples))
    falling = np.maximum.accumulate(np.array(limits, np.float32)[::-1])[::-1]
    return np.array(kept, np.int64), falling


def _passage_means(
    text: bytes, surprises: NDArray[np.int64], count: int, rng: np.random.Generator
) -> Iterator[tuple[int, float]]:
    """Row in _LENGTHS and mean surprise of passages of whole words; up to `count` for each length.

    In a script without spaces a passage ends within a word.
    """
    codes = np.frombuffer(text, np.uint8)
    spaces = np.flatnonzero(codes == _SPACE)
    sums = np.concatenate([[0], np.cumsum(surprises)])
    letters = np.concatenate([[0], np.cumsum(_LETTERS[codes])])
    for row, length in enumerate(_LENGTHS.tolist()):
        starts = int(np.searchsorted(spaces, len(text) - length, side="right"))
        if not starts:
            return
        first = spaces[rng.integers(0, starts, count)]
        last = spaces[np.minimum(np.searchsorted(spaces, first + length - 1), len(spaces) - 1)]
        for start, end in zip(first.tolist(), last.tolist(), strict=True):
            end = 1 + (end if end - start < _NEAR * length else start + length - 1)
            grams = end - start - GRAM + 1
            if grams >= MIN_SEQUENCES and letters[end] > letters[start]:
                yield row, float(sums[start + grams] - sums[start]) / grams
