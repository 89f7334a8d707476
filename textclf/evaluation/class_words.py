"""The words that the linear stage weights most for each class, from its hashed wordpieces."""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from textclf.runtime.linear_stage import LinearStage
from textclf.store.evaluation import ClassWord
from textclf.tokenization.text_tokenizer import TextTokenizer

MAX_WORDS = 12
# Words of fewer texts may be names, and their weights are mostly chance.
MIN_TEXTS = 5
# Training texts are in the order of their hashes, so the first ones are a fair sample.
MAX_TEXTS = 5000

_CONTINUATION = "##"


def class_words(
    linear: LinearStage, tokenizer: TextTokenizer, texts: Sequence[str]
) -> tuple[tuple[ClassWord, ...], ...]:
    """Up to MAX_WORDS words for each class, the most important first; each is in at least MIN_TEXTS of the texts.

    The weight of a word is the sum over its wordpieces and pairs of them, as the linear stage sums them. Its importance
    is the weight times the standard deviation of its presence in a text.

    Args:
        linear: linear stage of K classes.
        tokenizer: tokenizer of its wordpieces.
        texts: training texts; only the first MAX_TEXTS are read.
    """
    texts = texts[:MAX_TEXTS]
    continues, spellings = tokenizer.continues(), tokenizer.spellings()
    counts: Counter[tuple[int, ...]] = Counter()
    for text in tokenizer(list(texts)):
        counts.update(set(_words(text.wordpieces, continues)))
    frequent = (word for word, count in counts.items() if count >= MIN_TEXTS and tokenizer.unknown_id not in word)
    words = [word for word in frequent if any(map(str.isalnum, _spelled(word, spellings)))]
    if not words:
        return ((),) * linear.classes
    weights = linear(words) - linear([()])  # [words, K]
    shares = np.array([counts[word] for word in words]) / len(texts)
    importance = weights * np.sqrt(shares * (1 - shares))[:, None]
    found = []
    for class_id in range(linear.classes):
        best = np.argsort(-importance[:, class_id], kind="stable")[:MAX_WORDS]
        found.append(
            tuple(
                ClassWord(_spelled(words[at], spellings), float(weights[at, class_id]), counts[words[at]])
                for at in best
                if importance[at, class_id] > 0
            )
        )
    return tuple(found)


def _words(wordpieces: Sequence[int], continues: Sequence[bool]) -> list[tuple[int, ...]]:
    """The wordpieces of each word of a text."""
    words: list[tuple[int, ...]] = []
    for piece in wordpieces:
        if continues[piece] and words:
            words[-1] = (*words[-1], piece)
        else:
            words.append((piece,))
    return words


def _spelled(word: tuple[int, ...], spellings: Sequence[str]) -> str:
    return "".join(spellings[piece].removeprefix(_CONTINUATION) for piece in word)
