"""Rules in Python. docs/rules.md describes the two functions."""

import html

from textclf.runtime.prediction import Prediction


def before(text: str) -> str:
    """Decode entities such as &amp; in texts of web pages."""
    return html.unescape(text)


def after(text: str, prediction: Prediction) -> Prediction:
    """Decide texts about refunds, and refuse to decide those that the model is not sure of."""
    if "money back" in text.lower():
        return prediction.with_label("neg", "money-back")
    if max(prediction.probabilities.values()) < 0.6:
        return prediction.with_label("unsure", "close-call")
    return prediction
