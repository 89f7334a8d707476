"""What both stages of a cascade say of the same texts, and what each way to use them would have answered.

The models run once; encoder alone, linear stage alone, combination and cascade are arithmetic on their logits.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bench.errors import BenchError
from bench.steps import Figures
from textclf.runtime.predictor import Predictor, decide
from textclf.stats.calibration import expected_calibration_error, softmax
from textclf.stats.cascade import CascadeSettings, combined_logits, linear_on_scale
from textclf.stats.paired import lower_bound, upper_bound

ENCODER, LINEAR, COMBINATION, CASCADE, UNGUARDED = "encoder", "linear", "combination", "cascade", "unguarded"
# Of the intervals, two-sided.
ALPHA = 0.05
_CHUNK = 1000

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class BothStages:
    """Of n texts.

    Attributes:
        encoder_logits, linear_logits: as each stage gives them, float32 [n, K].
        exits: which texts the linear stage answers, [n].
    """

    encoder_logits: npt.NDArray[np.float32]
    linear_logits: npt.NDArray[np.float32]
    exits: BoolArray


def read_by_both(predictor: Predictor, texts: Sequence[str]) -> BothStages:
    """What a predictor with a cascade computes, where the encoder reads every text too.

    Raises:
        BenchError: it has no cascade.
    """
    parts = []
    for start in range(0, len(texts), _CHUNK):
        stages = predictor.answer(list(texts[start : start + _CHUNK]), both_stages=True).stages
        if stages is None:
            raise BenchError(f"{predictor.full_name}: expected a version with a cascade, got one without")
        parts.append(stages)
    return BothStages(
        *(np.concatenate([getattr(part, name) for part in parts]) for name in ("encoder_logits", "linear_logits")),
        np.concatenate([part.exits for part in parts]),
    )


@dataclass(frozen=True, eq=False)
class Variants:
    """What each way would have answered.

    Attributes:
        probabilities: calibrated, float [n, K], by the names above.
        exits: which texts the linear stage answers, [n], of CASCADE and of UNGUARDED.
        threshold: of two classes the second is the label from this probability on.
    """

    probabilities: Mapping[str, FloatArray]
    exits: Mapping[str, BoolArray]
    threshold: float

    def predicted(self, name: str) -> IntArray:
        """Class ids, [n]."""
        return decide(self.probabilities[name], self.threshold).astype(np.int64)


def variants_of(both: BothStages, settings: CascadeSettings, temperature: float, threshold: float) -> Variants:
    """All variants.

    UNGUARDED is the cascade that lets a text exit for its confidence alone, however few of its words it comes from.

    Args:
        both: of n texts.
        settings: of the cascade.
        temperature: of the encoder's logits.
        threshold: see Variants.
    """
    linear = softmax(linear_on_scale(both.linear_logits, settings, temperature), temperature)
    combination = softmax(combined_logits(both.encoder_logits, both.linear_logits, settings, temperature), temperature)
    least = np.inf if settings.exit_confidence is None else settings.exit_confidence
    exits = {CASCADE: both.exits, UNGUARDED: linear.max(axis=1) >= least}
    return Variants(
        {
            ENCODER: softmax(both.encoder_logits, temperature),
            LINEAR: linear,
            COMBINATION: combination,
            **{name: np.where(chosen[:, None], linear, combination) for name, chosen in exits.items()},
        },
        exits,
        threshold,
    )


def difference(labels: IntArray, first: IntArray, second: IntArray) -> Figures:
    """What the second is more often right than the first, with a paired two-sided interval of 1 - ALPHA (Tango 1998).

    Args:
        labels: class ids, [n].
        first, second: what each predicted, [n].
    """
    losses = int(np.sum((first == labels) & (second != labels)))
    gains = int(np.sum((first != labels) & (second == labels)))
    n = len(labels)
    return {
        "difference": (gains - losses) / n,
        "low": lower_bound(losses, gains, n, ALPHA / 2),
        "high": upper_bound(losses, gains, n, ALPHA / 2),
    }


def labelled_figures(variants: Variants, labels: IntArray) -> Figures:
    """Accuracy, differences, and calibration of the variants on labelled texts; None where no text is left to ask.

    Args:
        variants: of n texts.
        labels: class ids, [n].
    """
    exits = variants.exits[CASCADE]
    predicted = {name: variants.predicted(name) for name in variants.probabilities}
    is_right = {name: ids == labels for name, ids in predicted.items()}

    def calibration(name: str, of: BoolArray) -> float | None:
        return expected_calibration_error(variants.probabilities[name][of], labels[of]) if of.any() else None

    everything = np.ones(len(labels), bool)
    return {
        "texts": len(labels),
        "exit_share": float(exits.mean()),
        "accuracy": {name: float(right.mean()) for name, right in is_right.items()},
        "accuracy_on_exits": {
            name: float(is_right[name][exits].mean()) if exits.any() else None for name in (LINEAR, ENCODER)
        },
        "differences": {
            name: difference(labels, predicted[ENCODER], predicted[name]) for name in (LINEAR, COMBINATION, CASCADE)
        },
        "expected_calibration_error": {
            ENCODER: calibration(ENCODER, everything),
            CASCADE: calibration(CASCADE, everything),
            "linear_exits": calibration(LINEAR, exits),
            "encoder_rest": calibration(COMBINATION, ~exits),
        },
    }


def attack_figures(variants: Variants, wanted: int) -> Figures:
    """How often each variant answers what an attacker wants, and how many texts exit.

    Args:
        variants: of n attacked texts.
        wanted: class id that they are to be taken for.
    """
    return {
        "texts": len(variants.exits[CASCADE]),
        "fooled": {name: float(np.mean(variants.predicted(name) == wanted)) for name in variants.probabilities},
        "exit_share": {name: float(exits.mean()) for name, exits in variants.exits.items()},
    }
