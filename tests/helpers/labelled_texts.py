"""Labelled texts without near duplicates, for the tests of combining."""

from functools import cache

import numpy as np

from textclf.data.content_hash import content_digest, is_held_out
from textclf.data.labelled_reviews import LabelledReview
from textclf.data.splits import Split

CLASSES = ("neg", "pos")
SHARE = 0.2


@cache
def prose(number: int, words: int = 30) -> str:
    """Return a text for a number; texts of different numbers share almost no runs of words."""
    rng = np.random.default_rng(number)
    return " ".join(f"w{i}" for i in rng.integers(5000, size=words))


def texts_on_side(held: bool, count: int, start: int) -> list[str]:
    """Return the first texts from `start` that are (or are not) held out by default."""
    found: list[str] = []
    while len(found) < count:
        if is_held_out(content_digest(prose(start)), SHARE) == held:
            found.append(prose(start))
        start += 1
    return found


def with_last_words(text: str, tries: int, held: bool) -> str:
    """Return a near duplicate on the wanted side: the text with another last word."""
    variants = (f"{text} v{i}" for i in range(tries))
    return next(text for text in variants if is_held_out(content_digest(text), SHARE) == held)


def reviews(texts, label="pos", source=""):
    return [LabelledReview(text, label, source) for text in texts]


def split(texts, labels) -> Split:
    return Split(tuple(texts), np.array(labels, np.int32))
