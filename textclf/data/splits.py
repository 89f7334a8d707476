"""Stratified splits by text hash: the same texts give the same split, in any order."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from textclf.errors import DatasetError

# Share of the training texts that are also test texts from which on the test part is the training part.
_TOTAL_LEAK = 0.9


@dataclass(frozen=True, eq=False)
class Split:
    """n unchanged texts, and what is known of each.

    Attributes:
        texts: the texts.
        labels: class ids, which are positions in Dataset.class_names, int32 [n].
        weights: how much each text counts in a training, float64 [n]; None if all count the same.
        taught: probabilities that teachers give each text, float32 [n, classes], NaN for a text that no teacher knows;
            None without teachers.
    """

    texts: tuple[str, ...]
    labels: np.ndarray
    weights: np.ndarray | None = None
    taught: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.texts)

    def chosen(self, members: Sequence[int] | np.ndarray) -> "Split":
        """The texts at these positions."""
        weights = None if self.weights is None else self.weights[members]
        taught = None if self.taught is None else self.taught[members]
        return Split(tuple(self.texts[i] for i in members), self.labels[members], weights, taught)

    def joined(self, *others: "Split") -> "Split":
        """The texts of this split, then those of the others."""
        splits = (self, *others)
        taught = None
        if (known := next((split.taught for split in splits if split.taught is not None), None)) is not None:
            unknown = np.full(known.shape[1], np.nan, np.float32)
            taught = np.concatenate([np.tile(unknown, (len(s), 1)) if s.taught is None else s.taught for s in splits])
        texts = tuple(text for split in splits for text in split.texts)
        return Split(texts, np.concatenate([split.labels for split in splits]), joined_weights(splits), taught)

    def divided(self, share: float, seed: int, *, min_held: int = 1, min_rest: int = 1) -> tuple["Split", "Split"]:
        """The split without a stratified share of its texts, and that share; for the arguments see hold_out()."""
        digests = [text_digest(text) for text in self.texts]
        held = hold_out(digests, self.labels, share, seed, min_held=min_held, min_rest=min_rest)
        return self.chosen(np.flatnonzero(~held)), self.chosen(np.flatnonzero(held))


def joined_weights(splits: Sequence[Split]) -> np.ndarray | None:
    """The weights of the texts of several splits, float64 [n]; None if no split has any.

    A text of a split without weights counts as much as the mean text that has one, whatever the scale of the weights.
    """
    known = [split.weights for split in splits if split.weights is not None]
    if not known:
        return None
    mean = np.concatenate(known).mean()
    return np.concatenate([np.full(len(s), mean) if s.weights is None else s.weights for s in splits])


def text_digest(text: str) -> bytes:
    """The SHA-256 of a text in UTF-8, 32 bytes."""
    return hashlib.sha256(text.encode("utf-8")).digest()


def hold_out(
    digests: Sequence[bytes], labels: np.ndarray, share: float, seed: int, *, min_held: int = 1, min_rest: int = 1
) -> np.ndarray:
    """Hold out a stratified share of each class: bool [n], True for a text that is held out.

    Within a class the texts are ranked by the hash of seed and text, and the first ones are held out. A split depends
    on the seed and the texts only, and adding texts moves few others to the other side.

    Args:
        digests: text_digest of each text, all distinct, [n].
        labels: class ids, [n].
        share: share of the texts to hold out, in total and (rounded) of each class.
        min_held: smallest number of texts per class to hold out.
        min_rest: smallest number of texts per class to leave.

    Raises:
        ValueError: if a class has fewer than min_held + min_rest texts.
    """
    classes, counts = np.unique(labels, return_counts=True)
    taken = np.zeros(len(labels), bool)
    salt = str(seed).encode()
    for class_id, size in zip(classes, _sizes(counts, share, min_held, min_rest), strict=True):
        members = np.flatnonzero(labels == class_id)
        ranked = sorted(members.tolist(), key=lambda i: hashlib.sha256(salt + b":" + digests[i]).digest())
        taken[ranked[:size]] = True
    return taken


def _sizes(counts: np.ndarray, share: float, min_held: int, min_rest: int) -> np.ndarray:
    """Texts to hold out of each class, int [K], by largest remainders, so that the total is right, too."""
    if np.any(counts < min_held + min_rest):
        raise ValueError(f"expected at least {min_held + min_rest} texts of each class, got {counts.min()}")
    quotas = counts * share
    sizes: np.ndarray = np.floor(quotas).astype(int)
    missing = round(quotas.sum()) - sizes.sum()
    sizes[np.argsort(sizes - quotas, kind="stable")[:missing]] += 1
    bounded: np.ndarray = np.clip(sizes, min_held, counts - min_rest)
    return bounded


def check_class_sizes(
    labels: np.ndarray,
    class_names: Sequence[str],
    needed: int,
    source: object,
    left_out: Mapping[str, int],
    remedy: str = "",
) -> None:
    """Refuse a class that is too small for every split to have a text of it.

    `left_out` has the numbers of training texts that cleaning removed, by the reason; `remedy` is what to do instead
    of adding texts.

    Raises:
        DatasetError: if a class has fewer than `needed` distinct texts; the message names it.
    """
    counts = np.bincount(labels, minlength=len(class_names))
    small = [f"{name!r} has {count}" for name, count in zip(class_names, counts, strict=True) if count < needed]
    if small:
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in left_out.items() if count)
        raise DatasetError(
            f"{source}: expected at least {needed} distinct training texts of every class, one for each split, but "
            f"{', '.join(small[:5])}{' …' if len(small) > 5 else ''}{f' (left out: {reasons})' if reasons else ''}; "
            f"{remedy or 'add texts, remove the class, or merge it into another with --rename-label OLD=NEW'}"
        )


def leak_remedy(in_test: int, read: int) -> str:
    """The remedy if nearly all of the `read` training texts are also in the test part; "" if they are not."""
    if in_test < _TOTAL_LEAK * read:
        return ""
    return (
        f"the test part has the training texts themselves ({in_test:,} of {read:,}; case and spacing do not count): "
        f"give another test part, or remove it from the data set, or pass --no-test, which leaves it out"
    )


def check_validation_sizes(labels: np.ndarray, class_names: Sequence[str], source: object) -> None:
    """Refuse a validation part with a class that is too small for both halves to have a text of it.

    Raises:
        DatasetError: if a class has fewer than two distinct texts; the message names it.
    """
    counts = np.bincount(labels, minlength=len(class_names))
    small = [f"{name!r} has {count}" for name, count in zip(class_names, counts, strict=True) if count < 2]
    if small:
        raise DatasetError(
            f"{source}: expected at least 2 distinct validation texts of every class that are not in the test part, "
            f"one to select the epoch and one to calibrate, but {', '.join(small[:5])}{' …' if len(small) > 5 else ''};"
            f" add texts, or split validation texts off the training texts with --no-validation-part"
        )
