"""Which words speak for and against each class in many texts."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from textclf.explain.explanation import Explanation
from textclf.explain.printable import printable


@dataclass(frozen=True)
class WordMean:
    """A word in many texts.

    Attributes:
        word: in lower case.
        mean: mean of its value in the texts that contain it; a text's value is the sum over the word's places.
        texts: number of these texts.
    """

    word: str
    mean: float
    texts: int


class WordSummary:
    """Collects the values of words over explanations with the same classes.

    Args:
        class_names: classes of the values.
    """

    def __init__(self, class_names: Sequence[str]) -> None:
        self.class_names = tuple(class_names)
        self.texts = 0
        self._sums: dict[str, NDArray[np.float64]] = defaultdict(lambda: np.zeros(len(self.class_names)))
        self._counts: dict[str, int] = defaultdict(int)

    def add(self, explanation: Explanation) -> None:
        """Take an explanation into account; words without a letter or digit are left out."""
        self.texts += 1
        of_text: dict[str, NDArray[np.float64]] = {}
        for word, row in zip(explanation.words, explanation.values, strict=True):
            if any(map(str.isalnum, word)):
                key = word.casefold()
                of_text[key] = of_text[key] + row if key in of_text else row
        for word, row in of_text.items():
            self._sums[word] = self._sums[word] + row
            self._counts[word] += 1

    def strongest(self, class_name: str, max_words: int = 15) -> tuple[list[WordMean], list[WordMean]]:
        """The words with the largest and those with the lowest sums of values for a class, strongest first.

        A word with the largest sum has a large mean, or is in many texts. Words of one text count only if no word is in
        two.
        """
        column = self.class_names.index(class_name)
        min_texts = min(2, max(self._counts.values(), default=1))
        sums = [(float(row[column]), word) for word, row in self._sums.items() if self._counts[word] >= min_texts]
        above = sorted((-total, word) for total, word in sums if total > 0)[:max_words]
        below = sorted((total, word) for total, word in sums if total < 0)[:max_words]
        return (
            [WordMean(word, -total / self._counts[word], self._counts[word]) for total, word in above],
            [WordMean(word, total / self._counts[word], self._counts[word]) for total, word in below],
        )

    def described(self) -> str:
        """Lines for people: for each class the strongest words for and against it."""
        lines = [f"texts: {self.texts}; mean value of a word in the texts that contain it, and number of these texts"]
        for name in self.class_names:
            for title, words in zip(("for", "against"), self.strongest(name), strict=True):
                found = ", ".join(f"{printable(one.word)} {one.mean:+.3f} ({one.texts})" for one in words)
                lines.append(f"{title} {name}: {found or 'no words'}")
        return "\n".join(lines)
