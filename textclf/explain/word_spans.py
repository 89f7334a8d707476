"""The words of a text as a person reads them, each with its characters and its wordpieces."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from textclf.tokenization.text_tokenizer import TextTokenizer

# As they are after normalisation: typewriter apostrophe, right single quotation mark, modifier letter apostrophe.
_APOSTROPHES = {"'", "\u2019", "\u02bc"}


@dataclass(frozen=True, eq=False)
class TextWords:
    """The words of a text.

    Attributes:
        spans: characters [start, end) of each word in the text, ascending and disjoint.
        wordpieces: ids of the whole text, without [CLS] and [SEP]: int64 [wordpieces].
        starts: position of the first wordpiece of each word, and the number of wordpieces: int64 [words + 1].
    """

    spans: tuple[tuple[int, int], ...]
    wordpieces: NDArray[np.int64]
    starts: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.spans)

    @property
    def word_of_piece(self) -> NDArray[np.int64]:
        """Position of the word that each wordpiece belongs to: int64 [wordpieces]."""
        return np.repeat(np.arange(len(self.spans)), np.diff(self.starts))


def text_words(text: str, tokenizer: TextTokenizer) -> TextWords:
    """The words of a text; the wordpieces are those of the tokenizer, and every wordpiece belongs to one word.

    Words are those of BERT's BasicTokenizer, so a punctuation mark is a word, with two exceptions. Letters around
    an apostrophe are one word (don't). Words that come from the same characters are one word ("½" becomes "1⁄2").

    Raises:
        InputError: if the text contains a lone surrogate.
    """
    spans: list[tuple[int, int]] = []
    ids: list[int] = []
    starts: list[int] = []
    # Whether the last word ends with letters, or with letters and an apostrophe.
    ends_with_letters = ends_with_apostrophe = False
    for word, start, end, pieces in tokenizer.words(text):
        is_adjacent = bool(spans) and start == spans[-1][1]
        has_letters = any(map(str.isalpha, word)) and word not in _APOSTROPHES
        is_contraction = is_adjacent and ends_with_apostrophe and has_letters
        if spans and start < spans[-1][1]:
            spans[-1] = (spans[-1][0], max(end, spans[-1][1]))
        elif is_contraction:
            # The apostrophe is a word of its own until letters follow.
            spans[-2:] = [(spans[-2][0], end)]
            del starts[-1]
        else:
            spans.append((start, end))
            starts.append(len(ids))
        ends_with_apostrophe = is_adjacent and ends_with_letters and word in _APOSTROPHES
        ends_with_letters = has_letters
        ids += pieces
    return TextWords(tuple(spans), np.array(ids, np.int64), np.array([*starts, len(ids)], np.int64))
