"""Applies the rules of a file to texts and predictions, and checks what they return."""

import dataclasses
import math
from collections.abc import Mapping, Sequence

from textclf.errors import RuleError
from textclf.listing import shortened
from textclf.rules.source import NAME, NAME_EXPECTED, RuleSource
from textclf.runtime.prediction import RULE, UNSURE, Prediction
from textclf.runtime.rule_hooks import Rewritten

_DEFAULT_NAME = "after"


class AppliedRules:
    """The rules of a file for a model; see RuleHooks.

    Args:
        source: the rules.
        class_names: classes of the model.
    """

    def __init__(self, source: RuleSource, class_names: Sequence[str]) -> None:
        self.sha256 = source.sha256
        self._source = source
        self._class_names = tuple(class_names)

    def before(self, texts: Sequence[str]) -> list[Rewritten]:
        """Each text, rewritten by the rules; see RuleHooks."""
        rewritten = []
        for position, text in enumerate(texts):
            try:
                rewritten.append(Rewritten(text, *self._source.before(text)))
            except RuleError as error:
                error.position = position
                raise
        return rewritten

    def after(self, rewritten: Sequence[Rewritten], predictions: Sequence[Prediction]) -> list[Prediction]:
        """The predictions after the rules; see RuleHooks."""
        decided = []
        for position, (item, prediction) in enumerate(zip(rewritten, predictions, strict=True)):
            if item.rules:
                prediction = dataclasses.replace(prediction, text=item.given, rewritten=item.text, rules=item.rules)
            try:
                decided.append(self._decided(prediction))
            except RuleError as error:
                error.position = position
                raise
        return decided

    def _decided(self, prediction: Prediction) -> Prediction:
        # A copy, because rules in Python may change the dict in place.
        given = dataclasses.replace(prediction, probabilities=dict(prediction.probabilities))
        found = self._source.after(prediction.text, given)
        if found == prediction:
            return prediction
        rules, added = prediction.rules, found.rules[len(prediction.rules) :]
        if (
            dataclasses.replace(found, label=prediction.label, probabilities=prediction.probabilities, rules=rules)
            != prediction
        ):
            raise self._refused("a prediction that differs in label, probabilities and rules only", "another one")
        if found.rules[: len(rules)] != rules or not all(
            isinstance(name, str) and NAME.fullmatch(name) for name in added
        ):
            raise self._refused(f"rules with names added at their end, each {NAME_EXPECTED}", repr(added)[:80])
        if found.label not in (*self._class_names, UNSURE):
            known = shortened(self._class_names, 20)
            raise self._refused(f"the label {UNSURE} or a class ({known})", repr(found.label)[:80])
        probabilities = self._probabilities(found, prediction)
        score = (
            probabilities[self._class_names[1]] if len(self._class_names) == 2 else probabilities.get(found.label, 0.0)
        )
        return dataclasses.replace(
            found,
            score=score,
            probabilities=probabilities,
            stage=RULE,
            rules=(*rules, *(added or (_DEFAULT_NAME,))),
            replaced=prediction,
        )

    def _probabilities(self, found: Prediction, model: Prediction) -> dict[str, float]:
        """The probabilities of a rule; if it chose only a class, 1 for that class, because the rule is certain."""
        if found.probabilities != model.probabilities:
            return self._checked(found.probabilities)
        if found.label in self._class_names:
            return {name: float(name == found.label) for name in self._class_names}
        return model.probabilities

    def _checked(self, probabilities: Mapping[str, float]) -> dict[str, float]:
        if not isinstance(probabilities, Mapping) or set(probabilities) != set(self._class_names):
            raise self._refused("a dict with a probability for each class", f"{type(probabilities).__name__}")
        values = {name: probabilities[name] for name in self._class_names}
        for name, value in values.items():
            is_number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
            if not is_number or not 0 <= value <= 1:
                raise self._refused(f"a probability of {name} from 0 to 1", repr(value)[:80])
        return {name: float(value) for name, value in values.items()}

    def _refused(self, expected: str, found: str) -> RuleError:
        return RuleError(f"{self._source.place}: expected {expected} from after(), got {found}")
