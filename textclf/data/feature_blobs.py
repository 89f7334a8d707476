"""The features of one text in a few hundred bytes, and back: what a row of the prediction log holds of them.

Little-endian throughout:

    header      format u8, wordpieces before truncation u32, rates f32 x 3 (unknown, continuation, non-letter),
                class id u16, classes K u16, directions D u16 (0: no embedding), different wordpieces N u32,
                bytes of an id u8 (2 or 4), bytes of a count u8 (1 or 4)
    ids, counts, logits f32 x K, embedding f32 x D
    checksum    CRC-32 of all before, u32
"""

import struct
import zlib
from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from textclf.errors import PredictionLogError
from textclf.features import TextFeatures, WordCounts

FORMAT = 1

_HEADER = struct.Struct("<BIfffHHHIBB")
_CHECKSUM = struct.Struct("<I")
_ID_TYPES = {2: "<u2", 4: "<u4"}
_COUNT_TYPES = {1: "<u1", 4: "<u4"}
_FLOAT = "<f4"


class _DamagedError(Exception):
    """A blob is none that encode_features made."""


def encode_features(features: TextFeatures) -> list[bytes]:
    """A blob for each of n texts."""
    words, embeddings = features.words, features.embeddings
    id_bytes = 2 if words.ids.max(initial=0) < 2**16 else 4
    count_bytes = 1 if words.counts.max(initial=0) < 2**8 else 4
    ids = words.ids.astype(_ID_TYPES[id_bytes]).tobytes()
    counts = words.counts.astype(_COUNT_TYPES[count_bytes]).tobytes()
    logits = features.logits.astype(_FLOAT)  # [n, K]
    pooled = np.empty((len(features), 0), _FLOAT) if embeddings is None else embeddings.astype(_FLOAT)  # [n, D]
    offsets = words.offsets.tolist()
    columns = zip(
        features.lengths.tolist(),
        features.unknown_rates.tolist(),
        features.continuation_rates.tolist(),
        features.non_letter_rates.tolist(),
        features.predicted.tolist(),
        strict=True,
    )
    blobs = []
    for row, values in enumerate(columns):
        start, end = offsets[row], offsets[row + 1]
        body = b"".join(
            (
                _HEADER.pack(FORMAT, *values, logits.shape[1], pooled.shape[1], end - start, id_bytes, count_bytes),
                ids[start * id_bytes : end * id_bytes],
                counts[start * count_bytes : end * count_bytes],
                logits[row].tobytes(),
                pooled[row].tobytes(),
            )
        )
        blobs.append(body + _CHECKSUM.pack(zlib.crc32(body)))
    return blobs


def decode_features(blobs: Sequence[object], names: Sequence[str]) -> tuple[TextFeatures | None, dict[int, str]]:
    """The features of those of n texts that are whole, and what is wrong with the others.

    Args:
        blobs: as encode_features makes them.
        names: of each, for messages.

    Returns:
        The features, in the order of the blobs, without embeddings if one has none; None where no blob is whole. And
        by the positions of the others, those that are damaged or of another model than most, a sentence that names
        them.

    Raises:
        PredictionLogError: one is of a newer format; names it.
    """
    rows: dict[int, _Row] = {}
    failures: dict[int, str] = {}
    for position, (blob, name) in enumerate(zip(blobs, names, strict=True)):
        try:
            rows[position] = _decoded(blob, name)
        except _DamagedError as error:
            failures[position] = str(error)
    classes = {position: len(row[3]) for position, row in rows.items()}
    most = max(Counter(classes.values()).items(), key=lambda item: item[1], default=(0, 0))[0]
    one = next((names[position] for position, count in classes.items() if count == most), "")
    for position, count in classes.items():
        if count != most:
            failures[position] = (
                f"{names[position]}: expected logits of {most} classes as in {one}, got {count}: rows of different "
                f"models under one version id; remove those of one"
            )
    whole = [row for position, row in rows.items() if position not in failures]
    return _stacked(whole) if whole else None, dict(sorted(failures.items()))


def _stacked(rows: Sequence["_Row"]) -> TextFeatures:
    headers, ids, counts, logits, pooled = zip(*rows, strict=True)
    directions = {len(values) for values in pooled}
    lengths, unknown, continuation, non_letter, predicted = np.array(headers, np.float64).T
    return TextFeatures(
        lengths=lengths.astype(np.int64),
        unknown_rates=unknown.astype(np.float32),
        continuation_rates=continuation.astype(np.float32),
        non_letter_rates=non_letter.astype(np.float32),
        words=WordCounts(
            np.concatenate([[0], np.cumsum([len(row) for row in ids])]).astype(np.int64),
            np.concatenate(ids).astype(np.int32),
            np.concatenate(counts).astype(np.int32),
        ),
        logits=np.stack(logits).astype(np.float32),
        predicted=predicted.astype(np.int64),
        embeddings=None if len(directions) > 1 or 0 in directions else np.stack(pooled).astype(np.float32),
    )


_Row = tuple[
    tuple[float, ...],
    NDArray[np.unsignedinteger],
    NDArray[np.unsignedinteger],
    NDArray[np.float32],
    NDArray[np.float32],
]


def _decoded(blob: object, name: str) -> _Row:
    """Header (length, rates, class id), ids, counts, logits and embedding of a text."""
    if not isinstance(blob, bytes):
        raise _damaged(name)
    end = len(blob) - _CHECKSUM.size
    if end < _HEADER.size or _CHECKSUM.unpack_from(blob, end)[0] != zlib.crc32(blob[:end]):
        raise _damaged(name)
    if blob[0] != FORMAT:
        raise PredictionLogError(
            f"{name}: its features are in format {blob[0]}, this version of the software reads {FORMAT}; update it"
        )
    _, length, *rates, predicted, classes, directions, entries, id_bytes, count_bytes = _HEADER.unpack_from(blob)
    if id_bytes not in _ID_TYPES or count_bytes not in _COUNT_TYPES:
        raise _damaged(name)
    parts, start = [], _HEADER.size
    for type_name, size in (
        (_ID_TYPES[id_bytes], entries),
        (_COUNT_TYPES[count_bytes], entries),
        (_FLOAT, classes),
        (_FLOAT, directions),
    ):
        kind = np.dtype(type_name)
        stop = start + kind.itemsize * size
        if stop > end:
            raise _damaged(name)
        parts.append(np.frombuffer(blob, kind, size, start))
        start = stop
    ids, counts, logits, pooled = parts
    if start != end or not counts.all():
        raise _damaged(name)
    return (length, *rates, predicted), ids, counts, logits, pooled


def _damaged(name: str) -> _DamagedError:
    return _DamagedError(f"{name}: its features are damaged; remove the row, or restore the log from a copy")
