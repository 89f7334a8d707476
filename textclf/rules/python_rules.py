"""Rules in Python: a file with `before(text) -> text`, `after(text, prediction) -> prediction`, or both.

The file is the operator's code. It runs in the process with all its rights, like the code of this project.
"""

import sys
import traceback
import types
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from textclf.errors import ConfigError, RuleError
from textclf.runtime.prediction import Prediction
from textclf.unicode import is_unicode

BEFORE, AFTER = "before", "after"


@dataclass(frozen=True)
class PythonRules:
    """The functions of a Python file; a function that it lacks changes nothing. See RuleSource.

    Attributes:
        place: path of the file.
        sha256: SHA-256 of the file.
        rewrite: its function `before`.
        decide: its function `after`.
    """

    place: str
    sha256: str
    rewrite: Callable[[str], Any] | None = None
    decide: Callable[[str, Prediction], Any] | None = None

    def check(self, class_names: Sequence[str]) -> None:
        """Nothing: labels of functions are known only when they are called."""

    def before(self, text: str) -> tuple[str, tuple[str, ...]]:
        """The text that `before` returns; see RuleSource."""
        if self.rewrite is None:
            return text, ()
        found = self._called(BEFORE, self.rewrite, text)
        if not isinstance(found, str):
            raise self._refused(BEFORE, "a str", type(found).__name__)
        if found == text:
            return text, ()
        if not is_unicode(found):
            raise self._refused(BEFORE, "well-formed Unicode", "half of a surrogate pair")
        return found, (BEFORE,)

    def after(self, text: str, prediction: Prediction) -> Prediction:
        """The prediction that `after` returns; see RuleSource."""
        if self.decide is None:
            return prediction
        found = self._called(AFTER, self.decide, text, prediction)
        if not isinstance(found, Prediction):
            raise self._refused(AFTER, "the prediction, or prediction.with_label(…)", type(found).__name__)
        return found

    def _called(self, name: str, function: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return function(*arguments)
        except (Exception, SystemExit) as error:
            message = f"{place_of(error, self.place)}: {name}() raised {type(error).__name__}"
            raise RuleError(message, detail=_with_message(message, error)) from error

    def _refused(self, name: str, expected: str, found: str) -> RuleError:
        return RuleError(f"{self.place}: expected {expected} from {name}(), got {found}")


def load_python_rules(content: bytes, place: str, sha256: str) -> PythonRules:
    """Run a Python file and return its functions.

    Args:
        content: the file; what was hashed is what runs.
        place: path of the file.
        sha256: SHA-256 of the file.

    Raises:
        ConfigError: if the file raises an exception, or defines neither function.
    """
    module = types.ModuleType(f"textclf_rules_{sha256[:16]}")
    module.__file__ = place
    # Classes of the file, such as dataclasses, look their module up.
    sys.modules[module.__name__] = module
    try:
        exec(compile(content, place, "exec"), module.__dict__)  # noqa: S102 the operator's own code
    except (Exception, SystemExit) as error:
        reason = _with_message(type(error).__name__, error)
        raise ConfigError(
            f"{place_of(error, place)}: expected Python code that runs, got {reason}; correct the file"
        ) from error
    functions = {name: vars(module).get(name) for name in (BEFORE, AFTER)}
    if wrong := [name for name, value in functions.items() if value is not None and not callable(value)]:
        raise ConfigError(f"{place}: expected a function {wrong[0]}, got {vars(module)[wrong[0]]!r:.80}; rename it")
    if not any(functions.values()):
        raise ConfigError(
            f"{place}: expected a function before(text), or after(text, prediction), found neither; define one"
        )
    return PythonRules(place, sha256, functions[BEFORE], functions[AFTER])


def place_of(error: BaseException, place: str) -> str:
    """The file, with the last of its lines that the exception passed."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == place]
    if isinstance(error, SyntaxError) and error.filename == place:
        lines.append(error.lineno)
    return f"{place}, line {lines[-1]}" if lines and lines[-1] else place


def _with_message(start: str, error: BaseException) -> str:
    text = error.msg if isinstance(error, SyntaxError) else str(error)
    text = " ".join(text.split())[:300]
    return f"{start}: {text}" if text else start
