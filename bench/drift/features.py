"""Features of the benchmark's texts, computed once by a version's engine and cached in the working folder.

The cache contains the pooled outputs in full width. They are projected later, on directions fitted to training texts
(textclf.drift.reference).
"""

import dataclasses
import hashlib
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.drift.texts import LabelledTexts
from bench.errors import BenchError
from textclf.drift.features import TextFeatures, TokenCounts
from textclf.errors import InputError
from textclf.files import atomic_file
from textclf.runtime.feature_extraction import features_of, wordpieces_of
from textclf.runtime.predictor import Predictor

_FORMAT = 2
_BLOCK = 500
_WORDS = ("offsets", "ids", "counts")


@dataclass(frozen=True, eq=False)
class ScoredTexts:
    """Features and labels of n texts.

    Attributes:
        features: features without embeddings.
        pooled: pooled output of the encoder, float32 [n, width].
        labels: class names, [n].
        made_of: digest of the texts, their labels and the version.
    """

    features: TextFeatures
    pooled: NDArray[np.float32]
    labels: NDArray[np.str_]
    made_of: str

    def __len__(self) -> int:
        return len(self.features)


def scored(
    texts: LabelledTexts, predictor: Predictor, cache: Path, say: Callable[[str], None] = lambda _: None
) -> ScoredTexts:
    """Read the features from `cache` if they belong to these texts and this version; else compute and cache them.

    Args:
        texts: texts to score.
        predictor: predictor of a version whose engine returns embeddings.
        cache: .npz file.
        say: receives progress lines.

    Raises:
        BenchError: if the engine returns no embeddings.
        ConfigError: if the version has no engine.
    """
    made_of = _fingerprint(texts, predictor.version_id)
    found = _read(cache)
    if found is not None and found.made_of == made_of:
        return found
    features, pooled = [], []
    wordpieces = wordpieces_of(predictor)
    for start in range(0, len(texts), _BLOCK):
        batch = predictor.predict_batch(texts.texts[start : start + _BLOCK], both_stages=True)
        if batch.outputs.embeddings is None:
            raise BenchError(
                f"{predictor.full_name}: expected an engine with embeddings, found none; export the version again"
            )
        features.append(features_of(batch, wordpieces, projection=None))
        pooled.append(batch.outputs.embeddings)
        say(f"{cache.stem}: {start + len(batch.predictions):,} of {len(texts):,} texts scored")
    result = ScoredTexts(TextFeatures.concatenate(features), np.concatenate(pooled), np.array(texts.labels), made_of)
    _write(cache, result)
    return result


def _fingerprint(texts: LabelledTexts, version_id: str) -> str:
    digest = hashlib.sha256(f"{_FORMAT} {version_id}".encode())
    for text, label in zip(texts.texts, texts.labels, strict=True):
        digest.update(hashlib.sha256(text.encode()).digest() + label.encode() + b"\n")
    return digest.hexdigest()


def _write(cache: Path, result: ScoredTexts) -> None:
    columns = {item.name: getattr(result.features, item.name) for item in dataclasses.fields(TextFeatures)}
    words = columns.pop("words")
    columns["embeddings"] = result.pooled
    arrays = {name: values for name, values in columns.items() if values is not None}
    arrays |= {name: getattr(words, name) for name in _WORDS}
    with atomic_file(cache, "wb") as file:
        np.savez(file, made_of=np.array(result.made_of), labels=result.labels, **arrays)


def read_scored(cache: Path) -> ScoredTexts:
    """Read the file that scored() wrote.

    Raises:
        BenchError: if it is missing or damaged.
    """
    found = _read(cache)
    if found is None:
        raise BenchError(f"{cache}: expected the features of scored texts, found none; remove the file if it exists")
    return found


def _read(cache: Path) -> ScoredTexts | None:
    """Read the cache; None if the file is missing or damaged."""
    try:
        with open(cache, "rb") as file, np.load(file, allow_pickle=False) as stored:
            arrays = dict(stored)
        words = TokenCounts(*(arrays.pop(name) for name in _WORDS))
        made_of, labels, pooled = str(arrays.pop("made_of")), arrays.pop("labels"), arrays.pop("embeddings")
        return ScoredTexts(TextFeatures(words=words, embeddings=None, **arrays), pooled, labels, made_of)
    except (OSError, ValueError, EOFError, KeyError, TypeError, InputError, zipfile.BadZipFile):
        return None
