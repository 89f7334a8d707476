"""BERT's BasicTokenizer: a text to words, in the variants of TensorFlow Text and of the Hugging Face library."""

import re
from collections.abc import Iterator

from textclf.tokenization.normalisation import Normalisation
from textclf.tokenization.tensorflow_text import UNCASED

# ASCII without control characters, which variants may remove.
_ASCII = re.compile(r"[\t\n\r -~]+")
# An ASCII symbol is a word of its own; ASCII control characters are spaces.
_WORD = re.compile(r"[!-/:-@\[-`{-~]|[^\x00- !-/:-@\[-`{-~\x7f]+")
# Most characters that one character becomes (U+FDFA).
MAX_EXPANSION = 18
# Characters that are normalised at a time. A slice bounds memory, and the time for which one call of C keeps the
# interpreter from other threads: about a millisecond, and 5 ms at the largest expansion.
SLICE_CHARS = 4096


def words(text: str, normalisation: Normalisation) -> list[str]:
    """The words of a text in order; every punctuation mark and every CJK character is a word.

    The time is linear in the length of any text.

    Args:
        text: any text.
        normalisation: what is read as a space, folded or removed.

    Raises:
        InputError: if the text contains a lone surrogate.
    """
    found: list[str] = []
    for number, part in enumerate(normalisation.parts(text)):
        found += [part] if number % 2 else _WORD.findall(normalisation.divided(part))
    return found


def word_slices(
    text: str, normalisation: Normalisation, max_word: int, slice_chars: int = SLICE_CHARS
) -> Iterator[tuple[list[str], int]]:
    """The words of a text, in lists of the words of a slice, each with its characters after normalisation.

    The lists together are words(text), except that a word of more than `max_word` characters may lose its end.

    Args:
        text, normalisation: see words().
        max_word: longest word that must stay whole.
        slice_chars: characters of a slice; a slice is longer if it would end before an accent.

    Raises:
        InputError: if the text contains a lone surrogate.
    """
    for number, part in enumerate(normalisation.parts(text)):
        if number % 2:
            yield [part], len(part)
        else:
            yield from _slices_of(part, normalisation, max_word, slice_chars)


def _slices_of(
    text: str, normalisation: Normalisation, max_word: int, slice_chars: int
) -> Iterator[tuple[list[str], int]]:
    unfinished = ""
    start = 0
    while True:
        end = start + slice_chars
        if end < len(text):
            end = normalisation.next_beginning(text, end)
        divided = normalisation.divided(text[start:end] if start or end < len(text) else text)
        chars = len(divided) - divided.count(" ")
        if unfinished:
            divided = unfinished + divided
        found = _WORD.findall(divided)
        if end >= len(text):
            yield found, chars
            return
        # The last word may continue in the next slice.
        unfinished = found.pop()[: max_word + 1] if found and divided.endswith(found[-1]) else ""
        yield found, chars
        start = end


def words_with_spans(text: str, normalisation: Normalisation) -> Iterator[tuple[str, int, int]]:
    """The words of a text in order, each with the original characters [start, end) that it comes from.

    Characters that normalise together belong together: a letter with its accents, an emoji with its variation selector.
    Several words may come from the same characters, because one character can become several words.

    Args:
        text, normalisation: see words().

    Raises:
        InputError: if the text contains a lone surrogate.
    """
    position = 0
    for number, part in enumerate(normalisation.parts(text)):
        if number % 2:
            yield part, position, position + len(part)
        else:
            for word, start, end in _spans_of(part, normalisation):
                yield word, position + start, position + end
        position += len(part)


def _spans_of(text: str, normalisation: Normalisation) -> Iterator[tuple[str, int, int]]:
    if _ASCII.fullmatch(text):
        divided = normalisation.divided(text)
        yield from ((found[0], found.start(), found.end()) for found in _WORD.finditer(divided))
        return
    parts: list[str] = []
    starts: list[int] = []  # For each character of `parts`.
    ends: list[int] = []
    position = 0
    while position < len(text):
        if ascii_run := _ASCII.match(text, position):
            # An accent may follow the last character.
            last = ascii_run.end() - 1
            parts.append(normalisation.divided(text[position:last]))
            starts += range(position, last)
            ends += range(position + 1, last + 1)
            position = last
        end = normalisation.next_beginning(text, position + 1)
        divided = normalisation.divided(text[position:end])
        parts.append(divided)
        starts += [position] * len(divided)
        ends += [end] * len(divided)
        position = end
    for found in _WORD.finditer("".join(parts)):
        yield found[0], starts[found.start()], ends[found.end() - 1]


def exceeds(text: str, max_chars: int) -> bool:
    """Whether a text has more than `max_chars` characters after normalisation; stops as soon as it is known."""
    if len(text) <= max_chars and (text.isascii() or len(text) * MAX_EXPANSION <= max_chars):
        return False
    total = 0
    return any((total := total + chars) > max_chars for _, chars in word_slices(text, UNCASED, 1))
