"""Texts for the servers: test texts, fitted to the maximum length of the model, and short texts of one length.

Every server gets the same characters, and no server has to truncate. A peer with another way to truncate would lose
accuracy for a reason other than serving.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.errors import BenchError
from textclf.config import DataOptions
from textclf.data.dataset_layout import find_parts
from textclf.data.readers import read_part
from textclf.store.manifest import Manifest

SPECIAL_TOKENS = 2  # [CLS] and [SEP]
# Tokenizers differ by one or two wordpieces on 1% of the texts.
_MARGIN = 4
_GOLDEN_RATIO = (5**0.5 - 1) / 2

# Counts the wordpieces of each word, without special tokens.
CountWordpieces = Callable[[Sequence[str]], list[int]]


@dataclass(frozen=True)
class LabelledText:
    """Text and its class name."""

    text: str
    label: str


def sample_of_test_texts(dataset_path: Path, manifest: Manifest, count: int, seed: int = 0) -> list[LabelledText]:
    """Draw `count` test texts in random order, the same for the same seed.

    Raises:
        DatasetError: if there is no data set.
        BenchError: if the data set has no test part, fewer texts in it, or other classes than the model.
    """
    layout = find_parts(dataset_path)
    if not layout.test:
        raise BenchError(
            f"{dataset_path}: expected a data set with a test part, found none; accuracy is measured on it"
        )
    part = read_part(layout.test, DataOptions())
    if set(part.label_counts) != set(manifest.class_names):
        raise BenchError(
            f"{dataset_path}: expected the model's classes, {', '.join(manifest.class_names)}, "
            f"got {', '.join(sorted(part.label_counts))}"
        )
    if len(part.texts) < count:
        raise BenchError(f"{dataset_path}: expected {count} test texts, found {len(part.texts)}; ask for fewer")
    texts = [LabelledText(*pair) for pair in zip(part.texts, part.labels, strict=True)]
    return random.Random(seed).sample(texts, count)  # noqa: S311


def fit(text: str, manifest: Manifest, wordpieces: CountWordpieces) -> str:
    """Return the text, or the words at its beginning and end that the version's truncation keeps."""
    words = text.split()
    costs = wordpieces(words)
    capacity = manifest.max_length - SPECIAL_TOKENS - _MARGIN
    if sum(costs) <= capacity:
        return text
    head_capacity = capacity if manifest.truncation == "head" else int(capacity * manifest.head_fraction)
    head = _fitting(costs, head_capacity)
    tail = _fitting(costs[::-1], capacity - head_capacity)
    return " ".join(words[:head] + words[len(words) - tail :])


def in_even_order(texts: Sequence[str]) -> list[str]:
    """Order the texts so that every beginning has about the same distribution of lengths.

    A slow server gets fewer texts in the same time; they should have the same lengths. Text k is at the fraction
    (k · golden ratio) mod 1 of the texts by length: the Weyl sequence with the smallest gaps.
    """
    by_length = sorted(texts, key=len)
    fractions = [k * _GOLDEN_RATIO % 1 for k in range(len(texts))]
    ranks = {k: rank for rank, k in enumerate(sorted(range(len(texts)), key=fractions.__getitem__))}
    return [by_length[ranks[k]] for k in range(len(texts))]


def short_texts(texts: Sequence[str], tokens: int, max_texts: int, wordpieces: CountWordpieces) -> list[str]:
    """Return up to `max_texts` beginnings of texts with exactly `tokens` wordpieces, [CLS] and [SEP] included.

    Raises:
        BenchError: if no text has such a beginning.
    """
    found: dict[str, None] = {}
    for text in texts:
        words = text.split()[:tokens]
        costs = wordpieces(words)
        size = _fitting(costs, tokens - SPECIAL_TOKENS)
        if sum(costs[:size]) == tokens - SPECIAL_TOKENS and len(found) < max_texts:
            found[" ".join(words[:size])] = None
    if not found:
        raise BenchError(f"expected a text that begins with {tokens} wordpieces, found none in {len(texts)}; take more")
    return list(found)


def pieces_of_texts(texts: Sequence[str], tokens: int, wordpieces: CountWordpieces) -> list[str]:
    """Return distinct pieces of the texts, one after the other, of up to `tokens` wordpieces with [CLS] and [SEP]."""
    found: dict[str, None] = {}
    for text in texts:
        words = text.split()
        costs = wordpieces(words)
        while words:
            size = max(1, _fitting(costs, tokens - SPECIAL_TOKENS))
            found[" ".join(words[:size])] = None
            words, costs = words[size:], costs[size:]
    return list(found)


def repeated_texts(pieces: Sequence[str], frequent: int, share: float, seed: int = 0) -> list[str]:
    """Return the pieces in random order, with one of the first `frequent` pieces instead of a share of them.

    Raises:
        BenchError: if there are not more pieces than frequent ones.
    """
    if len(pieces) <= frequent:
        raise BenchError(f"expected more than {frequent} pieces of texts, found {len(pieces)}; take more texts")
    draw = random.Random(seed)  # noqa: S311
    shuffled = draw.sample(pieces, len(pieces))
    often, once = shuffled[:frequent], shuffled[frequent:]
    texts = []
    while once:
        texts.append(draw.choice(often) if draw.random() < share else once.pop())
    return texts


def _fitting(costs: Sequence[int], capacity: int) -> int:
    """Return how many of the first words cost at most `capacity` together."""
    for size, cost in enumerate(costs):
        capacity -= cost
        if capacity < 0:
            return size
    return len(costs)
