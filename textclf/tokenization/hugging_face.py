"""The normalisation of the Hugging Face library's tokenizers for BERT: BertNormalizer, then BertPreTokenizer.

Control characters are removed, where TensorFlow Text reads spaces. Case is lowered character by character, and
compatibility forms stay. [CLS] and the other special tokens are tokens where they are written in a text.

The library 0.23 has categories of Unicode 8, combining classes and decompositions of Unicode 9, and lower case of
Unicode 17. This module lists what differs from Python 3.11, which has Unicode 14; the library reads the newer marks and
punctuation as letters.
"""

import functools
import re
import unicodedata

from textclf.tokenization.normalisation import REMEMBERED, in_canonical_order, refuse_surrogate

_SPECIAL = re.compile(r"(\[(?:PAD|UNK|CLS|SEP|MASK)\])")
_NON_ASCII = re.compile(r"[^\x00-\x7f]+")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]+")
_SPACES = "\u2028\u2029"  # Next to the category Zs.
_CJK = re.compile(
    "[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0002a6df\U0002a700-\U0002b81f\U0002b920-\U0002ceaf"
    "\U0002f800-\U0002fa1f]"
)
# Format characters that are kept.
_KEPT_FORMATS = re.compile("[\u0890\u0891\u08e2\U000110cd\U00013430-\U00013438]")
# Accents that are kept: those of Unicode 9, which have a combining class, and those since Unicode 10, which have none.
_KEPT_ACCENTS = re.compile(
    "[\u08d4-\u08e1\u1dfb\ua8c5\U0001123e\U00011438-\U0001143f\U00011442-\U00011444\U00011446\U00011c30-\U00011c36"
    "\U00011c38-\U00011c3d\U00011c3f\U00011c92-\U00011ca7\U00011caa-\U00011cb0\U00011cb2\U00011cb3\U00011cb5\U00011cb6"
    "\U0001e000-\U0001e006\U0001e008-\U0001e018\U0001e01b-\U0001e021\U0001e023\U0001e024\U0001e026-\U0001e02a"
    "\U0001e944-\U0001e94a]"
)
_UNCLASSED_ACCENTS = re.compile(
    "[\u07fd\u0898-\u089f\u08ca-\u08d3\u09fe\u0afa-\u0aff\u0b55\u0c04\u0c3c\u0d00\u0d3b\u0d3c\u0d81\u0eba\u180f\u1885"
    "\u1886\u1abf-\u1ace\u1df6-\u1dfa\ua82c\ua8ff\ua9bd\U00010d24-\U00010d27\U00010eab\U00010eac\U00010f46-\U00010f50"
    "\U00010f82-\U00010f85\U00011070\U00011073\U00011074\U000110c2\U000111c9\U000111cf\U0001133b\U0001145e"
    "\U0001182f-\U00011837\U00011839\U0001183a\U0001193b\U0001193c\U0001193e\U00011943\U000119d4-\U000119d7\U000119da"
    "\U000119db\U000119e0\U00011a01-\U00011a0a\U00011a33-\U00011a38\U00011a3b-\U00011a3e\U00011a47\U00011a51-\U00011a56"
    "\U00011a59-\U00011a5b\U00011a8a-\U00011a96\U00011a98\U00011a99\U00011d31-\U00011d36\U00011d3a\U00011d3c\U00011d3d"
    "\U00011d3f-\U00011d45\U00011d47\U00011d90\U00011d91\U00011d95\U00011d97\U00011ef3\U00011ef4\U00016f4f\U00016fe4"
    "\U0001cf00-\U0001cf2d\U0001cf30-\U0001cf46\U0001e130-\U0001e136\U0001e2ae\U0001e2ec-\U0001e2ef]"
)
# Spacing marks without a combining class, a removed one, and a character that is not decomposed.
_UNCLASSED_MARKS = "\u1715\U0001193d\U00016ff0\U00016ff1"
_REMOVED_MARK, _WHOLE = "\u1734", "\U00011938"
# No punctuation, and characters that are.
_LETTERS = re.compile(
    "[\u061d\u09fd\u0a76\u0c77\u0c84\u1b7d\u1b7e\u2e43-\u2e4f\u2e52-\u2e5d\U00010ead\U00010f55-\U00010f59"
    "\U00010f86-\U00010f89\U0001144b-\U0001144f\U0001145a\U0001145b\U0001145d\U00011660-\U0001166c\U000116b9\U0001183b"
    "\U00011944-\U00011946\U000119e2\U00011a3f-\U00011a46\U00011a9a-\U00011a9c\U00011a9e-\U00011aa2"
    "\U00011c41-\U00011c45\U00011c70\U00011c71\U00011ef7\U00011ef8\U00011fff\U00012ff1\U00012ff2\U00016e97-\U00016e9a"
    "\U00016fe2\U0001e95e\U0001e95f]"
)
_PUNCTUATION = "\u166d\U000111c9"
_NEW_LOWER = {
    chr(first + i): lower
    for first, targets in {
        0x1C89: ["\u1c8a"],
        0xA7CB: ["\u0264", "\ua7cd"],
        0xA7CE: ["\ua7cf"],
        0xA7D2: ["\ua7d3"],
        0xA7D4: ["\ua7d5"],
        0xA7DA: ["\ua7db"],
        0xA7DC: ["\u019b"],
        0x10D50: map(chr, range(0x10D70, 0x10D86)),
        0x16EA0: map(chr, range(0x16EBB, 0x16ED4)),
    }.items()
    for i, lower in enumerate(targets)
}


class HuggingFace:
    """See Normalisation.

    Args:
        lower_case: lower case and remove accents; otherwise letters stay unchanged.
    """

    def __init__(self, lower_case: bool) -> None:
        self._lower_case = lower_case

    def parts(self, text: str) -> list[str]:
        """The text divided at special tokens; the first part and every second one may be empty."""
        return _SPECIAL.split(text) if "[" in text else [text]

    def divided(self, text: str) -> str:
        """A text in which spaces and ASCII characters divide the words."""
        text = _CONTROL.sub("", text)
        if not text.isascii():
            text = _NON_ASCII.sub(_lowered if self._lower_case else _parted, text)
        # Other characters have been lowered one by one: str.lower() gives some a form that depends on the word.
        return text.lower() if self._lower_case else text

    def next_beginning(self, text: str, position: int) -> int:
        """The first position, from this one on, at which a text can be cut without changing the order of accents."""
        if not self._lower_case:
            return position
        while position < len(text):
            decomposed = _decomposed(text[position])
            if decomposed and not _combining_class(decomposed[0]):
                break
            position += 1
        return position


def _parted(run: re.Match[str]) -> str:
    """A non-ASCII run without what is removed, and with spaces around single-character words."""
    return "".join(map(_apart, run[0]))


def _lowered(run: re.Match[str]) -> str:
    """A non-ASCII run as _parted returns it, but in lower case and without accents."""
    lowered = [*map(_lowered_anywhere, run[0])]
    if None not in lowered:
        return "".join(lowered)  # type: ignore[arg-type]
    decomposed = in_canonical_order("".join(map(_decomposed, run[0])), _combining_class)
    return "".join(map(_unaccented, decomposed))


@functools.lru_cache(maxsize=REMEMBERED)
def _lowered_anywhere(char: str) -> str | None:
    """The form of a character that does not depend on its neighbours; None if there is none.

    The order of removed accents does not matter.
    """
    decomposed = _decomposed(char)
    if any(_combining_class(part) and not _is_removed(part) for part in decomposed):
        return None
    return "".join(map(_unaccented, decomposed))


@functools.lru_cache(maxsize=REMEMBERED)
def _decomposed(char: str) -> str:
    """A character without what is removed at first, with spaces around CJK, decomposed."""
    cleaned = _cleaned(char)
    return cleaned if cleaned == _WHOLE else unicodedata.normalize("NFD", cleaned)


@functools.lru_cache(maxsize=REMEMBERED)
def _unaccented(char: str) -> str:
    if _is_removed(char):
        return ""
    return "".join(map(_spaced, _NEW_LOWER.get(char) or char.lower()))


@functools.lru_cache(maxsize=REMEMBERED)
def _apart(char: str) -> str:
    return "".join(map(_spaced, _cleaned(char)))


def _cleaned(char: str) -> str:
    """Nothing, a space, or the character; one of CJK with spaces around it."""
    refuse_surrogate(char)
    category = unicodedata.category(char)
    if category == "Zs" or char in _SPACES or char in "\t\n\r":
        return " "
    if char == "\ufffd" or (category in ("Cc", "Cf", "Co") and not _KEPT_FORMATS.match(char)):
        return ""
    return f" {char} " if _CJK.match(char) else char


def _spaced(char: str) -> str:
    """A character, with spaces around it if it is punctuation."""
    if char in _PUNCTUATION or (unicodedata.category(char).startswith("P") and not _LETTERS.match(char)):
        return f" {char} "
    return char


def _is_removed(char: str) -> bool:
    if char == _REMOVED_MARK:
        return True
    is_accent = unicodedata.category(char) == "Mn"
    return is_accent and not _KEPT_ACCENTS.match(char) and not _UNCLASSED_ACCENTS.match(char)


def _combining_class(char: str) -> int:
    if char in _UNCLASSED_MARKS or _UNCLASSED_ACCENTS.match(char):
        return 0
    return unicodedata.combining(char)
