"""Cleans a part of a data set: repeats, contradictions, texts of other parts, and near duplicates."""

import dataclasses
from collections import Counter
from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass

import numpy as np

from textclf.config import DataOptions
from textclf.data.near_texts import NearTexts, can_find_near_texts, find_near_texts
from textclf.data.splits import Split, text_digest
from textclf.errors import DatasetError
from textclf.phases import announce
from textclf.tokenization.text_key import KeyFunction, TextKeys

# Share of repeated texts from which on the vocabulary may be the reason.
_MANY_REPEATS = 0.05
# Characters per second on two cores, of texts of a hundred words.
_NEAR_SPEED = 2e6


@dataclass(frozen=True, eq=False)
class Cleaned:
    """Distinct texts in order of their hash, and how many were left out, by the reason.

    `unknown_words` is the number of texts that differ from another one only in words that the encoder's vocabulary
    lacks; it is 0 unless many texts occur more than once.
    """

    split: Split
    duplicates: int
    conflicts: int
    in_test: int
    in_validation: int
    unknown_words: int = 0

    @property
    def note(self) -> str:
        """A sentence about many texts that the encoder can't tell apart; "" without them."""
        if not self.unknown_words:
            return ""
        return (
            f"{self.unknown_words:,} training texts differ from another one only in words that the vocabulary of the "
            f"encoder lacks: choose an encoder for the language of the texts"
        )


def clean(split: Split, keys_of: KeyFunction, in_test: Set[bytes], in_validation: Set[bytes] = frozenset()) -> Cleaned:
    """A part without repeats, contradictions, and texts with a key of another part.

    Equal texts count once, with the largest of their weights.
    """
    order = sorted(range(len(split)), key=lambda i: text_digest(split.texts[i]))
    keys = keys_of(split.texts)
    seen: dict[bytes, list[int]] = {}
    for i in order:
        seen.setdefault(keys[i], []).append(i)
    kept: list[int] = []
    left_out = Counter[str]()
    for key, members in seen.items():
        if key in in_test:
            left_out["in_test"] += len(members)
        elif key in in_validation:
            left_out["in_validation"] += len(members)
        elif len({int(split.labels[i]) for i in members}) > 1:
            left_out["conflicts"] += len(members)
        else:
            kept.append(members[0])
            left_out["duplicates"] += len(members) - 1
    reasons = ("duplicates", "conflicts", "in_test", "in_validation")
    unknown_words = 0
    if left_out["duplicates"] + left_out["conflicts"] > _MANY_REPEATS * len(split):
        unknown_words = max(0, len(set(TextKeys()(split.texts))) - len(seen))
    cleaned = split.chosen(kept)
    if split.weights is not None:
        # The order of the files must not decide which of several weights counts.
        weights = np.array([split.weights[seen[keys[i]]].max() for i in kept])
        cleaned = dataclasses.replace(cleaned, weights=weights)
    return Cleaned(cleaned, **{reason: left_out[reason] for reason in reasons}, unknown_words=unknown_words)


def count_conflicts(keys: Sequence[bytes], labels: np.ndarray) -> int:
    """Number of texts that occur with more than one label, by the key of each text."""
    found: dict[bytes, set[int]] = {}
    for key, label in zip(keys, labels.tolist(), strict=True):
        found.setdefault(key, set()).add(label)
    return sum(len(found[key]) > 1 for key in keys)


def exact_keys(texts: Iterable[str]) -> list[bytes]:
    """Keys of characters, without white space around a text, as earlier products compared texts."""
    return [text_digest(text.strip()) for text in texts]


def key_function(options: DataOptions, text_keys: KeyFunction | None) -> KeyFunction:
    """The rule by which texts are equal; for `text_keys` see textclf.data.datasets.load_dataset."""
    return exact_keys if options.equal_texts == "characters" else text_keys or TextKeys()


def near_texts(train: Split, test: Split | None, options: DataOptions) -> NearTexts | None:
    """The near duplicates of training texts; None if they are not searched.

    Raises:
        DatasetError: if options.near_duplicates is "drop", and the package for it is missing.
    """
    if options.near_duplicates == "ignore":
        return None
    if can_find_near_texts():
        announce("searching near duplicates", sum(map(len, train.texts)) / _NEAR_SPEED)
        return find_near_texts(train.texts, () if test is None else test.texts)
    if options.near_duplicates == "drop":
        raise DatasetError(
            "expected the package datasketch to search near duplicates, found none; install the extra `train`, or "
            "pass --near-duplicates count"
        )
    return None
