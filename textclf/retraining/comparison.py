"""What two models say of the same labelled texts, in one order of classes: what the gate decides on."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from textclf.runtime.predictor import Predictor
from textclf.stats.calibration import softmax
from textclf.stats.gate import PairedPredictions


@dataclass(frozen=True, eq=False)
class ModelPredictions:
    """What one model says of n texts: probabilities float64 [n, K], class ids and lengths in tokens int64 [n]."""

    probabilities: NDArray[np.float64]
    predicted: NDArray[np.int64]
    lengths: NDArray[np.int64]


def answers_of(predictor: Predictor, texts: Sequence[str], class_names: Sequence[str]) -> ModelPredictions:
    """The answers of a model whose classes are these K, in whatever order it has them.

    Raises:
        ValueError: it has a class that is none of them.
    """
    answer = predictor.predict_batch(list(texts))
    encoded = answer.encoded
    own = softmax(answer.outputs.logits, predictor.temperature)  # [n, K] in the model's order
    ids = np.array([class_names.index(name) for name in predictor.class_names])
    probabilities = np.empty_like(own)
    probabilities[:, ids] = own
    lengths = encoded.lengths if encoded.token_counts is None else encoded.token_counts
    return ModelPredictions(probabilities, ids[answer.predicted], lengths)


def pair_predictions(
    labels: NDArray[np.integer[Any]], champion: ModelPredictions, challenger: ModelPredictions
) -> PairedPredictions:
    """The answers of two models to the texts of these labels, class ids [n]."""
    return PairedPredictions(
        np.asarray(labels, np.int64),
        champion.probabilities,
        challenger.probabilities,
        champion.predicted,
        challenger.predicted,
        champion.lengths,
    )
