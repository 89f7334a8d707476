"""BERT's BasicTokenizer: a text to words, identical to TensorFlow Text's BasicTokenizer in the TF-Hub preprocessing.

There, ICU 77 (Unicode 16) folds case to NFKC_Casefold and decomposes to NFD. Then RE2 (Unicode 15) removes accents,
reads control and format characters as spaces, and splits at ASCII white space, punctuation and CJK characters. Python
3.11 has Unicode 14; this module lists the newer characters that matter.
See https://www.unicode.org/reports/tr44/#NFKC_Casefold and tensorflow_text/python/ops/bert_tokenizer.py.
"""

import functools
import re
import string
import unicodedata
from collections.abc import Iterator
from itertools import groupby

from textclf.errors import InputError

_NON_ASCII = re.compile(r"[^\x00-\x7f]+")
_ASCII = re.compile(r"[\x00-\x7f]+")
# An ASCII symbol is a word of its own; ASCII control characters are spaces.
_WORD = re.compile(r"[!-/:-@\[-`{-~]|[^\x00- !-/:-@\[-`{-~\x7f]+")
_CJK = re.compile(
    "[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0002a6df\U0002a700-\U0002ceaf\U0002f800-\U0002fa1f]"
)
# Default_Ignorable_Code_Point: NFKC_Casefold removes them, and unicodedata has no such property.
_IGNORABLE = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f"
    "\ufeff\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
# New in Unicode 15, which RE2 uses: accents, format characters, punctuation.
_NEW_CATEGORIES = {
    chr(point): category
    for category, ranges in {
        "Mn": [
            (0x0ECE, 0x0ECE), (0x10EFD, 0x10EFF), (0x11241, 0x11241), (0x11F00, 0x11F01), (0x11F36, 0x11F3A),
            (0x11F40, 0x11F40), (0x11F42, 0x11F42), (0x13440, 0x13440), (0x13447, 0x13455), (0x1E08F, 0x1E08F),
            (0x1E4EC, 0x1E4EF),
        ],
        "Cf": [(0x13439, 0x1343F)],
        "Po": [(0x11B00, 0x11B09), (0x11F43, 0x11F4F)],
    }.items()
    for first, last in ranges
    for point in range(first, last + 1)
}  # fmt: skip
# New in Unicode 15 and 16, which ICU uses: combining classes, and folded and decomposed forms of characters.
_NEW_CLASSES = {
    char: combining_class
    for combining_class, chars in {
        9: "\U000113ce\U000113cf\U000113d0\U00011f41\U00011f42\U0001612f",
        220: "\U00010efd\U00010efe\U00010eff\U0001e4ee\U0001e5ef",
        230: "\u0897\U00010d69\U00010d6a\U00010d6b\U00010d6c\U00010d6d\U0001e08f\U0001e4ef\U0001e5ee",
        232: "\U0001e4ec\U0001e4ed",
    }.items()
    for char in chars
}
_NEW_FOLDS = {
    chr(first + i): folded
    for first, targets in {
        0x1C89: ["\u1c8a"],
        0xA7CB: ["\u0264", "\ua7cd"],
        0xA7DA: ["\ua7db"],
        0xA7DC: ["\u019b"],
        0x105C9: ["\U000105d2\u0307"],
        0x105E4: ["\U000105da\u0307"],
        0x10D50: map(chr, range(0x10D70, 0x10D86)),
        0x11383: ["\U00011382\U000113c9"],
        0x11385: ["\U00011384\U000113bb"],
        0x1138E: ["\U0001138b\U000113c2"],
        0x11391: ["\U00011390\U000113c9"],
        0x113C5: ["\U000113c2\U000113c2"],
        0x113C7: ["\U000113c2\U000113b8", "\U000113c2\U000113c9"],
        0x16121: ["\U0001611e\U0001611e", "\U0001611e\U00016129", "\U0001611e\U0001611f", "\U00016129\U0001611f"],
        0x16125: ["\U0001611e\U00016120", "\U0001611e\U0001611e\U0001611f"],
        0x16127: ["\U0001611e\U00016129\U0001611f", "\U0001611e\U0001611e\U00016120"],
        0x16D68: ["\U00016d67\U00016d67", "\U00016d63\U00016d67", "\U00016d63\U00016d67\U00016d67"],
        0x1CCD6: string.ascii_lowercase + string.digits,
        0x1E030: "абвгдежзиклмопрстуфхцчшыэюꚉәіјөүӏабвгдежзиклопсуфхцчшъыґіѕџҫꙑұ",
    }.items()
    for i, folded in enumerate(targets)
}
# Cached characters: enough for a language, and a bound on memory for any text.
_REMEMBERED = 2**14
# Most characters that one character becomes (U+FDFA).
MAX_EXPANSION = 18
# Characters that are normalised at a time. A slice bounds memory, and the time for which one call of C keeps the
# interpreter from other threads: about a millisecond, and 5 ms at the largest expansion.
SLICE_CHARS = 4096


def words(text: str, lower_case: bool) -> list[str]:
    """The words of a text in order; every punctuation mark and every CJK character is a word.

    The time is linear in the length of any text.

    Args:
        text: any text.
        lower_case: fold case and compatibility forms and remove accents; otherwise characters stay unchanged.

    Raises:
        InputError: if the text contains a lone surrogate.
    """
    return _WORD.findall(_normalised(text, lower_case))


def word_slices(
    text: str, lower_case: bool, max_word: int, slice_chars: int = SLICE_CHARS
) -> Iterator[tuple[list[str], int]]:
    """The words of a text, in lists of the words of a slice, each with its characters after normalisation.

    The lists together are words(text), except that a word of more than `max_word` characters may lose its end.

    Args:
        text, lower_case: see words().
        max_word: longest word that must stay whole.
        slice_chars: characters of a slice; a slice is longer if it would end before an accent.

    Raises:
        InputError: if the text contains a lone surrogate.
    """
    unfinished = ""
    start = 0
    while True:
        end = start + slice_chars
        if end < len(text):
            end = _next_beginning(text, end) if lower_case else end
            plain = _normalised(text[start:end], lower_case)
        else:
            plain = _normalised(text[start:] if start else text, lower_case)
        chars = len(plain) - plain.count(" ")
        if unfinished:
            plain = unfinished + plain
        found = _WORD.findall(plain)
        if end >= len(text):
            yield found, chars
            return
        # The last word may continue in the next slice.
        unfinished = found.pop()[: max_word + 1] if found and plain.endswith(found[-1]) else ""
        yield found, chars
        start = end


def words_with_spans(text: str, lower_case: bool) -> Iterator[tuple[str, int, int]]:
    """The words of a text in order, each with the original characters [start, end) that it comes from.

    Characters that normalise together belong together: a letter with its accents, an emoji with its variation selector.
    Several words may come from the same characters, because one character can become several words.

    Args:
        text, lower_case: see words().

    Raises:
        InputError: if the text contains a lone surrogate.
    """
    if text.isascii():
        plain = _normalised(text, lower_case)
        yield from ((found[0], found.start(), found.end()) for found in _WORD.finditer(plain))
        return
    parts: list[str] = []
    starts: list[int] = []  # For each character of `parts`.
    ends: list[int] = []
    position = 0
    while position < len(text):
        if ascii_run := _ASCII.match(text, position):
            # An accent may follow the last character.
            last = ascii_run.end() - 1
            parts.append(_normalised(text[position:last], lower_case))
            starts += range(position, last)
            ends += range(position + 1, last + 1)
            position = last
        end = _next_beginning(text, position + 1) if lower_case else position + 1
        plain = _normalised(text[position:end], lower_case)
        parts.append(plain)
        starts += [position] * len(plain)
        ends += [end] * len(plain)
        position = end
    for found in _WORD.finditer("".join(parts)):
        yield found[0], starts[found.start()], ends[found.end() - 1]


def exceeds(text: str, max_chars: int) -> bool:
    """Whether a text has more than `max_chars` characters after normalisation; stops as soon as it is known."""
    if len(text) <= max_chars and (text.isascii() or len(text) * MAX_EXPANSION <= max_chars):
        return False
    total = 0
    return any((total := total + chars) > max_chars for _, chars in word_slices(text, True, 1))


def _normalised(text: str, lower_case: bool) -> str:
    """A text in which spaces and ASCII characters divide the words."""
    if lower_case:
        text = text.casefold()
    if not text.isascii():
        text = _NON_ASCII.sub(_plain if lower_case else _parted, text)
    return text


def _next_beginning(text: str, position: int) -> int:
    """The first position, from this one on, at which a text can be cut without changing the order of accents."""
    while position < len(text):
        folded = _folded(text[position].casefold()[0])
        if folded and not _combining_class(folded[0]):
            break
        position += 1
    return position


def _parted(run: re.Match[str]) -> str:
    """A non-ASCII run with separators replaced by spaces, and with spaces around single-character words."""
    return "".join(map(_apart, run[0]))


def _plain(run: re.Match[str]) -> str:
    """A non-ASCII run as _parted returns it, but folded and without accents."""
    chars = run[0]
    if len(chars) == 1:
        return _plain_alone(chars)
    plain = [*map(_plain_anywhere, chars)]
    return _plain_in_order(chars) if None in plain else "".join(plain)  # type: ignore[arg-type]


def _plain_in_order(chars: str) -> str:
    decomposed = "".join(map(_folded, chars))
    if not unicodedata.is_normalized("NFD", decomposed) or not _NEW_CLASSES.keys().isdisjoint(decomposed):
        decomposed = _in_canonical_order(decomposed)
    return "".join(map(_unaccented, decomposed))


def _in_canonical_order(text: str) -> str:
    """Sort every run of combining characters by class; unicodedata.normalize takes quadratic time for long runs."""
    runs = groupby(text, key=lambda char: _combining_class(char) > 0)
    return "".join("".join(sorted(run, key=_combining_class) if is_combining else run) for is_combining, run in runs)


def _combining_class(char: str) -> int:
    return _NEW_CLASSES.get(char) or unicodedata.combining(char)


@functools.lru_cache(maxsize=_REMEMBERED)
def _folded(char: str) -> str:
    """NFKC_Casefold and NFD of a character after str.casefold."""
    if _IGNORABLE.match(char):
        return ""
    return _NEW_FOLDS.get(char) or unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", char).casefold())


@functools.lru_cache(maxsize=_REMEMBERED)
def _plain_alone(char: str) -> str:
    return _plain_in_order(char)


@functools.lru_cache(maxsize=_REMEMBERED)
def _plain_anywhere(char: str) -> str | None:
    """The form of a character after str.casefold that does not depend on its neighbours; None if there is none."""
    folded = _folded(char)
    return None if any(map(_combining_class, folded)) else "".join(map(_unaccented, folded))


@functools.lru_cache(maxsize=_REMEMBERED)
def _unaccented(char: str) -> str:
    return "" if _category(char) == "Mn" else _spaced(char)


@functools.lru_cache(maxsize=_REMEMBERED)
def _apart(char: str) -> str:
    return _spaced(char)


def _spaced(char: str) -> str:
    category = _category(char)
    if category == "Cs":
        raise InputError(
            f"expected a text, found half of a surrogate pair in it (U+{ord(char):04X}); send valid Unicode"
        )
    if category in ("Cc", "Cf"):
        return " "
    return f" {char} " if category.startswith("P") or _CJK.match(char) else char


def _category(char: str) -> str:
    return _NEW_CATEGORIES.get(char) or unicodedata.category(char)
