"""The prediction for one labelled review."""

from dataclasses import dataclass
from pathlib import Path

from textclf.runtime.prediction import Prediction


@dataclass(frozen=True)
class ScoredReview:
    """A labelled review from disk and its prediction.

    Attributes:
        path, text: file of the review, and its text.
        label: its class.
        prediction: the prediction of the model.
    """

    path: Path
    text: str
    label: str
    prediction: Prediction

    @property
    def is_right(self) -> bool:
        """Whether the model predicted the label."""
        return self.prediction.label == self.label
