"""A text to explain: the words, and the model as a function of the words that are present."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from textclf.explain.hierarchy import Group, word_tree
from textclf.explain.masked_text import MaskedText, ReadPieces
from textclf.explain.word_spans import TextWords, text_words
from textclf.runtime.predictor import Predictor
from textclf.tokenization.text_tokenizer import TextTokenizer
from textclf.tokenization.tokenizer import SPECIAL_TOKENS

Values = NDArray[np.float64]
Masks = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Problem:
    """A text of which the model reads every word.

    Attributes:
        text: the text, cut to max_length.
        words: its words.
        predicted: class id.
        predictor: the model.
    """

    text: str
    words: TextWords
    predicted: int
    predictor: Predictor

    def __len__(self) -> int:
        return len(self.words)

    @property
    def tree(self) -> Group:
        """The groups of the words."""
        return word_tree(self.text, self.words.spans)

    @property
    def word_texts(self) -> list[str]:
        """Each word with the blanks after it."""
        starts = [start for start, _ in self.words.spans]
        return [self.text[start:end] for start, end in zip(starts, [*starts[1:], len(self.text)], strict=True)]

    def function(self, baseline: str, on_batch: Callable[[], None] = lambda: None) -> Callable[[Masks], Values]:
        """A function of masks [m, words] to probabilities [m, K]; it remembers no evaluation of another function."""
        predictor, tokenizer = self.predictor, tokenizer_of(self.predictor)
        logits = predictor.predict_batch([self.text]).outputs.logits[0] / predictor.temperature
        return MaskedText(
            predictor,
            tokenizer,
            self.words,
            ReadPieces.of(self.words, tokenizer),
            logits.astype(np.float64),
            baseline,
            "probability",
            predictor.tokens_per_batch,
            on_batch,
        )


def tokenizer_of(predictor: Predictor) -> TextTokenizer:
    """The tokenizer of a version with an engine."""
    tokenizer = predictor.backend.tokenizer
    if tokenizer is None:
        raise TypeError("expected a version with an engine")
    return tokenizer


def read_problem(text: str, predictor: Predictor, max_length: int) -> Problem | None:
    """The words at the beginning of a text that fit into max_length wordpieces; None without two words."""
    tokenizer = tokenizer_of(predictor)
    words = text_words(text, tokenizer)
    fitting = int(np.searchsorted(words.starts, max_length - SPECIAL_TOKENS, side="right")) - 1
    if fitting < 2:
        return None
    text = text[: words.spans[min(fitting, len(words)) - 1][1]]
    batch = predictor.predict_batch([text])
    return Problem(text, text_words(text, tokenizer), int(batch.predicted[0]), predictor)
