"""Where the operator's rules meet the model: the part of textclf.rules.applying.AppliedRules that Predictor needs."""

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from textclf.runtime.prediction import Prediction


class Rewritten(NamedTuple):
    """A text before the model reads it.

    Attributes:
        given: the text, as given.
        text: the text that the model reads.
        rules: names of the rules that rewrote it, in their order.
    """

    given: str
    text: str
    rules: tuple[str, ...]


class RuleHooks(Protocol):
    """Rules of an operator: they may rewrite texts, and replace predictions.

    Attributes:
        sha256: SHA-256 of their file, 64 hex digits.
    """

    sha256: str

    def before(self, texts: Sequence[str], check: Callable[[], None] = ...) -> list[Rewritten]:
        """Each text, rewritten by the rules.

        Args:
            texts: texts as given.
            check: called before each text; an exception from it ends the call.

        Raises:
            RuleError: if a rule fails; it has the position of the text.
        """

    def after(
        self, rewritten: Sequence[Rewritten], predictions: Sequence[Prediction], check: Callable[[], None] = ...
    ) -> list[Prediction]:
        """The predictions for the texts as given, after the rules.

        Args:
            rewritten: what before() returned.
            predictions: the model's predictions for the rewritten texts.
            check: as of before().

        Raises:
            RuleError: if a rule fails; it has the position of the text.
        """
