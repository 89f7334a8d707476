"""Encode the features of one text in a few hundred bytes for a row of the prediction log, and decode them.

All numbers are little-endian:

    header      format u8, stage u8, disagreement u8 (0, 1; 255: unknown),
                wordpieces before truncation u32, rates f32 x 3 (unknown, continuation, non-letter),
                class id u16, classes K u16, directions D u16 (0: no embedding), different wordpieces N u32,
                bytes of an id u8 (2 or 4), bytes of a count u8 (1 or 4); format 1 has neither stage nor disagreement
    ids, counts, logits f32 x K, embedding f32 x D
    checksum    CRC-32 of everything before it, u32
"""

import struct
import zlib
from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from textclf.drift.features import Stage, TextFeatures, TokenCounts
from textclf.errors import PredictionLogError

FORMAT = 2

_START = struct.Struct("<BBB")
_HEADER = struct.Struct("<IfffHHHIBB")
UNKNOWN = 255
DISAGREEMENT_BYTE = 2
_DIFFERS = (0, 1, UNKNOWN)
_CHECKSUM = struct.Struct("<I")
_ID_TYPES = {2: "<u2", 4: "<u4"}
_COUNT_TYPES = {1: "<u1", 4: "<u4"}
_FLOAT = "<f4"


class _DamagedError(Exception):
    """Raised for a blob that encode_features did not write."""


def encode_features(features: TextFeatures) -> list[bytes]:
    """A blob for each of n texts."""
    words, embeddings = features.words, features.embeddings
    id_bytes = 2 if words.ids.max(initial=0) < 2**16 else 4
    count_bytes = 1 if words.counts.max(initial=0) < 2**8 else 4
    ids = words.ids.astype(_ID_TYPES[id_bytes]).tobytes()
    counts = words.counts.astype(_COUNT_TYPES[count_bytes]).tobytes()
    logits = features.logits.astype(_FLOAT)  # [n, K]
    pooled = np.empty((len(features), 0), _FLOAT) if embeddings is None else embeddings.astype(_FLOAT)  # [n, D]
    has_embedding = np.asarray(np.isfinite(pooled).all(axis=1))
    stages = [int(Stage.ALONE)] * len(features) if features.stages is None else features.stages.tolist()
    disagreements = np.full(len(features), np.nan) if features.disagreements is None else features.disagreements
    differ = np.where(np.isnan(disagreements), UNKNOWN, disagreements).astype(np.uint8).tolist()
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
        directions = pooled.shape[1] if has_embedding[row] else 0
        body = b"".join(
            (
                _START.pack(FORMAT, stages[row], differ[row]),
                _HEADER.pack(*values, logits.shape[1], directions, end - start, id_bytes, count_bytes),
                ids[start * id_bytes : end * id_bytes],
                counts[start * count_bytes : end * count_bytes],
                logits[row].tobytes(),
                pooled[row, :directions].tobytes(),
            )
        )
        blobs.append(body + _CHECKSUM.pack(zlib.crc32(body)))
    return blobs


def decode_features(blobs: Sequence[object], names: Sequence[str]) -> tuple[TextFeatures | None, dict[int, str]]:
    """Decode n blobs of encode_features, leaving out damaged ones; `names` are their names in messages.

    Returns:
        The features in the order of the blobs, or None if every blob is damaged; and a sentence for each blob that
        was left out, by its position. Blobs with another number of classes than the majority are left out as well.

    Raises:
        PredictionLogError: if a blob has a newer format.
    """
    rows: dict[int, _Row] = {}
    failures: dict[int, str] = {}
    for position, (blob, name) in enumerate(zip(blobs, names, strict=True)):
        try:
            rows[position] = _decoded(blob, name)
        except _DamagedError as error:
            failures[position] = str(error)
    classes = {position: len(row[3]) for position, row in rows.items()}
    usual = max(Counter(classes.values()).items(), key=lambda item: item[1], default=(0, 0))[0]
    example = next((names[position] for position, count in classes.items() if count == usual), "")
    for position, count in classes.items():
        if count != usual:
            failures[position] = (
                f"{names[position]}: expected logits of {usual} classes as in {example}, got {count}: two models "
                f"logged under one version id; remove the rows of one of them"
            )
    whole = [row for position, row in rows.items() if position not in failures]
    return _stacked(whole) if whole else None, dict(sorted(failures.items()))


def _stacked(rows: Sequence["_Row"]) -> TextFeatures:
    headers, ids, counts, logits, pooled = zip(*rows, strict=True)
    stages, differ, lengths, unknown, continuation, non_letter, predicted = np.array(headers, np.float64).T
    is_unknown = differ == UNKNOWN
    return TextFeatures(
        lengths=lengths.astype(np.int64),
        unknown_rates=unknown.astype(np.float32),
        continuation_rates=continuation.astype(np.float32),
        non_letter_rates=non_letter.astype(np.float32),
        words=TokenCounts(
            np.concatenate([[0], np.cumsum([len(row) for row in ids])]).astype(np.int64),
            np.concatenate(ids).astype(np.int32),
            np.concatenate(counts).astype(np.int32),
        ),
        logits=np.stack(logits).astype(np.float32),
        predicted=predicted.astype(np.int64),
        embeddings=_embeddings(pooled),
        stages=stages.astype(np.int64) if (stages != Stage.ALONE).any() else None,
        disagreements=None if is_unknown.all() else np.where(is_unknown, np.nan, differ).astype(np.float32),
    )


def _embeddings(pooled: Sequence[NDArray[np.float32]]) -> NDArray[np.float32] | None:
    """Embeddings [n, D], NaN for texts without one; None if no text has one or their projections differ."""
    directions = {len(values) for values in pooled} - {0}
    if len(directions) != 1:
        return None
    missing = np.full(directions.pop(), np.nan, np.float32)
    return np.stack([values if len(values) else missing for values in pooled]).astype(np.float32)


_Ids = NDArray[np.unsignedinteger]
_Row = tuple[tuple[float, ...], _Ids, _Ids, NDArray[np.float32], NDArray[np.float32]]


def _decoded(blob: object, name: str) -> _Row:
    """Decode header (stage, disagreement, length, rates, class id), ids, counts, logits and embedding of a text."""
    if not isinstance(blob, bytes):
        raise _damaged(name)
    end = len(blob) - _CHECKSUM.size
    if end < _HEADER.size or _CHECKSUM.unpack_from(blob, end)[0] != zlib.crc32(blob[:end]):
        raise _damaged(name)
    if not 1 <= blob[0] <= FORMAT:
        raise PredictionLogError(
            f"{name}: its features are in format {blob[0]}, but this version of the software reads up to {FORMAT}; "
            f"update it"
        )
    stage, differs, at = (Stage.ALONE, UNKNOWN, 1) if blob[0] == 1 else (blob[1], blob[2], _START.size)
    start = at + _HEADER.size
    if start > end:
        raise _damaged(name)
    length, *rates, predicted, classes, directions, entries, id_bytes, count_bytes = _HEADER.unpack_from(blob, at)
    if id_bytes not in _ID_TYPES or count_bytes not in _COUNT_TYPES or stage > max(Stage) or differs not in _DIFFERS:
        raise _damaged(name)
    parts = []
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
    return (stage, differs, length, *rates, predicted), ids, counts, logits, pooled


def _damaged(name: str) -> _DamagedError:
    return _DamagedError(f"{name}: its features are damaged; remove the row, or restore the log from a backup")
