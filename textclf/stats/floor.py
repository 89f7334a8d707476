"""The floor of a trained model: a probe of the frozen encoder, and the answer that is always the largest class."""

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

# One-sided significance level at which a model is worse than its probe.
_ALPHA = 0.05


@dataclass(frozen=True)
class Floor:
    """A trained model and its floor on the same texts, which neither was fitted to.

    Attributes:
        texts: number of texts.
        accuracy, probe_accuracy, majority_share: accuracy of the model, of the probe and of the largest class.
        is_below_probe: whether the model has fewer texts right than the probe.
        is_significant: whether the model is worse than the probe by more than chance (the exact test of McNemar,
            one-sided at 5%).
        is_no_better: whether the model has no more texts right than the largest class.
    """

    texts: int
    accuracy: float
    probe_accuracy: float
    majority_share: float
    is_below_probe: bool
    is_significant: bool
    is_no_better: bool

    @property
    def is_refused(self) -> bool:
        """Whether the model must not become current unless a person asks for it.

        With few texts, chance puts one of two equal models below the other. So being below the probe needs a test.
        """
        return self.is_significant or self.is_no_better

    def to_dict(self) -> dict[str, Any]:
        """The floor as a dict that JSON can hold."""
        return dataclasses.asdict(self)


def is_no_better_than_probe(
    logits: NDArray[np.floating[Any]], probed: NDArray[np.floating[Any]], labels: NDArray[np.integer[Any]]
) -> bool:
    """Whether logits [n, K] have no more texts right than those of a probe, which is the simpler model."""
    right, probe_right = (int(np.sum(each.argmax(axis=1) == labels)) for each in (logits, probed))
    return right <= probe_right


def compare_with_floor(
    predicted: NDArray[np.integer[Any]], probed: NDArray[np.integer[Any]], labels: NDArray[np.integer[Any]]
) -> Floor:
    """Compare the class ids that a model and its probe predict with the labels of at least one text, all int [n]."""
    from scipy.stats import binom  # Lazy: a server reads records of floors.

    is_right, probe_is_right = predicted == labels, probed == labels
    losses = int(np.sum(probe_is_right & ~is_right))
    gains = int(np.sum(is_right & ~probe_is_right))
    largest = int(np.bincount(labels).max())
    return Floor(
        texts=len(labels),
        accuracy=float(is_right.mean()),
        probe_accuracy=float(probe_is_right.mean()),
        majority_share=largest / len(labels),
        is_below_probe=losses > gains,
        is_significant=bool(losses > gains and binom.sf(losses - 1, losses + gains, 0.5) <= _ALPHA),
        is_no_better=int(is_right.sum()) <= largest,
    )
