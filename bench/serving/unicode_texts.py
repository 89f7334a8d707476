"""Generated texts that are hard for tokenizers, and vocabularies that reveal every difference."""

import sys
import unicodedata
from collections.abc import Iterable, Sequence
from typing import TypeVar

import numpy as np

_Choice = TypeVar("_Choice")
_SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
_SURROGATES = range(0xD800, 0xE000)
_LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
_ASCII_OTHERS = "".join(chr(point) for point in range(128) if chr(point) not in _LETTERS)

# Known trouble, as words or pieces of words.
_TROUBLE_BY_KIND = (
    # Case: one letter that becomes two, two capitals for one small letter, titlecase digraphs, final sigma, Cherokee.
    "ß ẞ Straße STRASSE İ ı İstanbul ſ ﬅ ŉ ǰ ΐ ΰ Σ σ ς ΣΊΣΥΦΟΣ Σίσυφος ϲ Ϲ ǅ Ǆ ǆ ǈ ǋ ǲ ᾼ ᾳ ῼ ᾈ ͺ ꭰ Ꭰ Ⴀ ა Ა",
    "\u0345 α\u0345\u0301 \u0345\u302e ͺ\u302e",
    # Compatibility: ligatures, fractions, circled and Roman numbers, units, width, squared words, mathematical letters.
    "ﬀ ﬁlm ﬄ ﬆ ½ ¼ ① ⑳ Ⅷ ⅷ ㎏ ㏂ № ™ ℠ ª º µ Å Ω K ℡ ﷺ ﷽ … ‥ ‼ ⁇ ＡＢｃ１！（ ｶﾞｷﾞﾊﾟ ﾞ \uffa0 ㌀ 🅰 𝐀𝔟𝟘 𝒜 ℵ ﬀ\u0301",
    # Accents: composed, combining, in either order, more than one, enclosing, spacing; and spacing marks (Mc).
    "é e\u0301 ệ e\u0323\u0302 e\u0302\u0323 Å A\u030a ñ ö\u0308 \u0301 \u0301a a\u20dd ˆ ´ ¨ क्षि நி ກຳ ไทย\u0e33 ꣠",
    "\u302e\U0001d165 \U0001d165\u302e \u302e\u034f\U0001d165 \u302e\u0902\U0001d165 \U00016ff0\u1bf2 \u09be\u09bc",
    "\u0897 \U00010efd \u0ece \U0001e4ec",
    # CJK and Hangul.
    "电影很好看 映画を見た 한국어 영화 각 \u1100\u1161\u11a8 ᄀ 豈 更 﨎 㐀 〇 々 〱 ㆐ ㇰ ⺀ ⼀ 、 。 「 ・ ー ～ ㄱ",
    "\U00020000 \U0002a6df \U0002a6e0 \U0002b73a \U0002ceaf \U0002ceb0 \U0002f800 \U00030000",
    # Invisible: zero width, soft hyphen, marks of direction, variation selectors, fillers, tags, byte order mark.
    "a\u200bb a\u200cb a\u200db a\u00adb a\u2060b \ufeffa \u200e\u200f\u202a\u202e\u2066\u2069 \u034f \u061c \u180e",
    "\u115f \u3164 \u17b4 \u2065 \ufe0f \U000e0100 \U000e0041 \U000e0001 \ufff0 \ufff9a\ufffb \U0001d173 \U0001bca0",
    # White space beyond ASCII, and control and format characters.
    "a\u00a0b a\u1680b a\u2003b a\u2028b a\u2029b a\u202fb a\u205fb a\u3000b a\u0085b a\x00b \x00 a\x0bb a\x0cb",
    "a\x1cb a\x7fb a\x9fb a\tb a\r\nb \u0600 \u06dd \u070f \u08e2 \U000110bd \U00013439",
    # Punctuation, symbols, and pieces of neither kind.
    "“a” a–b a—b ¿a? ¡ « » § ¶ † ‡ • · ‰ € £ ¥ © ® ° ± × ÷ ¬ ¦ ¯ ¸ $a+b<c=d>e^f`g|h~i a_b #b @c don't [CLS] ##a",
    "[unused1] ＿ ﹏ ⸮ ؟ ، ۔ । \U00011f43 \U00011b00",
    # Emoji: modifiers, sequences, flags, keycaps.
    "😀 👍🏽 👩\u200d👩\u200d👧 🏳\ufe0f\u200d🌈 🇩🇪 1\ufe0f\u20e3 ❤\ufe0f ♥ ☺\ufe0e 🏴\U000e0067\U000e0062\U000e007f",
    # No characters: private use, unassigned, noncharacters, replacement; and characters newer than most tables.
    "\ue000 \U000f0000 \U0010ffff \ufdd0 \ufffe \uffff \U0001fffe \u0378 \U000e0fff \ufffd \u1c89 \ua7cb \ua7dc",
    "\U000105c9 \U00010d50 \U00011383 \U00016121 \U00016d68 \U0001ccd6 \U0001ccf0 \U0001e030 \U0001fae0",
)
_TROUBLE = [piece for kind in _TROUBLE_BY_KIND for piece in kind.split(" ")]


def every_character() -> list[str]:
    """Return all 1,112,064 code points except surrogates."""
    return [chr(point) for point in range(sys.maxunicode + 1) if point not in _SURROGATES]


def generated_texts(count: int, seed: int = 0, distinct_characters: int = 3000) -> list[str]:
    """Generate random texts that are hard for tokenizers, the same for the same seed.

    Args:
        count: number of texts.
        seed: random seed.
        distinct_characters: number of drawn characters, in addition to those known for trouble.
    """
    random = np.random.default_rng(seed)
    characters = every_character()
    latin, low = characters[:0x250], characters[:0x3100]
    chosen = [_sample(random, part, distinct_characters // 4) for part in (latin, low, characters[:0xF800], characters)]
    marks = [char for char in characters if unicodedata.combining(char)]
    alphabets = [
        *chosen,
        [*marks, *"aeo"],
        [char for piece in _TROUBLE for char in piece],
        [*_LETTERS],
        [*_ASCII_OTHERS],
    ]
    makers = (_mixed, _words, _words, _at_the_limit, _blank)
    shares = (0.35, 0.25, 0.2, 0.18, 0.02)
    return [makers[kind](random, alphabets) for kind in random.choice(len(makers), count, p=shares)]


def probe_vocabulary(texts: Iterable[str], seed: int = 0) -> list[str]:
    """Return a vocabulary of all characters of the texts and some longer pieces, as words and continuations.

    With a vocabulary of real words, most of these texts would be [UNK] for every tokenizer. Characters are included
    unchanged, folded and decomposed, so that every normalisation shows.
    """
    random = np.random.default_rng(seed)
    pieces: dict[str, None] = {}
    for text in texts:
        folded = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text.casefold()).casefold())
        for form in (text, text.lower(), text.casefold(), unicodedata.normalize("NFD", text), folded):
            pieces |= dict.fromkeys(form)
        start = random.integers(len(folded) + 1)
        pieces[folded[start : start + random.integers(2, 6)]] = None
    return continuing(piece for piece in pieces if piece and not set(piece) & set(" \r\n"))


def continuing(pieces: Iterable[str]) -> list[str]:
    """Return BERT's special tokens, and each piece as the beginning of a word and, with ##, as a continuation."""
    entries = dict.fromkeys(_SPECIAL_TOKENS)
    for piece in pieces:
        entries[piece] = entries[f"##{piece}"] = None
    return list(entries)


def _sample(random: np.random.Generator, characters: Sequence[str], count: int) -> list[str]:
    return [characters[i] for i in random.integers(len(characters), size=count).tolist()]


def _one(random: np.random.Generator, choices: Sequence[_Choice]) -> _Choice:
    return choices[int(random.integers(len(choices)))]


def _word(random: np.random.Generator, alphabets: Sequence[Sequence[str]]) -> str:
    if random.random() < 0.4:
        return _one(random, _TROUBLE)
    return "".join(_sample(random, _one(random, alphabets), int(random.integers(1, 9))))


def _words(random: np.random.Generator, alphabets: Sequence[Sequence[str]]) -> str:
    parts = [_word(random, alphabets) + _one(random, ["", " ", " ", "\n", ", "]) for _ in range(random.integers(1, 25))]
    return "".join(parts)


def _mixed(random: np.random.Generator, alphabets: Sequence[Sequence[str]]) -> str:
    """Return a run of characters from all alphabets."""
    sizes = random.integers(0, 6, len(alphabets))
    chars = [char for alphabet, size in zip(alphabets, sizes, strict=True) for char in _sample(random, alphabet, size)]
    random.shuffle(chars)
    return "".join(chars)


def _at_the_limit(random: np.random.Generator, alphabets: Sequence[Sequence[str]]) -> str:
    """Return words of about 100 bytes, the limit of BERT's tokenizer, of characters of one to four bytes."""
    words = []
    for _ in range(random.integers(1, 4)):
        unit = (
            _word(random, alphabets)
            if random.random() < 0.5
            else _one(random, ["a", "é", "ж", "क", "한", "𝔟", "ß", "ﬁ"])
        )
        wanted = int(random.integers(96, 105))
        word = unit * (wanted // max(1, len(unit.encode())))
        words.append(word + "x" * (wanted - len(word.encode())))
    return " ".join(words)


def _blank(random: np.random.Generator, alphabets: Sequence[Sequence[str]]) -> str:
    return "".join(
        _sample(
            random, [" ", "\t", "\n", "\r", "\x00", "\u00a0", "\u200b", "\u3000", "\u0301"], int(random.integers(0, 9))
        )
    )
