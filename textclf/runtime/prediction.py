"""The prediction for one text."""

from dataclasses import dataclass

from textclf.runtime.cascade import ENCODER, LINEAR
from textclf.tokenization.text_key import is_blank
from textclf.unusual_reasons import MEANINGS

# [CLS] and [SEP], the wordpieces of every text.
MARKERS = 2
STAGES = {LINEAR: "by the linear stage", ENCODER: "by the encoder"}


@dataclass(frozen=True)
class Prediction:
    """The prediction for one text.

    Attributes:
        text: the text, as given.
        label: the predicted class.
        score: with two classes the probability of the second class, else the probability of `label`.
        probabilities: class name -> probability, in the order of the class ids.
        truncated: whether the model read only a part of the text; None if unknown. The linear stage reads the whole
            text, so its predictions are never truncated.
        tokens: wordpieces of the whole text, with [CLS] and [SEP]; None if unknown.
        stage: "linear" or "encoder", the cascade stage that predicted; None without a cascade.
        unusual_reason: why the text is not of the kind that the version was trained on ("no_words", "unknown_words" or
            "far_from_training": textclf.runtime.unusual); None if it is, or if the version can't tell.
    """

    text: str
    label: str
    score: float
    probabilities: dict[str, float]
    truncated: bool | None
    tokens: int | None = None
    stage: str | None = None
    unusual_reason: str | None = None

    @property
    def is_empty(self) -> bool:
        """Whether the text is blank, so that the prediction says nothing about it."""
        return is_blank(self.text)

    @property
    def unusual(self) -> bool:
        """Whether the text is known to be of another kind than the training texts."""
        return self.unusual_reason is not None


def in_words(prediction: Prediction) -> str:
    """The label of a prediction, its score and what is to know about the text, as a line for people."""
    probabilities = ", ".join(f"{name} {value:.3f}" for name, value in prediction.probabilities.items())
    cut = "; only a part of the text was read" if prediction.truncated else ""
    stage = "" if prediction.stage is None else f"; {STAGES[prediction.stage]}"
    unusual = "" if prediction.unusual_reason is None else f"; unusual: {MEANINGS[prediction.unusual_reason]}"
    return f"{prediction.label}  (score {prediction.score:.4f}: {probabilities}{cut}{stage}{unusual})"
