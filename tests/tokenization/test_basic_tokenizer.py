"""Words of a text: what parts them, what is folded, and how long it takes."""

import itertools
import sys
import time
import tracemalloc
import unicodedata

import pytest

from bench.serving.unicode_texts import generated_texts
from textclf.errors import InputError
from textclf.tokenization import tensorflow_text
from textclf.tokenization.basic_tokenizer import MAX_EXPANSION, SLICE_CHARS, exceeds, word_slices, words
from textclf.tokenization.hugging_face import HuggingFace
from textclf.tokenization.tensorflow_text import CASED, UNCASED

RULES = (UNCASED, CASED)
ALL_RULES = (*RULES, HuggingFace(True), HuggingFace(False))


@pytest.mark.parametrize("rules", RULES)
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ""),
        (" \t\n\r\x00\x1f\x7f\x85", ""),
        ("the film, not bad!", "the film , not bad !"),
        ("don't_a#b 1+1=2 [cls] ##s", "don ' t _ a # b 1 + 1 = 2 [ cls ] # # s"),
        ("a\x00b\x0bc\x1cd\x7fe\x85f\u0600g", "a b c d e f g"),
        ("“a”—b ¿d? 。e", "“ a ” — b ¿ d ? 。 e"),
        ("a电影b 㐀\U00020000", "a 电 影 b 㐀 \U00020000"),
        ("映画を見た ไทย", "映 画 を 見 た ไทย"),
        ("a\U00011b00b \U00011f43 \U00013439c", "a \U00011b00 b \U00011f43 c"),
        ("a€b©c°d😀e", "a€b©c°d😀e"),
        ("a\u2028b\u2029c", "a\u2028b\u2029c"),
        ("\ue000 \ufffe \U0010ffff \u0378 \ufffd", "\ue000 \ufffe \U0010ffff \u0378 \ufffd"),
    ],
)
def test_what_parts_words(text, expected, rules):
    assert words(text, rules) == [word for word in expected.split(" ") if word]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The FILM", ["the", "film"]),
        ("Straße ẞ ſ ﬅ", ["strasse", "ss", "s", "st"]),
        ("İstanbul ı", ["istanbul", "ı"]),
        ("ΣΊΣΥΦΟΣ Σίσυφος", ["σισυφοσ", "σισυφοσ"]),
        ("ǅ ǆ ŉ", ["dz", "dz", "ʼn"]),
        ("Ꭰ ꭰ", ["Ꭰ", "Ꭰ"]),
        ("Café e\u0301 ệ a\u20dd", ["cafe", "e", "e", "a\u20dd"]),
        ("ﬁlm ½ ② № Ⅷ ＡＢ ㎏ 𝐀 🅰", ["film", "1⁄2", "2", "no", "viii", "ab", "kg", "a", "🅰"]),
        ("ᾳ α\u0345 ͺa", ["αι", "αι", "ιa"]),
        ("a\u200bb c\u00add \ufeffe f\ufe0f \u034f \u115f \U000e0041", ["ab", "cd", "e", "f"]),
        ("a\u00a0b a\u3000b", ["a", "b", "a", "b"]),
        ("각 \u1100\u1161\u11a8", ["\u1100\u1161\u11a8"] * 2),
        ("\uff76\uff9e \u304c \uf900 …", ["\u30ab", "\u304b", "\u8c48", ".", ".", "."]),
        ("\u302e\U0001d165 \U0001d165\u302e \u0897\u302e", ["\U0001d165\u302e"] * 2 + ["\u302e\u0897"]),
        ("\u0345\u302e", ["ι\u302e"]),
        (
            "\u1c89 \U0001ccd6\U0001ccf0 \U0001e030 \U000105c9 \U00010d50",
            ["\u1c8a", "a0", "а", "\U000105d2", "\U00010d70"],
        ),
        ("a\u0301\u0ecea\U0001e4ec", ["aa"]),
    ],
)
def test_what_is_folded(text, expected):
    assert words(text, UNCASED) == expected


def test_cased_words_stay_as_they_are():
    text = "Café e\u0301 ﬁlm İ ß a\u00a0b 각 ½"
    assert words(text, CASED) == text.split(" ")
    assert words("a\u200bb c\u00add", CASED) == ["a", "b", "c", "d"]


@pytest.mark.parametrize("rules", ALL_RULES)
@pytest.mark.parametrize("text", ["\ud83d", "a film \udfff!", "é\ud800\udc00"])
def test_half_of_a_surrogate_pair_is_refused(text, rules):
    with pytest.raises(InputError, match=r"half of a surrogate pair in it \(U\+D[8F][0-9A-F]{2}\); send valid Unicode"):
        words(text, rules)


@pytest.mark.parametrize("rules", ALL_RULES)
@pytest.mark.parametrize(
    "unit",
    [
        "a",
        "a ",
        "!",
        "é",
        "电",
        "\u0301",
        "\u0323\u0301",
        "\u0301\u0323",
        "\u302e\U0001d165",
        "\u0897\u302e",
        "각",
        "\x00",
    ],
)
def test_long_texts_take_time_in_proportion(unit, rules):
    """100,000 characters in less than 100 ms of this thread's time: a quadratic step would take seconds."""

    def seconds() -> float:
        start = time.thread_time()
        words(text, rules)
        return time.thread_time() - start

    text = unit * (100_000 // len(unit))
    assert min(seconds() for _ in range(3)) < 0.1


def test_memory_does_not_grow_with_what_was_seen():
    for rules in (UNCASED, CASED):
        words("".join(map(chr, range(0x20000, 0x25000))), rules)
    for cache in (tensorflow_text._folded, tensorflow_text._unaccented, tensorflow_text._apart):
        assert cache.cache_info().currsize == cache.cache_info().maxsize == 2**14


# Slices

_MARKS = "\u0301\u0323\u302e\U0001d165\u0345\u200d\u00ad\ufe0f\u3099\u0897"
_UNITS = [*_MARKS, "a", "é", "각", "电", ".", " ", "\n", "\ufdfa", "\uff76", "\u33a8", "”"]


def in_slices(text, rules, size):
    return [word for found, _ in word_slices(text, rules, 100, size) for word in found]


@pytest.mark.parametrize("rules", ALL_RULES)
@pytest.mark.parametrize("size", [1, 2, 5])
def test_slices_give_the_words_of_the_whole_text(size, rules):
    """Every order of three characters that could interact at a cut, and texts that are hard for tokenizers."""
    triples = map("".join, itertools.product(_UNITS, repeat=3))
    for text in (*triples, *generated_texts(300, distinct_characters=300)):
        found = [word[:100] for word in in_slices(text, rules, size)]
        expected = [word[:100] for word in words(text, rules)]
        assert found == expected, ascii(text)


def test_a_word_across_slices_keeps_its_start_only():
    (word,) = in_slices("é" * 50_000, UNCASED, SLICE_CHARS)
    assert 100 < len(word) < 50_000 + 1
    assert set(word) == {"e"}
    assert in_slices("x" * 100 + " y", UNCASED, 7) == ["x" * 100, "y"]


def test_memory_is_that_of_a_slice():
    """30,000 characters that become 540,000 in 90,000 words, which would take 8 MB."""
    text = "\ufdfa" * 30_000
    words("\ufdfa", UNCASED)
    tracemalloc.start()
    try:
        assert sum(len(found) for found, _ in word_slices(text, UNCASED, 100)) > 80_000
        assert tracemalloc.get_traced_memory()[1] < 4_000_000
    finally:
        tracemalloc.stop()


def test_characters_after_normalisation_are_counted_without_spaces():
    assert sum(chars for _, chars in word_slices("\ufdfa, “é” 각\u200b", UNCASED, 100, 1)) == 15 + 1 + 3 + 3
    assert not exceeds("é" * 10, 10)
    assert exceeds("é" * 11, 10)
    assert not exceeds("\ufdfa" * 10, 150)
    assert exceeds("\ufdfa" * 10, 149)


def test_counting_characters_stops_early():
    start = time.thread_time()
    assert exceeds("\ufdfa" * 10_000_000, 100_000)
    assert time.thread_time() - start < 0.5


def test_no_character_grows_more_than_is_assumed():
    longest = max(len(unicodedata.normalize("NFKD", chr(point))) for point in range(sys.maxunicode + 1))
    assert longest == MAX_EXPANSION
