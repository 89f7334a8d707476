"""Reads a file of rules, fits it to a model, and checks it on the model's golden texts."""

import hashlib
from pathlib import Path

from textclf.errors import ConfigError, RuleError
from textclf.rules.applying import AppliedRules
from textclf.rules.python_rules import load_python_rules
from textclf.rules.rule_file import parse_rules
from textclf.rules.source import RuleSource
from textclf.runtime.predictor import Predictor

_MAX_BYTES = 1024**2
# For a plain SavedModel, which has no golden texts.
_TEXTS = ("A text of some words.", "")


def with_rules(predictor: Predictor, path: Path | str | None) -> Predictor:
    """The predictor with the rules of a file, after they were checked on its golden texts; None adds no rules.

    Raises:
        ConfigError: if the file can't be read, is invalid, does not fit the model, or fails on a golden text.
        ModelStoreError: if Predictor.predict raises it.
    """
    if path is None:
        return predictor
    source = load_rules(Path(path))
    source.check(predictor.class_names)
    predictor.rules = AppliedRules(source, predictor.class_names)
    texts = predictor.golden_texts or _TEXTS
    try:
        predictor.predict(texts)
    except RuleError as error:
        raise ConfigError(
            f"{error.detail}; the text is {texts[error.position][:80]!r}, one of the golden texts of the model; "
            f"correct the rule"
        ) from error
    return predictor


def load_rules(path: Path) -> RuleSource:
    """The rules of a .py or .toml file.

    Raises:
        ConfigError: if the file can't be read, has another ending, or is invalid.
    """
    if path.suffix not in (".py", ".toml"):
        raise ConfigError(f"{path}: expected rules in a file that ends in .py or .toml; rename the file")
    try:
        if path.exists() and not path.is_file():  # To open a pipe would wait.
            raise ConfigError(f"{path}: expected a file of rules, got something else; correct the path")
        with open(path, "rb") as file:
            content = file.read(_MAX_BYTES + 1)
    except OSError as error:
        raise ConfigError(
            f"{path}: expected a file of rules, got an error ({error.strerror}); correct the path, or leave it out"
        ) from None
    if len(content) > _MAX_BYTES:
        raise ConfigError(f"{path}: expected at most {_MAX_BYTES:,} bytes of rules, found more; remove some")
    sha256 = hashlib.sha256(content).hexdigest()
    if path.suffix == ".py":
        return load_python_rules(content, str(path), sha256)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: expected UTF-8, found another byte at {error.start}; save it as UTF-8") from None
    return parse_rules(text, str(path), sha256)
