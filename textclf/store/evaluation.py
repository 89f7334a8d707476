"""evaluation.json of a version: labels and predictions of texts that were measured, without the texts themselves."""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from textclf.errors import InputError, ModelStoreError
from textclf.files import atomic_file

EVALUATION_FILE = "evaluation.json"
FORMAT = 1
# Texts that are evaluated at most: the accuracy on 5,000 texts is known to 1.4 points.
MAX_TEXTS = 5000
# Digits that the file keeps of a confidence.
CONFIDENCE_DIGITS = 4
_MAX_BYTES = 2**24


class ClassWord(NamedTuple):
    """A word that the linear stage of a class weights: its weight in the logit, and the training texts with it."""

    word: str
    weight: float
    texts: int


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Predictions of the engine that serves, for n labelled texts that the model was not fitted to.

    Attributes:
        split: name of the split that the texts are from.
        found: number of texts in the split, of which n were drawn.
        labels, predicted: class ids, int64 [n].
        confidences: probability of the predicted class, float64 [n].
        lengths: number of wordpieces before truncation, including [CLS] and [SEP]: int64 [n].
        seconds: time that the engine took for all of them.
        words: for each class, the words with the largest weights for it, the most important first; () if unknown.

    Raises:
        InputError: if the columns do not fit together, or a value is out of its range.
    """

    split: str
    found: int
    labels: NDArray[np.int64]
    predicted: NDArray[np.int64]
    confidences: NDArray[np.float64]
    lengths: NDArray[np.int64]
    seconds: float
    words: tuple[tuple[ClassWord, ...], ...] = ()

    def __post_init__(self) -> None:
        columns = (self.labels, self.predicted, self.confidences, self.lengths)
        fits = {
            "columns of one length, of 1 to `found` texts": len({column.shape for column in columns}) == 1
            and self.labels.ndim == 1
            and 1 <= len(self.labels) <= self.found,
            "class ids and lengths from 0": all(bool(np.all(column >= 0)) for column in columns[:2] + columns[3:]),
            "confidences in [0, 1]": bool(np.all((self.confidences >= 0) & (self.confidences <= 1))),
            "a time of at least 0": math.isfinite(self.seconds) and self.seconds >= 0,
        }
        for what, holds in fits.items():
            if not holds:
                raise InputError(f"evaluation: expected {what}, found something else")

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def is_right(self) -> NDArray[np.bool_]:
        """Whether each prediction is the label, bool [n]."""
        return np.asarray(self.labels == self.predicted)

    def save(self, folder: Path) -> None:
        """Write the file into the folder of a version."""
        values = {
            "format": FORMAT,
            "split": self.split,
            "found": self.found,
            "seconds": round(self.seconds, 3),
            "labels": self.labels.tolist(),
            "predicted": self.predicted.tolist(),
            "confidences": [round(value, CONFIDENCE_DIGITS) for value in self.confidences.tolist()],
            "lengths": self.lengths.tolist(),
            "words": [
                {"class_id": class_id, "word": word.word, "weight": round(word.weight, 4), "texts": word.texts}
                for class_id, of_class in enumerate(self.words)
                for word in of_class
            ],
        }
        with atomic_file(folder / EVALUATION_FILE) as file:
            json.dump(values, file, ensure_ascii=False, allow_nan=False)
            file.write("\n")

    @classmethod
    def load(cls, path: Path, classes: int) -> Self:
        """The record of a version with this number of classes.

        Raises:
            ModelStoreError: if the file is missing or damaged, or of another format or model.
        """
        try:
            if (size := path.stat().st_size) > _MAX_BYTES:
                raise ValueError(f"it has {size} bytes")
            values = json.loads(path.read_bytes())
            if values["format"] != FORMAT:
                raise ValueError(f"it is in format {values['format']!r}, this software reads {FORMAT}")
            found = cls(
                split=str(values["split"]),
                found=int(values["found"]),
                labels=_integers(values["labels"]),
                predicted=_integers(values["predicted"]),
                confidences=np.asarray(values["confidences"], np.float64),
                lengths=_integers(values["lengths"]),
                seconds=float(values["seconds"]),
                words=_words(values["words"], classes),
            )
            if max(found.labels.max(), found.predicted.max()) >= classes:
                raise ValueError(f"it is not of a model with {classes} classes")
            return found
        except (OSError, ValueError, TypeError, KeyError, OverflowError, RecursionError, InputError) as error:
            raise ModelStoreError.damaged(
                f"{path}: expected the evaluation of a version ({error})", can_export=True
            ) from error


def _integers(values: Any) -> NDArray[np.int64]:
    return np.asarray(values, np.int64)


def _words(rows: Any, classes: int) -> tuple[tuple[ClassWord, ...], ...]:
    """The words of each class; () if there is no word at all."""
    words: list[list[ClassWord]] = [[] for _ in range(classes if rows else 0)]
    for row in rows:
        if not 0 <= row["class_id"] < classes:
            raise ValueError(f"a word of class {row['class_id']}")
        words[row["class_id"]].append(ClassWord(str(row["word"]), float(row["weight"]), int(row["texts"])))
    return tuple(map(tuple, words))
