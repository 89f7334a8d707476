"""The prediction for one text."""

import dataclasses
from dataclasses import dataclass

from textclf.runtime.cascade import ENCODER, LINEAR
from textclf.tokenization.text_key import is_blank
from textclf.unusual_reasons import MEANINGS

# [CLS] and [SEP], the wordpieces of every text.
MARKERS = 2
# Stage of a prediction that a rule of the operator replaced, and the label of a rule that refuses to choose a class.
RULE = "rule"
UNSURE = "unsure"
STAGES = {LINEAR: "by the linear stage", ENCODER: "by the encoder"}


@dataclass(frozen=True)
class Prediction:
    """The prediction for one text.

    Attributes:
        text: the text, as given.
        label: the predicted class; a rule may also choose "unsure".
        score: with two classes the probability of the second class, else the probability of `label`.
        probabilities: class name -> probability, in the order of the class ids.
        truncated: whether the model read only a part of the text; None if unknown. The linear stage reads the whole
            text, so its predictions are never truncated.
        tokens: wordpieces of the whole text, with [CLS] and [SEP]; None if unknown.
        stage: "linear" or "encoder", the cascade stage that predicted; None without a cascade; "rule" if a rule
            replaced the prediction.
        unusual_reason: why the text is not of the kind that the version was trained on ("no_words", "unknown_words" or
            "far_from_training": textclf.runtime.unusual); None if it is, or if the version can't tell.
        rules: names of the rules that changed the text or the prediction, in the order in which they did.
        rewritten: the text that the model read, if rules rewrote it; None if it read `text`.
        replaced: the prediction of the model that a rule replaced; None if no rule did.
        unsure: whether the probability of `label` is below the version's threshold of the class, or a rule chose
            "unsure"; False for a version without thresholds.
    """

    text: str
    label: str
    score: float
    probabilities: dict[str, float]
    truncated: bool | None
    tokens: int | None = None
    stage: str | None = None
    unusual_reason: str | None = None
    rules: tuple[str, ...] = ()
    rewritten: str | None = None
    replaced: "Prediction | None" = None
    unsure: bool = False

    @property
    def read_text(self) -> str:
        """The text that the model read."""
        return self.text if self.rewritten is None else self.rewritten

    @property
    def of_model(self) -> "Prediction":
        """The prediction of the model, whatever the rules decided."""
        return self if self.replaced is None else self.replaced

    @property
    def probability(self) -> float:
        """The probability of `label`; 0 for "unsure", which is not a class."""
        return self.probabilities.get(self.label, 0.0)

    @property
    def is_empty(self) -> bool:
        """Whether the text that the model read is blank, so that its prediction says nothing about it."""
        return is_blank(self.read_text)

    @property
    def unusual(self) -> bool:
        """Whether the text is known to be of another kind than the training texts."""
        return self.unusual_reason is not None

    def with_label(self, label: str, rule: str = "after") -> "Prediction":
        """This prediction with another label, for the function `after` of rules in Python.

        Args:
            label: a class of the model, or "unsure".
            rule: name of the rule, for responses, the prediction log and metrics.
        """
        return dataclasses.replace(self, label=label, rules=(*self.rules, rule))


def in_words(prediction: Prediction) -> str:
    """The label of a prediction, its score and what is to know about the text, as a line for people."""
    probabilities = ", ".join(f"{name} {value:.3f}" for name, value in prediction.probabilities.items())
    cut = "; only a part of the text was read" if prediction.truncated else ""
    stage = "" if prediction.stage is None else f"; {_stage_in_words(prediction)}"
    if prediction.rewritten is not None:
        stage += "; the text was rewritten by a rule"
    unusual = "" if prediction.unusual_reason is None else f"; unusual: {MEANINGS[prediction.unusual_reason]}"
    unsure = "; unsure" if prediction.unsure and prediction.label != UNSURE else ""
    return f"{prediction.label}  (score {prediction.score:.4f}: {probabilities}{cut}{stage}{unusual}{unsure})"


def _stage_in_words(prediction: Prediction) -> str:
    if prediction.stage != RULE:
        return STAGES[str(prediction.stage)]
    return f"by the rule {prediction.rules[-1]}; the model predicted {prediction.of_model.label}"
