"""The floor of a trained model: a probe of the frozen encoder, and the answer that is always the largest class."""

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

# One-sided significance level of both tests.
_ALPHA = 0.05
_Z = 1.6448536269514722
# A mean recall that is surely less than this above that of a constant answer is not worth serving.
_USEFUL_GAIN = 0.05
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Floor:
    """A trained model and its floor on the same texts, which neither was fitted to.

    Attributes:
        texts: number of texts.
        accuracy, probe_accuracy, majority_share: accuracy of the model, of the probe and of the largest class.
        is_below_probe: whether the model has fewer texts right than the probe.
        is_significant: whether the model is worse than the probe by more than chance (the exact test of McNemar,
            one-sided at 5%).
        is_no_better: whether the mean recall of the classes is at most that of a constant answer, 1 / classes. Then the
            model also has no more texts right than the largest class. On unequal classes the reverse does not hold.
        macro_recall: mean recall of the classes; None in records of early versions.
        is_useless: whether the mean recall is below 1 / classes + 5 points by more than chance (one-sided at 5%).
        is_out_of_fold: whether the texts are training texts, each compared by models that were not fitted to it.
    """

    texts: int
    accuracy: float
    probe_accuracy: float
    majority_share: float
    is_below_probe: bool
    is_significant: bool
    is_no_better: bool
    macro_recall: float | None = None
    is_useless: bool = False
    is_out_of_fold: bool = False

    @property
    def is_refused(self) -> bool:
        """Whether the model must not become current unless a person asks for it.

        With few texts, chance puts a good model below the probe or a constant answer. So both need a test.
        """
        return self.is_significant or (self.is_no_better and self.is_useless)

    def to_dict(self) -> dict[str, Any]:
        """The floor as a dict that JSON can hold."""
        return dataclasses.asdict(self)


def macro_recall(predicted: NDArray[np.integer[Any]], labels: NDArray[np.integer[Any]]) -> float:
    """Mean recall of the classes that have texts, of class ids [n]."""
    return float(np.mean([np.mean(predicted[labels == k] == k) for k in np.unique(labels)]))


def is_no_better_than_probe(
    logits: NDArray[np.floating[Any]],
    probed: NDArray[np.floating[Any]],
    labels: NDArray[np.integer[Any]],
    class_weights: bool = False,
) -> bool:
    """Whether logits [n, K] are right no more often than those of a probe, which is the simpler model.

    With class weights, each class counts the same.
    """

    def share(of: NDArray[np.floating[Any]]) -> float:
        predicted = of.argmax(axis=1)
        return macro_recall(predicted, labels) if class_weights else float(np.mean(predicted == labels))

    return share(logits) <= share(probed)


def compare_with_floor(
    predicted: NDArray[np.integer[Any]],
    probed: NDArray[np.integer[Any]],
    labels: NDArray[np.integer[Any]],
    *,
    is_out_of_fold: bool = False,
) -> Floor:
    """Compare the class ids that a model and its probe predict with the labels of at least one text, all int [n]."""
    from scipy.stats import binom  # Lazy: a server reads records of floors.

    is_right, probe_is_right = predicted == labels, probed == labels
    losses = int(np.sum(probe_is_right & ~is_right))
    gains = int(np.sum(is_right & ~probe_is_right))
    classes, texts = np.unique(labels, return_counts=True)
    right = np.array([np.sum(is_right[labels == k]) for k in classes])
    recall, of_constant = macro_recall(predicted, labels), 1 / len(classes)
    # One text more of each kind keeps the variance of a few texts that are all right above 0.
    smoothed = (right + 1) / (texts + 2)
    upper = recall + _Z * float(np.sqrt(np.sum(smoothed * (1 - smoothed) / texts))) / len(classes)
    return Floor(
        texts=len(labels),
        accuracy=float(is_right.mean()),
        probe_accuracy=float(probe_is_right.mean()),
        majority_share=int(texts.max()) / len(labels),
        is_below_probe=losses > gains,
        is_significant=bool(losses > gains and binom.sf(losses - 1, losses + gains, 0.5) <= _ALPHA),
        is_no_better=recall <= of_constant + _ROUNDING,
        macro_recall=recall,
        is_useless=upper < of_constant + _USEFUL_GAIN,
        is_out_of_fold=is_out_of_fold,
    )
