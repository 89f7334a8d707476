"""The normalisation of TensorFlow Text's BasicTokenizer, as the TF-Hub preprocessing uses it.

There, ICU 77 (Unicode 16) folds case to NFKC_Casefold and decomposes to NFD. Then RE2 (Unicode 15) removes accents,
reads control and format characters as spaces, and splits at ASCII white space, punctuation and CJK characters. Python
3.11 has Unicode 14; this module lists the newer characters that matter.
See https://www.unicode.org/reports/tr44/#NFKC_Casefold and tensorflow_text/python/ops/bert_tokenizer.py.
"""

import functools
import re
import string
import unicodedata

from textclf.tokenization.normalisation import REMEMBERED, in_canonical_order, refuse_surrogate

_NON_ASCII = re.compile(r"[^\x00-\x7f]+")
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


class TensorFlowText:
    """See Normalisation.

    Args:
        lower_case: fold case and compatibility forms and remove accents; otherwise characters stay unchanged.
    """

    def __init__(self, lower_case: bool) -> None:
        self._lower_case = lower_case

    def parts(self, text: str) -> list[str]:
        """The whole text: special tokens are read as their characters."""
        return [text]

    def divided(self, text: str) -> str:
        """A text in which spaces and ASCII characters divide the words."""
        if self._lower_case:
            text = text.casefold()
        if not text.isascii():
            text = _NON_ASCII.sub(_plain if self._lower_case else _parted, text)
        return text

    def next_beginning(self, text: str, position: int) -> int:
        """The first position, from this one on, at which a text can be cut without changing the order of accents."""
        if not self._lower_case:
            return position
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
        decomposed = in_canonical_order(decomposed, _combining_class)
    return "".join(map(_unaccented, decomposed))


def _combining_class(char: str) -> int:
    return _NEW_CLASSES.get(char) or unicodedata.combining(char)


@functools.lru_cache(maxsize=REMEMBERED)
def _folded(char: str) -> str:
    """NFKC_Casefold and NFD of a character after str.casefold."""
    if _IGNORABLE.match(char):
        return ""
    return _NEW_FOLDS.get(char) or unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", char).casefold())


@functools.lru_cache(maxsize=REMEMBERED)
def _plain_alone(char: str) -> str:
    return _plain_in_order(char)


@functools.lru_cache(maxsize=REMEMBERED)
def _plain_anywhere(char: str) -> str | None:
    """The form of a character after str.casefold that does not depend on its neighbours; None if there is none."""
    folded = _folded(char)
    return None if any(map(_combining_class, folded)) else "".join(map(_unaccented, folded))


@functools.lru_cache(maxsize=REMEMBERED)
def _unaccented(char: str) -> str:
    return "" if _category(char) == "Mn" else _spaced(char)


@functools.lru_cache(maxsize=REMEMBERED)
def _apart(char: str) -> str:
    return _spaced(char)


def _spaced(char: str) -> str:
    category = _category(char)
    refuse_surrogate(char)
    if category in ("Cc", "Cf"):
        return " "
    return f" {char} " if category.startswith("P") or _CJK.match(char) else char


def _category(char: str) -> str:
    return _NEW_CATEGORIES.get(char) or unicodedata.category(char)


UNCASED, CASED = TensorFlowText(lower_case=True), TensorFlowText(lower_case=False)
