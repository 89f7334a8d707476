"""Words of a text: what parts them, what is folded, and how long it takes."""

import time

import pytest

from textclf.errors import InputError
from textclf.runtime import basic_tokenizer as words_module
from textclf.runtime.basic_tokenizer import words


@pytest.mark.parametrize("lower_case", [True, False])
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
def test_what_parts_words(text, expected, lower_case):
    assert words(text, lower_case) == [word for word in expected.split(" ") if word]


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
    assert words(text, lower_case=True) == expected


def test_cased_words_stay_as_they_are():
    text = "Café e\u0301 ﬁlm İ ß a\u00a0b 각 ½"
    assert words(text, lower_case=False) == text.split(" ")
    assert words("a\u200bb c\u00add", lower_case=False) == ["a", "b", "c", "d"]


@pytest.mark.parametrize("lower_case", [True, False])
@pytest.mark.parametrize("text", ["\ud83d", "a film \udfff!", "é\ud800\udc00"])
def test_half_of_a_surrogate_pair_is_refused(text, lower_case):
    with pytest.raises(InputError, match=r"half of a surrogate pair in it \(U\+D[8F][0-9A-F]{2}\); send valid Unicode"):
        words(text, lower_case)


@pytest.mark.parametrize("lower_case", [True, False])
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
def test_long_texts_take_time_in_proportion(unit, lower_case):
    """100,000 characters in less than 100 ms of this thread's time: a quadratic step would take seconds."""

    def seconds() -> float:
        start = time.thread_time()
        words(text, lower_case)
        return time.thread_time() - start

    text = unit * (100_000 // len(unit))
    assert min(seconds() for _ in range(3)) < 0.1


def test_memory_does_not_grow_with_what_was_seen():
    for lower_case in (True, False):
        words("".join(map(chr, range(0x20000, 0x25000))), lower_case)
    for cache in (words_module._folded, words_module._unaccented, words_module._apart):
        assert cache.cache_info().currsize == cache.cache_info().maxsize == 2**14
