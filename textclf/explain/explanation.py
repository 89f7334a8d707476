"""The explanation of one prediction: a value for each word and class."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

UNITS = ("probability", "logit")


@dataclass(frozen=True, eq=False)
class Explanation:
    """Which words speak for which class, according to the model that predicted.

    For every class the base value and the values of all words add up to the probability. With the unit "logit" they
    add up to calibrated logits with mean 0, whose softmax are the probabilities. If a rule replaced the prediction, the
    values are still those of the model, and add up to the model's probabilities.

    Attributes:
        text: the text that the model read, to which words and spans belong; it is the text as given, unless a rule
            rewrote it.
        class_names: classes that have values; K of them.
        label: the predicted class.
        probabilities: class name -> probability of all classes, as predict() returns them.
        words: the words, as they are in the text.
        spans: characters [start, end) of each word, ascending and disjoint.
        values: value of each word for each class: float64 [words, K]; 0 for words that the model did not read.
        base_values: what the model predicts without any word: float64 [K].
        unit: "probability" or "logit".
        stage: "linear" or "encoder", the cascade stage that predicted; None without a cascade; "rule" if a rule
            replaced the prediction.
        baseline: how words are taken away: "mask", "attention", "deletion", or "absence" at the linear stage.
        evaluations: variants of the text that the encoder read.
        complete: whether every word that the model read was evaluated; if false, some words share a group's value.
        unseen: characters [start, end) that the model did not read, because the text is too long; () if none.
        truncated: whether there are such characters; None if unknown.
        rules: names of the rules that changed the text or the prediction.
        model_probabilities: probabilities of the model, if a rule replaced its prediction; else None.
    """

    text: str
    class_names: tuple[str, ...]
    label: str
    probabilities: dict[str, float]
    words: tuple[str, ...]
    spans: tuple[tuple[int, int], ...]
    values: NDArray[np.float64]
    base_values: NDArray[np.float64]
    unit: str
    stage: str | None
    baseline: str
    evaluations: int
    complete: bool
    unseen: tuple[tuple[int, int], ...]
    truncated: bool | None
    rules: tuple[str, ...] = ()
    model_probabilities: dict[str, float] | None = None

    @property
    def stage_in_words(self) -> str:
        """The stage or the rule that predicted, as the end of a sentence; "" without both."""
        if self.model_probabilities is not None:
            return f" by the rule {self.rules[-1]}, but the values explain the model"
        return "" if self.stage is None else f" by the {self.stage} stage"

    def pieces(self) -> list[tuple[str, dict[str, float]]]:
        """Pieces of the text with a value for each class; they join to the text.

        A piece is a word with the blanks after it. The first and the last piece stand for [CLS] and [SEP] and have
        the value 0: the first contains the blanks before the first word, the last is empty.
        """
        nothing = dict.fromkeys(self.class_names, 0.0)
        starts = [start for start, _ in self.spans]
        ends = [*starts, len(self.text)][1:]
        rows = self.values.tolist()
        first = self.text[: starts[0]] if starts else self.text
        return [
            (first, nothing),
            *(
                (self.text[start:end], dict(zip(self.class_names, row, strict=True)))
                for start, end, row in zip(starts, ends, rows, strict=True)
            ),
            ("", dict(nothing)),
        ]

    def to_dict(self) -> dict[str, Any]:
        """All fields for JSON; values and base values by class name, `stage` only with a cascade."""
        columns = self.values.T.tolist()
        return {
            "text": self.text,
            "label": self.label,
            "probabilities": self.probabilities,
            "words": list(self.words),
            "spans": [list(span) for span in self.spans],
            "values": dict(zip(self.class_names, columns, strict=True)),
            "base_values": dict(zip(self.class_names, self.base_values.tolist(), strict=True)),
            "unit": self.unit,
            **({} if self.stage is None else {"stage": self.stage}),
            "baseline": self.baseline,
            "evaluations": self.evaluations,
            "complete": self.complete,
            "unseen": [list(span) for span in self.unseen],
            "truncated": self.truncated,
            **self.rule_fields(),
        }

    def rule_fields(self) -> dict[str, Any]:
        """The fields of a text that rules changed; {} for other texts."""
        fields: dict[str, Any] = {"rules": list(self.rules)} if self.rules else {}
        if self.model_probabilities is not None:
            fields["model_probabilities"] = self.model_probabilities
        return fields

    def to_html(self) -> str:
        """A self-contained HTML page with the coloured text, without scripts."""
        from textclf.explain.html import page  # It imports this module.

        return "".join(page([self], "Explanation"))

    def _repr_html_(self) -> str:
        """The explanation for a notebook."""
        from textclf.explain.html import fragment

        return fragment(self)
