"""What the servers are asked: test texts, fitted to what the model reads, and short ones of one length.

Every server gets the same characters, and none of them has to cut any: a peer that cuts otherwise than the model
was trained with would be wrong more often for a reason that has nothing to do with how it serves.
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
# Tokenizers differ in a wordpiece or two on one text in a hundred.
_MARGIN = 4
_GOLDEN_RATIO = (5**0.5 - 1) / 2

# The wordpieces of each word, special tokens not counted.
CountWordpieces = Callable[[Sequence[str]], list[int]]


@dataclass(frozen=True)
class LabelledText:
    """A text and its class name."""

    text: str
    label: str


def sample_of_test_texts(dataset_path: Path, manifest: Manifest, count: int, seed: int = 0) -> list[LabelledText]:
    """`count` test texts, the same for the same seed, in random order.

    Raises:
        DatasetError: there is no data set.
        BenchError: it has no test part, or too few texts in it, or other classes than the model.
    """
    layout = find_parts(dataset_path)
    if layout.test is None:
        raise BenchError(f"{dataset_path}: expected a data set with a test part; accuracy is measured on nothing else")
    part = read_part(layout.test, DataOptions())
    if part.classes != set(manifest.class_names):
        raise BenchError(
            f"{dataset_path}: expected the model's classes, {', '.join(manifest.class_names)}, "
            f"got {', '.join(sorted(part.classes))}"
        )
    if len(part.texts) < count:
        raise BenchError(f"{dataset_path}: expected {count} test texts, found {len(part.texts)}; ask for fewer")
    texts = [LabelledText(*pair) for pair in zip(part.texts, part.labels, strict=True)]
    return random.Random(seed).sample(texts, count)  # noqa: S311


def fit(text: str, manifest: Manifest, wordpieces: CountWordpieces) -> str:
    """The text as it is, if the model reads it whole; else the words at its beginning and end that the model reads.

    The beginning and end are those that the version's own truncation keeps, to the word.
    """
    words = text.split()
    costs = wordpieces(words)
    room = manifest.max_length - SPECIAL_TOKENS - _MARGIN
    if sum(costs) <= room:
        return text
    head_room = room if manifest.truncation == "head" else int(room * manifest.head_fraction)
    head = _fitting(costs, head_room)
    tail = _fitting(costs[::-1], room - head_room)
    return " ".join(words[:head] + words[len(words) - tail :])


def in_even_order(texts: Sequence[str]) -> list[str]:
    """The texts in an order of which any beginning has about the lengths of the whole.

    A slow server is asked fewer of them in the same time, and they should be neither longer nor shorter ones. Text k is
    the one at the fraction (k · golden ratio) mod 1 of the texts by length: the additive recurrence that leaves the
    smallest gaps (Weyl sequence).
    """
    by_length = sorted(texts, key=len)
    fractions = [k * _GOLDEN_RATIO % 1 for k in range(len(texts))]
    ranks = {k: rank for rank, k in enumerate(sorted(range(len(texts)), key=fractions.__getitem__))}
    return [by_length[ranks[k]] for k in range(len(texts))]


def short_texts(texts: Sequence[str], tokens: int, most: int, wordpieces: CountWordpieces) -> list[str]:
    """Beginnings of the texts that have exactly `tokens` wordpieces, [CLS] and [SEP] included; at most `most`.

    Raises:
        BenchError: the texts give none.
    """
    found: dict[str, None] = {}
    for text in texts:
        words = text.split()[:tokens]
        costs = wordpieces(words)
        size = _fitting(costs, tokens - SPECIAL_TOKENS)
        if sum(costs[:size]) == tokens - SPECIAL_TOKENS and len(found) < most:
            found[" ".join(words[:size])] = None
    if not found:
        raise BenchError(f"expected a text that begins with {tokens} wordpieces, found none in {len(texts)}; take more")
    return list(found)


def _fitting(costs: Sequence[int], room: int) -> int:
    """How many of the first words cost at most `room` together."""
    for size, cost in enumerate(costs):
        room -= cost
        if room < 0:
            return size
    return len(costs)
