"""The interface of a file of rules, whatever its format."""

import re
from collections.abc import Sequence
from typing import Protocol

from textclf.runtime.prediction import Prediction

# Names of rules become labels of metrics and items of responses.
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", re.ASCII)
NAME_EXPECTED = "a name of 1 to 64 letters, digits, dots, _ and -, which starts with a letter or a digit"
# The server bounds work by the text that a client sends, so a rewritten text may not be much longer.
_MAX_GROWTH = 10
_SHORT_TEXT_CHARS = 10_000


def max_rewritten_chars(text: str) -> int:
    """Maximum characters of a text after all rewrites."""
    return max(_MAX_GROWTH * len(text), _SHORT_TEXT_CHARS)


class RuleSource(Protocol):
    """The rules of one file; several threads may use them at a time."""

    @property
    def place(self) -> str:
        """The file, for messages."""

    @property
    def sha256(self) -> str:
        """SHA-256 of the file, 64 hex digits."""

    def check(self, class_names: Sequence[str]) -> None:
        """Check that the rules fit a model.

        Raises:
            ConfigError: if a rule names a label that is neither a class of the model nor "unsure".
        """

    def before(self, text: str) -> tuple[str, tuple[str, ...]]:
        """The text that the model is to read, and the names of the rules that rewrote it.

        Raises:
            RuleError: if a rule fails.
        """

    def after(self, text: str, prediction: Prediction) -> Prediction:
        """The prediction that a rule puts in the place of the model's, or `prediction` itself.

        Args:
            text: the text, as given.
            prediction: the prediction of the model.

        Raises:
            RuleError: if a rule fails.
        """
