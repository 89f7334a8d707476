"""How the characters of a text become words: the interface of its variants, and what they share."""

from collections.abc import Callable
from itertools import groupby
from typing import Protocol

from textclf.errors import InputError

# Cached characters: enough for a language, and a bound on memory for any text.
REMEMBERED = 2**14


class Normalisation(Protocol):
    """A variant; textclf.tokenization.basic_tokenizer divides texts into words with it.

    Every method raises InputError if it meets a lone surrogate.
    """

    def parts(self, text: str) -> list[str]:
        """The text divided at its special tokens: a text, a token, a text, and so on."""

    def divided(self, text: str) -> str:
        """A text in which spaces and ASCII characters divide the words."""

    def next_beginning(self, text: str, position: int) -> int:
        """The first position, from this one on, at which a text can be cut without changing the order of accents."""


def in_canonical_order(text: str, combining_class: Callable[[str], int]) -> str:
    """Sort every run of combining characters by class; unicodedata.normalize takes quadratic time for long runs."""
    runs = groupby(text, key=lambda char: combining_class(char) > 0)
    return "".join("".join(sorted(run, key=combining_class) if is_combining else run) for is_combining, run in runs)


def refuse_surrogate(char: str) -> None:
    """Refuse half of a surrogate pair.

    Raises:
        InputError: if `char` is one.
    """
    if "\ud800" <= char <= "\udfff":
        raise InputError(
            f"expected a text, found half of a surrogate pair in it (U+{ord(char):04X}); send valid Unicode"
        )
