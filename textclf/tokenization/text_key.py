"""The rule by which two texts are equal: the model reads the same wordpieces. All packages compare texts by it.

Wordpieces can be joined to words again, except for [UNK]. So two texts have equal wordpiece ids exactly if their words
are equal after every word that the vocabulary can't spell became [UNK]. Words are those of BERT's BasicTokenizer.
"""

import functools
import hashlib
import re
from collections.abc import Callable, Iterable

from textclf.errors import InputError
from textclf.tokenization.basic_tokenizer import word_slices
from textclf.tokenization.tensorflow_text import UNCASED
from textclf.tokenization.text_tokenizer import TextTokenizer
from textclf.tokenization.tokenizer import MAX_WORD_BYTES

# Texts -> their keys, such as TextKeys(tokenizer).
KeyFunction = Callable[[Iterable[str]], list[bytes]]

# No word: "[" and "]" are words themselves.
_UNKNOWN = "[UNK]"
_KEY_BYTES = 16
# Visible ASCII, and letters and digits, except those that the tokenizer drops or might drop.
_VISIBLE = re.compile(r"[!-~]|[^\W\u115f\u1160\u3164\ufc5e-\ufc63\ufe70-\ufe7e\uff9e-\uffa0]")


class TextKeys:
    """Computes keys that are equal for equal texts.

    Args:
        tokenizer: tokenizer of the encoder; keys are equal exactly if all its wordpiece ids are, without truncation.
            None is for places that know no encoder: it stands for a vocabulary that can spell every word of up to
            100 bytes, without case and accents. Both kinds of keys agree for texts without [UNK].
    """

    def __init__(self, tokenizer: TextTokenizer | None = None) -> None:
        self._normalisation = UNCASED if tokenizer is None else tokenizer.settings.normaliser()
        self._read_as = _ReadAs(tokenizer)

    def __call__(self, texts: Iterable[str]) -> list[bytes]:
        """The key of each text, 16 bytes.

        Raises:
            InputError: if a text contains a lone surrogate.
        """
        return [self.of(text) for text in texts]

    def of(self, text: str) -> bytes:
        """The key of one text, as __call__ returns it."""
        digest = hashlib.blake2b(digest_size=_KEY_BYTES)
        for words, _ in word_slices(text, self._normalisation, MAX_WORD_BYTES):
            if words:
                digest.update(f"{' '.join(map(self._read_as.__getitem__, words))} ".encode())
        return digest.digest()


def text_key(text: str) -> bytes:
    """The key of a text where no encoder is known, as TextKeys() computes it."""
    return TextKeys().of(text)


def is_blank(text: str) -> bool:
    """Whether a text has no wordpieces: it has only white space, control and invisible characters, and accents.

    A cased encoder reads an accent without a letter as a word; such a text is blank all the same.
    """
    if _VISIBLE.search(text):
        return False
    try:
        return not any(words for words, _ in word_slices(text, UNCASED, MAX_WORD_BYTES))
    except InputError:
        return False  # A lone surrogate is an error, which the reader of the text reports.


def made_at_first_use(make: Callable[[], KeyFunction]) -> KeyFunction:
    """Keys by a function that `make` returns at the first use, because loading an encoder takes seconds."""
    made = functools.cache(make)
    return lambda texts: made()(texts)


class _ReadAs(dict[str, str]):
    """Cache that maps a word to itself, or to [UNK] if the vocabulary can't spell it."""

    def __init__(self, tokenizer: TextTokenizer | None) -> None:
        super().__init__()
        self._tokenizer = tokenizer

    def __missing__(self, word: str) -> str:
        is_known = len(word.encode()) <= MAX_WORD_BYTES if self._tokenizer is None else self._tokenizer.knows(word)
        read_as = self[word] = word if is_known else _UNKNOWN
        return read_as
