"""The prediction for one text."""

from dataclasses import dataclass

from textclf.tokenization.text_key import is_blank

# [CLS] and [SEP], the wordpieces of every text.
MARKERS = 2


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
    """

    text: str
    label: str
    score: float
    probabilities: dict[str, float]
    truncated: bool | None
    tokens: int | None = None
    stage: str | None = None

    @property
    def is_empty(self) -> bool:
        """Whether the text is blank, so that the prediction says nothing about it."""
        return is_blank(self.text)
