"""Applies the rules of a file to texts and predictions, and checks what they return."""

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

from textclf.errors import RuleError
from textclf.listing import shortened
from textclf.rules.source import NAME, NAME_EXPECTED, RuleSource, max_rewritten_chars
from textclf.runtime.prediction import RULE, UNSURE, Prediction
from textclf.runtime.rule_hooks import Rewritten

_DEFAULT_NAME = "after"
# Distance from 1 that the sum of the probabilities of a rule may have.
_TOLERANCE = 1e-6
# Fields of a prediction that rules must keep.
_KEPT = tuple(
    field.name for field in dataclasses.fields(Prediction) if field.name not in ("label", "probabilities", "rules")
)


def _nothing() -> None:
    """No check."""


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

    def before(self, texts: Sequence[str], check: Callable[[], None] = _nothing) -> list[Rewritten]:
        """Each text, rewritten by the rules; see RuleHooks."""
        rewritten = []
        for position, text in enumerate(texts):
            check()
            try:
                rewritten.append(self._rewritten(text))
            except RuleError as error:
                error.position = position
                raise
        return rewritten

    def after(
        self, rewritten: Sequence[Rewritten], predictions: Sequence[Prediction], check: Callable[[], None] = _nothing
    ) -> list[Prediction]:
        """The predictions after the rules; see RuleHooks."""
        decided = []
        for position, (item, prediction) in enumerate(zip(rewritten, predictions, strict=True)):
            check()
            if item.rules:
                prediction = dataclasses.replace(prediction, text=item.given, rewritten=item.text, rules=item.rules)
            try:
                decided.append(self._decided(prediction))
            except RuleError as error:
                error.position = position
                raise
        return decided

    def _rewritten(self, text: str) -> Rewritten:
        found, rules = self._source.before(text)
        if len(found) > (limit := max_rewritten_chars(text)):
            raise RuleError(
                f"{self._source.place}: expected a rewritten text of at most {limit} characters, because {len(text)} "
                f"were given, got {len(found)}"
            )
        return Rewritten(text, found, rules)

    def _decided(self, prediction: Prediction) -> Prediction:
        # A copy, because rules in Python may change the dict in place.
        given = dataclasses.replace(prediction, probabilities=dict(prediction.probabilities))
        found = self._source.after(prediction.text, given)
        if found is not given:
            self._check_fields(found, prediction)
        given_probabilities = self._checked(found.probabilities)
        rules, added = prediction.rules, found.rules[len(prediction.rules) :]
        if (found.label, given_probabilities, found.rules) == (prediction.label, prediction.probabilities, rules):
            return prediction
        probabilities = self._probabilities(found.label, given_probabilities, prediction)
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
            unsure=found.label == UNSURE,
        )

    def _check_fields(self, found: Prediction, model: Prediction) -> None:
        """Check label, rules and the fields that must stay; values of any type, which may not even compare.

        Raises:
            RuleError: if a field has a value that no rule may give it.
        """
        for name in _KEPT:
            now, before = getattr(found, name), getattr(model, name)
            if now is not before and (type(now) is not type(before) or now != before):
                raise self._refused(
                    "a prediction that differs in label, probabilities and rules only", f"another {name}"
                )
        rules, count = found.rules, len(model.rules)
        is_named = isinstance(rules, tuple) and all(isinstance(name, str) and NAME.fullmatch(name) for name in rules)
        if not is_named or rules[:count] != model.rules:
            added = rules[count:] if isinstance(rules, tuple) else rules
            raise self._refused(f"a tuple of rules with names added at its end, each {NAME_EXPECTED}", _shown(added))
        if not isinstance(found.label, str) or found.label not in (*self._class_names, UNSURE):
            known = shortened(self._class_names, 20)
            raise self._refused(f"the label {UNSURE} or a class ({known})", _shown(found.label))

    def _probabilities(self, label: str, given: dict[str, float], model: Prediction) -> dict[str, float]:
        """The probabilities of a rule; if it chose only a class, 1 for that class, because the rule is certain.

        Raises:
            RuleError: if the probabilities of the rule do not sum to 1.
        """
        if given != model.probabilities:
            total = math.fsum(given.values())
            if abs(total - 1) > _TOLERANCE:
                raise self._refused("probabilities with the sum 1", f"the sum {total:.8g}")
            return given
        if label in self._class_names:
            return {name: float(name == label) for name in self._class_names}
        return model.probabilities

    def _checked(self, probabilities: Any) -> dict[str, float]:
        if not isinstance(probabilities, dict) or set(probabilities) != set(self._class_names):
            raise self._refused("a dict with a probability for each class", f"{type(probabilities).__name__}")
        values = {name: probabilities[name] for name in self._class_names}
        for name, value in values.items():
            is_number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
            if not is_number or not 0 <= value <= 1:
                raise self._refused(f"a probability of {name} from 0 to 1", _shown(value))
        return {name: float(value) for name, value in values.items()}

    def _refused(self, expected: str, found: str) -> RuleError:
        return RuleError(f"{self._source.place}: expected {expected} from after(), got {found}")


def _shown(value: object) -> str:
    return " ".join(repr(value).split())[:80]
