"""Scores texts of which each is on its own: one that is refused does not keep the others from their predictions."""

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

from textclf.errors import InputError, RuleError
from textclf.runtime.prediction import Prediction

# Maximum texts of a chunk, and the characters that end one; its texts are sorted by length and scored together.
CHUNK_TEXTS = 1024
CHUNK_CHARS = 4_000_000

_Item = TypeVar("_Item")


def chunks(items: Iterable[_Item], text_of: Callable[[_Item], str]) -> Iterator[list[_Item]]:
    """The items in lists of up to CHUNK_TEXTS; a list also ends when its texts have CHUNK_CHARS characters."""
    chunk: list[_Item] = []
    chars = 0
    for item in items:
        chunk.append(item)
        chars += len(text_of(item))
        if len(chunk) >= CHUNK_TEXTS or chars >= CHUNK_CHARS:
            yield chunk
            chunk, chars = [], 0
    if chunk:
        yield chunk


def predict_apart(
    texts: Sequence[str], predict: Callable[[list[str]], Sequence[Prediction]]
) -> Iterator[Prediction | InputError | RuleError]:
    """For each text its prediction, or the error that `predict` raises for it.

    The texts around one that fails are tried again, those after it in two halves. So one failure costs less than two
    more calls for all texts, and n failures log2(n).
    """
    if not texts:
        return
    try:
        found = predict(list(texts))
    except (InputError, RuleError) as error:
        failure = error
    else:
        yield from found
        return
    if len(texts) == 1:
        yield failure
        return
    position = getattr(failure, "position", None)
    if position is None:
        bounds = [0, len(texts) // 2, len(texts)]
    else:
        yield from predict_apart(texts[:position], predict)
        yield failure
        bounds = [position + 1, (position + 1 + len(texts)) // 2, len(texts)]
    for start, end in itertools.pairwise(bounds):
        yield from predict_apart(texts[start:end], predict)
