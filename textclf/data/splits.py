"""Stratified splits decided by what the texts say: the same texts give the same split in whatever order they come."""

import hashlib
from collections.abc import Sequence

import numpy as np

from textclf.errors import DatasetError


def text_digest(text: str) -> bytes:
    """The SHA-256 of a text in UTF-8, 32 bytes."""
    return hashlib.sha256(text.encode("utf-8")).digest()


def hold_out(
    digests: Sequence[bytes], labels: np.ndarray, share: float, seed: int, *, least: int = 1, rest: int = 1
) -> np.ndarray:
    """Which texts are held out: a stratified share of each class.

    Within a class the texts are ranked by the hash of seed and text, and the first ones are taken. So
    a split depends on seed and texts only, and texts that are added later leave most others where they
    were.

    Args:
        digests: text_digest of each text, all distinct, [n].
        labels: class ids, [n].
        share: of the texts that is held out, in all and (rounded) of each class.
        seed: another one gives another split.
        least: texts of each class that are held out at least.
        rest: texts of each class that are left at least.

    Returns:
        True where a text is held out, bool [n].

    Raises:
        ValueError: a class has fewer than least + rest texts.
    """
    classes, counts = np.unique(labels, return_counts=True)
    taken = np.zeros(len(labels), bool)
    salt = str(seed).encode()
    for class_id, size in zip(classes, _sizes(counts, share, least, rest), strict=True):
        members = np.flatnonzero(labels == class_id)
        ranked = sorted(members.tolist(), key=lambda i: hashlib.sha256(salt + b":" + digests[i]).digest())
        taken[ranked[:size]] = True
    return taken


def _sizes(counts: np.ndarray, share: float, least: int, rest: int) -> np.ndarray:
    """How many of each class are taken, int [K]: largest remainders, so that the total is right too."""
    if np.any(counts < least + rest):
        raise ValueError(f"expected at least {least + rest} texts of each class, got {counts.min()}")
    quotas = counts * share
    sizes: np.ndarray = np.floor(quotas).astype(int)
    missing = round(quotas.sum()) - sizes.sum()
    sizes[np.argsort(sizes - quotas, kind="stable")[:missing]] += 1
    bounded: np.ndarray = np.clip(sizes, least, counts - rest)
    return bounded


def check_class_sizes(labels: np.ndarray, class_names: Sequence[str], needed: int, source: object) -> None:
    """Refuse a class that is too small to stand in every split.

    Raises:
        DatasetError: a class has fewer than `needed` distinct texts; it is named.
    """
    counts = np.bincount(labels, minlength=len(class_names))
    small = [f"{name!r} has {count}" for name, count in zip(class_names, counts, strict=True) if count < needed]
    if small:
        raise DatasetError(
            f"{source}: expected at least {needed} distinct training texts of every class, one for each split, but "
            f"{', '.join(small[:5])}{' …' if len(small) > 5 else ''}; add texts, remove the class, or merge it "
            f"into another with --rename-label OLD=NEW"
        )
