"""Reads texts and labels from a tf.data dataset or any other iterable, without importing TensorFlow."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from textclf.errors import InputError

_EXPECTED = (
    "expected a dataset or another iterable of texts, of batches of texts, or of pairs (texts, labels) of either kind"
)


def texts_and_labels(dataset: Iterable[Any]) -> tuple[list[str], list[str | int | None]]:
    """All texts and their labels: class names, class ids, or None for texts without a label.

    Only a tuple of two is a pair; a list is a batch of texts. Bytes are UTF-8.

    Args:
        dataset: may yield tensors (with .numpy()), arrays, lists, str and bytes.

    Raises:
        InputError: if it yields another type, or is a single text, which would be read letter by letter.
    """
    if isinstance(dataset, str | bytes | dict) or not isinstance(dataset, Iterable):
        raise InputError(f"{_EXPECTED}, got {type(dataset).__name__}")
    texts: list[str] = []
    labels: list[str | int | None] = []
    for at, element in enumerate(dataset):
        is_pair = isinstance(element, tuple) and len(element) == 2
        batch = [_text(item, at) for item in _items(element[0] if is_pair else element)]
        given = [_label(item, at) for item in _items(element[1])] if is_pair else [None] * len(batch)
        if len(given) != len(batch):
            raise InputError(f"element {at}: expected a label for each text, got {len(given)} for {len(batch)}")
        texts += batch
        labels += given
    return texts, labels


def _items(batch: Any) -> list[Any]:
    """The items of a batch; a single item is a batch of one."""
    if hasattr(batch, "numpy"):
        batch = batch.numpy()
    if isinstance(batch, np.ndarray):
        batch = batch.tolist()
    return list(batch) if isinstance(batch, list | tuple) else [batch]


def _text(item: Any, at: int) -> str:
    if hasattr(item, "numpy"):
        item = item.numpy()
    if isinstance(item, bytes):
        try:
            return item.decode("utf-8")
        except UnicodeDecodeError as error:
            raise InputError(f"element {at}: not UTF-8 ({error.reason} at byte {error.start})") from None
    if not isinstance(item, str):
        raise InputError(f"{_EXPECTED}, got {type(item).__name__} in element {at}")
    return str(item)


def _label(item: Any, at: int) -> str | int | None:
    if hasattr(item, "numpy"):
        item = item.numpy()
    if isinstance(item, bytes | str):
        return _text(item, at)
    if item is None or (isinstance(item, int | np.integer) and not isinstance(item, bool)):
        return None if item is None else int(item)
    raise InputError(f"element {at}: expected class names or class ids as labels, got {item!r:.80}")
