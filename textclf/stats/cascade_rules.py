"""Rules of a cascade: which texts exit at the linear stage, and how the logits of both stages combine for the others.

Texts with the most confident linear predictions exit early; for the others both stages are combined (D. Wolpert,
"Stacked Generalization", Neural Networks 5, 1992). Cascades of models by confidence: N. Varshney and C. Baral, "Model
Cascading: Towards Jointly Improving Efficiency and Accuracy of NLP Systems", EMNLP 2022; committees and cascades:
X. Wang et al., "Wisdom of Committees", ICLR 2022.

n texts, K classes; e and l are the logits of the encoder and of the linear stage, each divided by its temperature:

    short text            e
    early exit            l
    any other text        encoder_weight * e + linear_weight * l

A short text is shorter than nearly all texts that the settings were fitted to. The quality of the linear stage depends
on the number of words it sums up, and for short texts it is unknown.

Both are calibrated log-probabilities up to a constant, so probabilities of both stages are comparable.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from textclf.config import Config
from textclf.errors import InputError
from textclf.fields import REQUIRED, number, whole
from textclf.stats.calibration import TEMPERATURE_BOUNDS, softmax

MAX_WEIGHT = 100.0

Floats = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class CascadeSettings(Config):
    """How the two stages of a cascade predict together."""

    linear_temperature: float = number(
        REQUIRED, "Temperature of the linear stage.", min=TEMPERATURE_BOUNDS[0], max=TEMPERATURE_BOUNDS[1]
    )
    # The weights apply to calibrated logits, on texts that reach the encoder. Larger ones would overflow.
    encoder_weight: float = number(REQUIRED, "Weight of the encoder.", min=0, max=MAX_WEIGHT)
    linear_weight: float = number(REQUIRED, "Weight of the linear stage.", min=0, max=MAX_WEIGHT)
    exit_confidence: float | None = number(
        REQUIRED, "Minimum confidence for the linear stage to predict alone; null: never.", above=0, max=1, or_none=True
    )
    least_length: int = whole(0, "Minimum wordpieces, without [CLS] and [SEP], for the linear stage to count.")

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check("encoder_weight", self.encoder_weight + self.linear_weight > 0, "a weight above 0 for some stage")


@dataclass(frozen=True, eq=False)
class StageOutputs:
    """Outputs of both stages for n texts.

    Attributes:
        encoder_logits, linear_logits: [n, K].
        encoder_temperature: temperature of the encoder's logits.
        lengths: wordpieces without [CLS] and [SEP], int [n]; None if no text is short.

    Raises:
        InputError: if the arrays do not have the same n texts and K classes.
    """

    encoder_logits: Floats
    linear_logits: Floats
    encoder_temperature: float
    lengths: NDArray[np.int64] | None = None

    def __post_init__(self) -> None:
        rows = len(self.linear_logits) if self.lengths is None else len(self.lengths)
        if self.encoder_logits.shape != self.linear_logits.shape or rows != len(self.linear_logits):
            raise InputError(
                f"expected outputs of both stages for the same texts, got shapes {list(self.encoder_logits.shape)} "
                f"and {list(self.linear_logits.shape)}, and {rows} lengths"
            )

    def __len__(self) -> int:
        return len(self.linear_logits)

    def take(self, rows: NDArray[Any]) -> "StageOutputs":
        """The outputs of some texts, given as positions or bool [n]."""
        lengths = None if self.lengths is None else self.lengths[rows]
        return StageOutputs(self.encoder_logits[rows], self.linear_logits[rows], self.encoder_temperature, lengths)


def exit_confidences(settings: CascadeSettings, linear_logits: Floats) -> Floats:
    """Probability of the label that the linear stage predicts: float [n]."""
    return np.asarray(softmax(linear_logits, settings.linear_temperature).max(axis=1, initial=0.0))


def exits(
    settings: CascadeSettings, linear_logits: Floats, lengths: NDArray[np.int64] | None = None
) -> NDArray[np.bool_]:
    """Texts that exit at the linear stage: bool [n]; for `lengths` see StageOutputs."""
    is_short = _are_short(settings, len(linear_logits), lengths)
    # Most requests have one text; a short one needs no computation.
    if settings.exit_confidence is None or is_short.all():
        return np.zeros(len(linear_logits), np.bool_)
    is_sure = exit_confidences(settings, linear_logits) >= settings.exit_confidence
    return np.asarray(is_sure & ~is_short)


def _are_short(settings: CascadeSettings, texts: int, lengths: NDArray[np.int64] | None) -> NDArray[np.bool_]:
    return np.zeros(texts, np.bool_) if lengths is None else np.asarray(lengths < settings.least_length)


def final_logits(settings: CascadeSettings, outputs: StageOutputs, is_exit: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Logits of the cascade on the scale of the encoder's temperature: float32 [n, K].

    Encoder logits may be NaN for texts that exit.
    """
    is_short = _are_short(settings, len(outputs), outputs.lengths)
    if is_short.all():
        return np.asarray(outputs.encoder_logits, np.float32)
    temperature = outputs.encoder_temperature
    linear = outputs.linear_logits * (temperature / settings.linear_temperature)
    both = settings.encoder_weight * outputs.encoder_logits + settings.linear_weight * linear
    both = np.where(is_short[:, None], outputs.encoder_logits, both)
    return np.where(is_exit[:, None], linear, both).astype(np.float32)
