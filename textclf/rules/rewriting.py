"""Rules for a check of the model: they rewrite texts, and a rule that fails on a text does not end the check."""

from collections.abc import Callable, Sequence
from pathlib import Path

from textclf.errors import RuleError
from textclf.rules.loading import with_rules
from textclf.runtime.prediction import Prediction
from textclf.runtime.predictor import Predictor
from textclf.runtime.rule_hooks import Rewritten, RuleHooks


class RewritingRules:
    """The rewrites of rules; see RuleHooks.

    The model reads a text as given if a rule fails on it. No rule decides, because a check judges the model.

    Args:
        rules: the rules of the operator.

    Attributes:
        sha256: SHA-256 of their file, 64 hex digits.
        failed: number of texts on which a rule failed so far.
    """

    def __init__(self, rules: RuleHooks) -> None:
        self.sha256 = rules.sha256
        self.failed = 0
        self._rules = rules

    def before(self, texts: Sequence[str], check: Callable[[], None] = lambda: None) -> list[Rewritten]:
        """Each text, rewritten by the rules, or as given if one fails; see RuleHooks."""
        return [self._rewritten(text, check) for text in texts]

    def after(
        self,
        rewritten: Sequence[Rewritten],
        predictions: Sequence[Prediction],
        check: Callable[[], None] = lambda: None,
    ) -> list[Prediction]:
        """The predictions of the model for the texts that it read."""
        return list(predictions)

    def _rewritten(self, text: str, check: Callable[[], None]) -> Rewritten:
        try:
            return self._rules.before([text], check)[0]
        except RuleError:
            self.failed += 1
            return Rewritten(text, text, ())


def with_rewrites(predictor: Predictor, path: Path | str | None) -> Predictor:
    """The predictor with the rewrites of a file of rules; None adds no rules.

    Raises:
        ConfigError, ModelStoreError: if with_rules() raises it.
    """
    predictor = with_rules(predictor, path)
    if predictor.rules is not None:
        predictor.rules = RewritingRules(predictor.rules)
    return predictor


def failure_notes(predictor: Predictor) -> tuple[str, ...]:
    """A sentence for the report if a rule of with_rewrites() failed."""
    failed = predictor.rules.failed if isinstance(predictor.rules, RewritingRules) else 0
    return (f"Texts on which a rule failed, used without their rewrites: {failed:,}.",) if failed else ()
