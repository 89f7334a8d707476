"""Words with their characters: the wordpieces are those of the tokenizer for any text."""

import time

import numpy as np
import pytest
from tiny_bert import vocabulary

from textclf.explain.word_spans import text_words
from textclf.tokenization.tokenizer import Tokenizer

# Characters whose normal form is longer, shorter, or depends on their neighbours.
ODD = "\u2026\u00bd\u33c2\ufdfa\u200b\ufe0f\u2764\U0001f600\u302e\U0001d165\u2019\u02bc\u4e2d\u3099\uac00\u1100\u1161"
LETTERS = "".join(map(chr, [*range(0x20, 0x7F), *range(0xA0, 0x180), *range(0x300, 0x340)]))


@pytest.fixture(scope="module", params=[True, False], ids=["uncased", "cased"])
def tokenizer(request):
    return Tokenizer(vocabulary(), lower_case=request.param, max_length=32)


def shown(text, tokenizer):
    return [text[start:end] for start, end in text_words(text, tokenizer).spans]


def check(text, tokenizer):
    words = text_words(text, tokenizer)
    assert words.wordpieces.tolist() == tokenizer([text])[0].wordpieces, repr(text)
    ends = [0, *(end for _, end in words.spans)]
    assert all(last <= start < end for last, (start, end) in zip(ends, words.spans, strict=False)), repr(text)
    assert len(words.starts) == len(words) + 1
    assert (words.starts[1:] > words.starts[:-1]).all()


def random_text(rng):
    length = rng.integers(0, 30)
    if rng.random() < 0.6:
        return "".join(rng.choice([*(LETTERS + 3 * ODD)], length))
    return "".join(chr(point) for point in rng.integers(0, 0x30000, length) if not 0xD800 <= point < 0xE000)


def test_wordpieces_are_those_of_the_tokenizer(tokenizer):
    rng = np.random.default_rng(0)
    for _ in range(1000):
        check(random_text(rng), tokenizer)


@pytest.mark.parametrize(
    "text", ["", " ", "\u0301", "'", "a'", "''a''", "a'b'c", "\u00bd\u00bd", "a\u33c2b", "x" * 300]
)
def test_odd_texts(text, tokenizer):
    check(text, tokenizer)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Don't stop.", ["Don't", "stop", "."]),
        ("rock'n'roll isn\u2019t", ["rock'n'roll", "isn\u2019t"]),
        ("the '80s' and 'so'", ["the", "'", "80s", "'", "and", "'", "so", "'"]),
        ("wait... what", ["wait", ".", ".", ".", "what"]),
    ],
)
def test_contractions_are_words(text, words, tokenizer):
    assert shown(text, tokenizer) == words


def test_characters_that_normalise_together_belong_together():
    tokenizer = Tokenizer(vocabulary(), lower_case=True, max_length=32)
    assert shown("e\u0301te \u2764\ufe0f\u200b good\u2026 \u00bd a\u33c2b", tokenizer) == [
        "e\u0301te",
        "\u2764\ufe0f\u200b",
        "good",
        "\u2026",
        "\u00bd",
        "a\u33c2",
        "b",
    ]


@pytest.mark.parametrize("text", ["a", "\u0301", "\u00e9", "\U0001f600 ", "'", "a'"])
def test_time_is_linear(text, tokenizer):
    def seconds(count):
        start = time.thread_time()
        text_words(text * count, tokenizer)
        return time.thread_time() - start

    seconds(1000)
    assert seconds(100_000) < 30 * max(min(seconds(10_000) for _ in range(3)), 0.005)
