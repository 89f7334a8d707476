"""Thresholds per class that follow from the costs of errors and of unsure predictions.

The rule is that of C. K. Chow, "On optimum recognition error and reject tradeoff", IEEE Transactions on Information
Theory 16 (1970) 41-46: use a prediction if its expected cost is not above the cost of an unsure one. The expected cost
comes from calibrated probabilities. For a predicted class with score s, it is (1 - s) times the mean cost of an error.
The threshold of the class is therefore 1 - cost of unsure / mean cost of an error.

With two classes this is Chow's rule for the label that is given. With more, the mean over the true classes is taken on
the calibration texts, so that one threshold on the score is enough.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def cost_thresholds(
    predicted: NDArray[np.integer[Any]],
    probabilities: NDArray[np.floating[Any]],
    costs: NDArray[np.floating[Any]],
    unsure_cost: float,
) -> NDArray[np.float64]:
    """The minimum score of a sure prediction of each class, [K]; 0 where an unsure prediction costs more than an error.

    Args:
        predicted: class ids, [n].
        probabilities: of each class, [n, K].
        costs: cost of each prediction by true and predicted class, [K, K]; the diagonal is not read.
        unsure_cost: cost of an unsure prediction, above 0.
    """
    classes = len(costs)
    is_error = ~np.eye(classes, dtype=bool)
    means = np.empty(classes)
    for class_id in range(classes):
        # The probability of each true class among the errors; without a prediction of the class all weigh the same.
        weights = probabilities[predicted == class_id].sum(axis=0) * is_error[:, class_id]
        weights = weights if weights.sum() > 0 else is_error[:, class_id].astype(np.float64)
        means[class_id] = np.average(costs[:, class_id], weights=weights)
    return np.where(means > unsure_cost, 1 - unsure_cost / np.maximum(means, unsure_cost), 0.0)


def mean_cost(
    labels: NDArray[np.integer[Any]],
    predicted: NDArray[np.integer[Any]],
    is_sure: NDArray[np.bool_],
    costs: NDArray[np.floating[Any]],
    unsure_cost: float,
) -> float:
    """The mean cost of n predictions, of which a right one costs nothing; for the arguments see cost_thresholds."""
    errors = np.where(labels == predicted, 0.0, costs[labels, predicted])
    return float(np.where(is_sure, errors, unsure_cost).mean())
