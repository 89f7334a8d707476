"""How far a converted model is from the one it was made of: figures, and apart from them the decision."""

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

# From so many texts on, a share of agreement says something; with fewer, a single text is too large a share.
_TEXTS_FOR_A_SHARE = 1000
_MIN_AGREEMENT = 0.995
_NARROW_MARGIN = 0.05
_MAX_ACCURACY_LOST = 0.002
_MAX_TEXTS_LOST = 2


@dataclass(frozen=True)
class Parity:
    """A copy of a model beside its original, on the same labelled texts.

    Attributes:
        texts: number of them.
        agreement: share of the texts with the same label from both.
        widest_margin_of_differing: of the texts with different labels, the widest margin of the original
            (see margins); 0 without any.
        accuracy_of_original, accuracy_of_copy: shares of right labels.
        largest_logit_difference, mean_logit_difference: absolute.
    """

    texts: int
    agreement: float
    widest_margin_of_differing: float
    accuracy_of_original: float
    accuracy_of_copy: float
    largest_logit_difference: float
    mean_logit_difference: float

    def to_dict(self) -> dict[str, Any]:
        """The figures, for JSON."""
        return asdict(self)


def parity(
    labels: NDArray[np.integer[Any]],
    original: tuple[NDArray[np.integer[Any]], NDArray[np.floating[Any]]],
    copy: tuple[NDArray[np.integer[Any]], NDArray[np.floating[Any]]],
    margins_of_original: NDArray[np.floating[Any]],
) -> Parity:
    """Compare two models' answers.

    Args:
        labels: true class ids, int [texts].
        original, copy: predicted class ids int [texts] and logits [texts, classes] of each.
        margins_of_original: see margins, [texts].
    """
    differ = original[0] != copy[0]
    differences = np.abs(original[1] - copy[1])
    return Parity(
        texts=len(labels),
        agreement=float(1 - differ.mean()),
        widest_margin_of_differing=float(margins_of_original[differ].max(initial=0)),
        accuracy_of_original=float((original[0] == labels).mean()),
        accuracy_of_copy=float((copy[0] == labels).mean()),
        largest_logit_difference=float(differences.max()),
        mean_logit_difference=float(differences.mean()),
    )


def margins(probabilities: NDArray[np.floating[Any]], threshold: float = 0.5) -> NDArray[np.floating[Any]]:
    """How clear each decision was: [texts].

    The difference between the two largest probabilities of a row of [texts, classes]; with two classes twice the
    distance of the second's probability from the threshold, which is the same where the threshold is .5.
    """
    if probabilities.shape[1] == 2:
        return np.asarray(2 * np.abs(probabilities[:, 1] - threshold))
    best_two = np.partition(probabilities, -2, axis=1)[:, -2:]
    return np.asarray(best_two[:, 1] - best_two[:, 0])


def parity_failures(figures: Parity) -> list[str]:
    """Why the copy may not stand for the original, a sentence each; [] if it may.

    Labels must agree on 99.5 % of the texts where there are 1,000 or more; on fewer, they may differ only where
    the original's margin is under .05. Accuracy may be lower by .2 points, or by two texts.
    """
    if not math.isfinite(figures.largest_logit_difference):  # Labels read off such logits may be right by chance.
        return ["logits are not finite numbers"]
    failures = []
    if figures.texts >= _TEXTS_FOR_A_SHARE:
        if figures.agreement < _MIN_AGREEMENT:
            failures.append(
                f"labels agree on {figures.agreement:.2%} of {figures.texts} texts, {_MIN_AGREEMENT:.1%} was expected"
            )
    elif figures.widest_margin_of_differing >= _NARROW_MARGIN:
        failures.append(
            f"labels differ on a text whose margin was {figures.widest_margin_of_differing:.3f}, with {figures.texts} "
            f"texts only margins under {_NARROW_MARGIN:g} were expected"
        )
    lost = figures.accuracy_of_original - figures.accuracy_of_copy
    most = max(_MAX_ACCURACY_LOST, _MAX_TEXTS_LOST / figures.texts)
    if lost > most + 1e-12:
        failures.append(f"accuracy fell by {lost:.2%} on {figures.texts} texts, {most:.2%} was allowed")
    return failures
