"""The training reference: held-out texts as the model that serves saw them, which drift is measured against.

A file of one version, `reference.npz`: arrays only, whole numbers in the smallest type that holds them, compressed.
"""

from __future__ import annotations

import contextlib
import dataclasses
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from textclf.drift.features import TextFeatures, TokenCounts
from textclf.errors import InputError, ModelStoreError
from textclf.files import atomic_file
from textclf.npz_files import UNREADABLE, read_array

REFERENCE_FILE = "reference.npz"
FORMAT = 2  # Since 2 with what there is of a cascade.
# As many as tests of drift look at; beyond that only the file grows.
MAX_TEXTS = 5000
MAX_DIRECTIONS = 64

# Of the mean square of the embeddings, which are float32: a direction that varies less is rounding.
_SMALLEST_VARIANCE = 1e-12
# Of one array, unpacked; the word ids of MAX_TEXTS texts of 512 wordpieces take 10 MB.
_MAX_BYTES = 2**28
# Of TextFeatures, all but the words: type and number of axes.
_COLUMNS: Mapping[str, tuple[type[np.generic], int]] = {
    "lengths": (np.int64, 1),
    "unknown_rates": (np.float32, 1),
    "continuation_rates": (np.float32, 1),
    "non_letter_rates": (np.float32, 1),
    "logits": (np.float32, 2),
    "predicted": (np.int64, 1),
    "embeddings": (np.float32, 2),
    "stages": (np.int64, 1),
    "disagreements": (np.float32, 1),
}
_MAY_BE_MISSING = ("embeddings", "stages", "disagreements")


@dataclass(frozen=True, eq=False)
class Projection:
    """The few directions in which the pooled outputs of an encoder, of width W, differ most.

    Attributes:
        mean: float32 [W].
        components: orthonormal rows, the direction of the largest variance first: float32 [D, W].

    Raises:
        InputError: the arrays do not fit together.
    """

    mean: NDArray[np.float32]
    components: NDArray[np.float32]

    def __post_init__(self) -> None:
        fits = self.components.ndim == 2 and self.mean.shape == self.components.shape[1:] and len(self.components) > 0
        if not (fits and np.isfinite(self.mean).all() and np.isfinite(self.components).all()):
            raise InputError(
                f"expected finite numbers, a mean [width] and components [directions, width], got shapes "
                f"{list(self.mean.shape)} and {list(self.components.shape)}"
            )

    def apply(self, pooled: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
        """Pooled outputs [n, W] in these directions: float32 [n, D].

        Raises:
            InputError: they have another width.
        """
        if pooled.ndim != 2 or pooled.shape[1] != len(self.mean):
            raise InputError(
                f"expected embeddings of shape [texts, {len(self.mean)}], got {list(pooled.shape)}: the reference is "
                f"of another model"
            )
        return np.asarray((pooled - self.mean) @ self.components.T, np.float32)


def projection_of(pooled: NDArray[np.floating[Any]], most: int = MAX_DIRECTIONS) -> Projection | None:
    """The principal components of pooled outputs [n, W]: at most so many, and at most n - 1.

    The largest entry of each is positive, so that the same texts give the same signs anywhere. None where no two
    texts differ. See I. T. Jolliffe, "Principal Component Analysis", 2nd edition, Springer 2002, section 1.1.

    To be fitted to texts that are not compared: those that it is fitted to vary more in its directions than any others
    do, which a test takes for drift. Of two samples from one distribution (500 vectors of width 384, variances as 1/k),
    projected from the first, MMD at alpha .05 told 45 of 60 apart; projected from a third sample, 1 of 60.

    Raises:
        InputError: not such an array, or not finite.
    """
    values = np.asarray(pooled, np.float64)
    if values.ndim != 2 or not np.isfinite(values).all():
        raise InputError(f"expected finite embeddings [texts, width], got shape {list(values.shape)}")
    if len(values) < 2:
        return None
    mean = values.mean(axis=0)
    centred = values - mean
    variances, vectors = np.linalg.eigh(centred.T @ centred / (len(values) - 1))  # Ascending; a column a direction.
    count = min(most, len(values) - 1, int(np.sum(variances > _SMALLEST_VARIANCE * np.mean(values**2))))
    if count < 1:
        return None
    components = vectors[:, ::-1].T[:count]
    largest = np.abs(components).argmax(axis=1)
    signs = np.sign(components[np.arange(count), largest])
    return Projection(mean.astype(np.float32), (components * signs[:, None]).astype(np.float32))


@dataclass(frozen=True, eq=False)
class EncoderOnlyOutputs:
    """What the encoder of a cascade says of n texts by itself, as a server without the cascade answers.

    Attributes:
        logits: float32 [n, K].
        predicted: class ids, int64 [n].
    """

    logits: NDArray[np.float32]
    predicted: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Reference:
    """Held-out texts, labelled, as a version saw them.

    Attributes:
        features: of n texts, one at least.
        labels: true class ids, int64 [n].
        projection: that features.embeddings come from; None where the model gives no embeddings.
        n_all: held-out texts that these were drawn from.
        alone: of a version with a cascade; None for one without.

    Raises:
        InputError: the parts do not fit together.
    """

    features: TextFeatures
    labels: NDArray[np.int64]
    projection: Projection | None
    n_all: int
    alone: EncoderOnlyOutputs | None = None

    def __post_init__(self) -> None:
        features, embeddings = self.features, self.features.embeddings
        directions = None if embeddings is None else embeddings.shape[1]
        expected = None if self.projection is None else len(self.projection.components)
        fits = {
            f"from 1 to n_all = {self.n_all} texts": 1 <= len(features) <= self.n_all,
            "a label for each text": self.labels.shape == (len(features),),
            "labels and predictions from 0 to the last class": all(
                bool(np.all((ids >= 0) & (ids < features.logits.shape[1]))) for ids in (self.labels, features.predicted)
            ),
            "embeddings in the directions of the projection": directions == expected,
            "both stages of a cascade at all texts, or at none": (features.stages is None)
            == (features.disagreements is None),
            "the encoder's own answers for texts of a cascade": self.alone is None
            or (
                features.stages is not None
                and self.alone.logits.shape == features.logits.shape
                and self.alone.predicted.shape == self.labels.shape
            ),
            "finite numbers": all(
                bool(np.isfinite(values).all())
                for values in (
                    features.unknown_rates,
                    features.continuation_rates,
                    features.non_letter_rates,
                    features.logits,
                    np.zeros(0) if embeddings is None else embeddings,
                    np.zeros(0) if features.disagreements is None else features.disagreements,
                    np.zeros(0) if self.alone is None else self.alone.logits,
                )
            ),
        }
        for what, holds in fits.items():
            if not holds:
                raise InputError(f"reference: expected {what}, got something else for {len(features)} texts")

    @property
    def error_rate(self) -> float:
        """The share of texts with another prediction than label."""
        return float(np.mean(self.features.predicted != self.labels))

    @property
    def without_cascade(self) -> Reference:
        """The same texts as the encoder alone answers them; itself where there is no cascade."""
        if self.alone is None:
            return self
        features = dataclasses.replace(
            self.features,
            logits=self.alone.logits,
            predicted=self.alone.predicted,
            stages=None,
            disagreements=None,
        )
        return Reference(features, self.labels, self.projection, self.n_all)


def save_reference(reference: Reference, path: Path) -> None:
    """Write a reference; the same one gives the same bytes."""
    words = reference.features.words
    arrays: dict[str, Any] = {
        "format": FORMAT,
        "n_all": reference.n_all,
        "labels": reference.labels,
        "word_counts_a_text": np.diff(words.offsets),
        "word_ids": words.ids,
        "word_counts": words.counts,
    }
    for name in _COLUMNS:
        value = getattr(reference.features, name)
        if value is not None:
            arrays[name] = value
    if reference.projection is not None:
        arrays["projection_mean"] = reference.projection.mean
        arrays["projection_components"] = reference.projection.components
    if reference.alone is not None:
        arrays["alone_logits"] = reference.alone.logits
        arrays["alone_predicted"] = reference.alone.predicted
    arrays = {name: _smallest(np.asarray(value)) for name, value in arrays.items()}
    with atomic_file(path, "wb") as file:
        np.savez_compressed(file, **arrays)


def load_reference(path: Path) -> Reference:
    """The reference that save_reference wrote.

    Raises:
        ModelStoreError: the file is missing, damaged or something else.
    """
    with _opened(path) as file:
        names = set(file.namelist())
        sizes = _array(file, "word_counts_a_text", np.int64, 1)
        words = TokenCounts(
            np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
            _array(file, "word_ids", np.int32, 1),
            _array(file, "word_counts", np.int32, 1),
        )
        columns: dict[str, Any] = {
            name: _array(file, name, *form) if name not in _MAY_BE_MISSING or f"{name}.npy" in names else None
            for name, form in _COLUMNS.items()
        }
        return Reference(
            TextFeatures(words=words, **columns),
            _array(file, "labels", np.int64, 1),
            _projection(file),
            int(_array(file, "n_all", np.int64, 0)),
            EncoderOnlyOutputs(
                _array(file, "alone_logits", np.float32, 2), _array(file, "alone_predicted", np.int64, 1)
            )
            if "alone_logits.npy" in names
            else None,
        )


def load_projection(path: Path) -> Projection | None:
    """The projection of a reference, without reading the rest; None where its model gives no embeddings.

    Raises:
        ModelStoreError: as for load_reference.
    """
    with _opened(path) as file:
        return _projection(file)


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[zipfile.ZipFile]:
    """The file, once its format is known; what its content raises while it is read becomes a ModelStoreError."""
    try:
        with zipfile.ZipFile(path) as file:
            if (found := int(_array(file, "format", np.int64, 0))) not in range(1, FORMAT + 1):
                raise ValueError(f"it is in format {found}, this software reads {FORMAT} and older ones")
            yield file
    except (*UNREADABLE, InputError) as error:
        raise ModelStoreError.damaged(
            f"{path}: expected the reference of a version ({error})", can_export=True
        ) from error


def _array(file: zipfile.ZipFile, name: str, dtype: type[np.generic], axes: int) -> NDArray[Any]:
    """One array in the type that is asked for; a file has a smaller one where that holds the same."""
    values = read_array(file, name, _MAX_BYTES)
    if values.ndim != axes or not np.can_cast(values.dtype, dtype):
        raise ValueError(
            f"{name}: expected {axes} axes of {dtype.__name__}, found shape {list(values.shape)} of {values.dtype}"
        )
    return values.astype(dtype)


def _projection(file: zipfile.ZipFile) -> Projection | None:
    if "projection_mean.npy" not in file.namelist():
        return None
    return Projection(
        _array(file, "projection_mean", np.float32, 1), _array(file, "projection_components", np.float32, 2)
    )


def _smallest(values: NDArray[Any]) -> NDArray[Any]:
    """Whole numbers from 0 in the smallest type that holds them; others as they are."""
    if values.dtype.kind not in "iu" or not values.size:
        return values
    return values.astype(np.min_scalar_type(values.max()))
