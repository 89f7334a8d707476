"""The training reference of a model version: features of held-out texts, which drift is measured against.

Stored as `reference.npz`: compressed arrays, with integers in the smallest sufficient type.
"""

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
FORMAT = 2  # Format 2 added the arrays of a cascade.
# Drift tests compare up to this many texts, so a larger reference would only be a larger file.
MAX_TEXTS = 5000
MAX_DIRECTIONS = 64

# Minimum variance of a direction, relative to the mean square of the float32 embeddings; below it is rounding.
_MIN_VARIANCE = 1e-12
# Maximum size of an unpacked array; the word ids of MAX_TEXTS texts with 512 wordpieces take 10 MB.
_MAX_BYTES = 2**28
# Type and number of axes of each column of TextFeatures, except the words.
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
    """The D directions in which pooled outputs of an encoder, of width W, vary most.

    Attributes:
        mean: mean pooled output, float32 [W].
        components: orthonormal rows, largest variance first: float32 [D, W].

    Raises:
        InputError: if the shapes do not match, or a value is not finite.
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
        """Project pooled outputs [n, W]: float32 [n, D].

        Raises:
            InputError: if they have another width.
        """
        if pooled.ndim != 2 or pooled.shape[1] != len(self.mean):
            raise InputError(
                f"expected embeddings of shape [texts, {len(self.mean)}], got {list(pooled.shape)}: the reference is "
                f"of another model"
            )
        return np.asarray((pooled - self.mean) @ self.components.T, np.float32)


def projection_of(pooled: NDArray[np.floating[Any]], max_directions: int = MAX_DIRECTIONS) -> Projection | None:
    """The first principal components of pooled outputs [n, W], up to n - 1; None if all outputs are equal.

    The largest entry of each component is positive, so signs are reproducible. See I. T. Jolliffe, "Principal
    Component Analysis", 2nd edition, Springer 2002, section 1.1.

    Fit the projection on texts that are not compared. A sample varies more in directions that were fitted to it, which
    a test takes for drift. Measured with two samples of one distribution (500 vectors of width 384, variances as
    1/k) and MMD at alpha 0.05: drift in 45 of 60 runs if fitted on the first sample, in 1 of 60 if on a third one.

    Raises:
        InputError: if the array does not have two axes, or a value is not finite.
    """
    values = np.asarray(pooled, np.float64)
    if values.ndim != 2 or not np.isfinite(values).all():
        raise InputError(f"expected finite embeddings [texts, width], got shape {list(values.shape)}")
    if len(values) < 2:
        return None
    mean = values.mean(axis=0)
    centred = values - mean
    variances, vectors = np.linalg.eigh(centred.T @ centred / (len(values) - 1))  # Ascending; column = direction.
    count = min(max_directions, len(values) - 1, int(np.sum(variances > _MIN_VARIANCE * np.mean(values**2))))
    if count < 1:
        return None
    components = vectors[:, ::-1].T[:count]
    largest = np.abs(components).argmax(axis=1)
    signs = np.sign(components[np.arange(count), largest])
    return Projection(mean.astype(np.float32), (components * signs[:, None]).astype(np.float32))


@dataclass(frozen=True, eq=False)
class EncoderOnlyOutputs:
    """Outputs of the encoder of a cascade on n texts without the linear stage, as a server with CASCADE=off gives.

    Attributes:
        logits: logits, float32 [n, K].
        predicted: predicted class ids, int64 [n].
    """

    logits: NDArray[np.float32]
    predicted: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Reference:
    """Features and labels of held-out texts of a version.

    Attributes:
        features: features of n texts, at least one.
        labels: true class ids, int64 [n].
        projection: projection of features.embeddings; None if the model has no embeddings.
        n_all: number of held-out texts that the n texts were drawn from.
        alone: outputs without the cascade; None for a version without a cascade.

    Raises:
        InputError: if the parts do not fit together.
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
            "outputs of the encoder alone for every text of a cascade": self.alone is None
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
                raise InputError(f"reference of {len(features)} texts: expected {what}")

    def without_embeddings(self) -> "Reference":
        """The reference without embeddings, which are then not tested."""
        return dataclasses.replace(self, features=dataclasses.replace(self.features, embeddings=None), projection=None)

    @property
    def error_rate(self) -> float:
        """The share of wrong predictions."""
        return float(np.mean(self.features.predicted != self.labels))

    @property
    def without_cascade(self) -> "Reference":
        """The reference with outputs of the encoder alone; itself if there is no cascade."""
        if self.alone is None:
            return self
        features = dataclasses.replace(
            self.features, logits=self.alone.logits, predicted=self.alone.predicted, stages=None, disagreements=None
        )
        return Reference(features, self.labels, self.projection, self.n_all)


def save_reference(reference: Reference, path: Path) -> None:
    """Write a reference; equal references give equal bytes."""
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
    """Read a file of save_reference.

    Raises:
        ModelStoreError: if the file is missing or damaged, or not a reference.
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
    """Read only the projection of a reference; None if the model has no embeddings.

    Raises:
        ModelStoreError: if the file is missing or damaged, or not a reference.
    """
    with _opened(path) as file:
        return _projection(file)


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[zipfile.ZipFile]:
    """Open the file and check its format; errors of the content become a ModelStoreError."""
    try:
        with zipfile.ZipFile(path) as file:
            if (found := int(_array(file, "format", np.int64, 0))) not in range(1, FORMAT + 1):
                raise ValueError(f"it is in format {found}, but this software reads formats up to {FORMAT}")
            yield file
    except (*UNREADABLE, InputError) as error:
        raise ModelStoreError.damaged(
            f"{path}: expected the reference of a version ({error})", can_export=True
        ) from error


def _array(file: zipfile.ZipFile, name: str, dtype: type[np.generic], axes: int) -> NDArray[Any]:
    """Read an array and convert it to `dtype`; files store a smaller type if that is sufficient."""
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
    """Convert non-negative integers to the smallest sufficient type; other arrays stay as they are."""
    if values.dtype.kind not in "iu" or not values.size:
        return values
    return values.astype(np.min_scalar_type(values.max()))
