"""Parity of a converted model with its original: measurements, and the decision on them."""

import math
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

# With fewer texts, one text is too large a share for a limit on agreement.
_TEXTS_FOR_A_SHARE = 1000
_MIN_CLEAR_AGREEMENT = 0.995
# Where both labels are about as likely, rounding decides. How many such texts there are depends on the data.
_MIN_AGREEMENT = 0.99
_NARROW_MARGIN = 0.05
_MAX_ACCURACY_LOST = 0.002
_MAX_TEXTS_LOST = 2


@dataclass(frozen=True)
class Parity:
    """Differences between a model and its copy on the same labelled texts.

    Attributes:
        texts: number of texts.
        agreement: share of the texts with the same predicted label.
        clear_agreement: share of the texts with the same predicted label or a margin of the original under 0.05.
        widest_margin_of_differing: largest margin of the original (see margins) among the texts with different
            labels; 0 without any.
        accuracy_of_original, accuracy_of_copy: shares of correct labels.
        largest_logit_difference, mean_logit_difference: absolute differences.
    """

    texts: int
    agreement: float
    clear_agreement: float
    widest_margin_of_differing: float
    accuracy_of_original: float
    accuracy_of_copy: float
    largest_logit_difference: float
    mean_logit_difference: float

    def to_dict(self) -> dict[str, Any]:
        """The measurements as a dict for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """The measurements of a manifest; in one of earlier software clear_agreement is missing."""
        return cls(**{"clear_agreement": values["agreement"], **values})


def parity(
    labels: NDArray[np.integer[Any]],
    original: tuple[NDArray[np.integer[Any]], NDArray[np.floating[Any]]],
    copy: tuple[NDArray[np.integer[Any]], NDArray[np.floating[Any]]],
    margins_of_original: NDArray[np.floating[Any]],
) -> Parity:
    """Compare the predictions of two models.

    Args:
        labels: true class ids, int [texts].
        original, copy: predicted class ids, int [texts], and logits, [texts, classes].
        margins_of_original: margins of the original, [texts].
    """
    differ = original[0] != copy[0]
    differences = np.abs(original[1] - copy[1])
    return Parity(
        texts=len(labels),
        agreement=float(1 - differ.mean()),
        clear_agreement=float(1 - (differ & (margins_of_original >= _NARROW_MARGIN)).mean()),
        widest_margin_of_differing=float(margins_of_original[differ].max(initial=0)),
        accuracy_of_original=float((original[0] == labels).mean()),
        accuracy_of_copy=float((copy[0] == labels).mean()),
        largest_logit_difference=float(differences.max()),
        mean_logit_difference=float(differences.mean()),
    )


def margins(probabilities: NDArray[np.floating[Any]], threshold: float = 0.5) -> NDArray[np.floating[Any]]:
    """The margin of each decision, [texts]: the difference between the two largest of [texts, classes] probabilities.

    With two classes it is twice the distance of P(second class) from the threshold, which is equal at threshold 0.5.
    """
    if probabilities.shape[1] == 2:
        return np.asarray(2 * np.abs(probabilities[:, 1] - threshold))
    best_two = np.partition(probabilities, -2, axis=1)[:, -2:]
    return np.asarray(best_two[:, 1] - best_two[:, 0])


def parity_failures(result: Parity) -> list[str]:
    """Reasons why the copy can't replace the original, a sentence each; [] if it can.

    Labels may differ where the original's margin is under 0.05, because both are about as likely there. With at least
    1,000 texts, they may also differ on 0.5% with a wider margin, and on 1% in all. Accuracy may fall by 0.2 percentage
    points, or by two texts.
    """
    if not math.isfinite(result.largest_logit_difference):  # Labels of such logits may be correct by chance.
        return ["logits are not finite numbers"]
    failures = []
    if result.texts >= _TEXTS_FOR_A_SHARE:
        if result.clear_agreement < _MIN_CLEAR_AGREEMENT:
            failures.append(
                f"labels differ on {1 - result.clear_agreement:.2%} of {result.texts} texts with margins of at least "
                f"{_NARROW_MARGIN:g}; at most {1 - _MIN_CLEAR_AGREEMENT:.1%} is allowed"
            )
        if result.agreement < _MIN_AGREEMENT:
            found = f"{result.agreement:.2%} of {result.texts} texts"
            failures.append(f"labels agree on {found}; at least {_MIN_AGREEMENT:.0%} is needed")
    elif result.widest_margin_of_differing >= _NARROW_MARGIN:
        failures.append(
            f"labels differ on a text with margin {result.widest_margin_of_differing:.3f}; with {result.texts} texts, "
            f"margins under {_NARROW_MARGIN:g} are allowed"
        )
    lost = result.accuracy_of_original - result.accuracy_of_copy
    max_lost = max(_MAX_ACCURACY_LOST, _MAX_TEXTS_LOST / result.texts)
    if lost > max_lost + 1e-12:
        failures.append(f"accuracy fell by {lost:.2%} on {result.texts} texts; at most {max_lost:.2%} is allowed")
    return failures
