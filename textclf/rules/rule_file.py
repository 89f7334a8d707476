"""Rules without code: a TOML file that maps patterns to a label, to "unsure" or to another text.

Patterns are regular expressions of RE2, which searches a text in time proportional to its length, whatever the pattern.
Python's own expressions may need hours for a text that a client chooses. RE2 has no lookaround and no backreferences.
"""

import re
import time
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from textclf.errors import ConfigError, RuleError
from textclf.listing import shortened
from textclf.rules.source import NAME, NAME_EXPECTED, max_rewritten_chars
from textclf.runtime.prediction import UNSURE, Prediction

# Each rule may use the memory below, and all of them together that of their joined pattern.
MAX_RULES = 200
MAX_PATTERN_CHARS = 10_000
_PATTERN_BYTES = 1 << 20
_JOINED_BYTES = 16 << 20
# One search is fast, but a rewrite may search a text once per character.
_REWRITE_SECONDS = 1.0
# A pattern that matches each of them and the empty text leaves nothing to the model.
_OTHER_TEXTS = ("x", "7", "A text of some words.", "Über 3 %!", "\n", "日本")
_KEYS = ("name", "pattern", "label", "rewrite")
_REFERENCE = re.compile(r"\\(.?)", re.DOTALL)


@dataclass(frozen=True)
class PatternRule:
    """A rule of a TOML file.

    Attributes:
        name: its name.
        pattern: compiled pattern; it matches anywhere in a text.
        label: label of the texts that match; None for a rewrite.
        replacement: parts that replace each match, literal texts and numbers of groups; () for a label.
    """

    name: str
    pattern: Any
    label: str | None = None
    replacement: tuple[str | int, ...] = ()


class TomlRules:
    """The rules of a TOML file: rewrites in their order, then the first rule for a label that matches.

    Args:
        place: the file, for messages.
        sha256: SHA-256 of the file.
        rules: rules in the order of the file.
    """

    def __init__(self, place: str, sha256: str, rules: Sequence[PatternRule]) -> None:
        self.place = place
        self.sha256 = sha256
        self.rewrites = tuple(rule for rule in rules if rule.label is None)
        self.labels = tuple(rule for rule in rules if rule.label is not None)
        # Most texts match no rule: one search shows it. The first match of a rewrite is in the text as it was sent.
        self._any_rewrite = _any_of(self.rewrites)
        self._any_label = _any_of(self.labels)

    def check(self, class_names: Sequence[str]) -> None:
        """Check that the labels are classes of the model, or "unsure"; see RuleSource."""
        for rule in self.labels:
            if rule.label not in (*class_names, UNSURE):
                raise ConfigError(
                    f"{self.place}: rule {rule.name!r}: expected the label {UNSURE} or a class of the model "
                    f"({shortened(class_names, 20)}), got {str(rule.label)[:100]!r}; correct the label"
                )

    def before(self, text: str) -> tuple[str, tuple[str, ...]]:
        """The text after the rewrites; see RuleSource."""
        names: list[str] = []
        if not self.rewrites or (self._any_rewrite and self._any_rewrite.search(text.encode()) is None):
            return text, ()
        limit = max_rewritten_chars(text)
        for rule in self.rewrites:
            rewritten = self._rewritten(rule, text, limit)
            if rewritten != text:
                text = rewritten
                names.append(rule.name)
        return text, tuple(names)

    def after(self, text: str, prediction: Prediction) -> Prediction:
        """The label of the first rule that matches the text; see RuleSource."""
        if not self.labels:
            return prediction
        content = text.encode()
        if self._any_label and self._any_label.search(content) is None:
            return prediction
        for rule in self.labels:
            if rule.pattern.search(content) is not None:
                return prediction.with_label(str(rule.label), rule.name)
        return prediction

    def _rewritten(self, rule: PatternRule, text: str, max_chars: int) -> str:
        parts: list[str] = []
        position = chars = 0
        end = 0.0
        for match in rule.pattern.finditer(text):
            if not parts:
                end = time.monotonic() + _REWRITE_SECONDS
            elif time.monotonic() > end:
                raise RuleError(
                    f"{self.place}: the rule {rule.name!r} searched a text for more than {_REWRITE_SECONDS:g} seconds"
                )
            if parts and match.end() == position:
                continue  # An empty match right after the last one, which the library may give twice.
            parts.append(text[position : match.start()])
            replacement = [part if isinstance(part, str) else match[part] or "" for part in rule.replacement]
            # Only replacements can make a text much longer; stop before they take the memory.
            chars += sum(map(len, replacement))
            if chars > max_chars:
                raise RuleError(
                    f"{self.place}: the rule {rule.name!r} made a text longer than {max_chars} characters, the limit "
                    f"after rewrites"
                )
            parts += replacement
            position = match.end()
        return "".join([*parts, text[position:]]) if parts else text


def parse_rules(content: str, place: str, sha256: str) -> TomlRules:
    """The rules of a TOML file.

    Args:
        content: the file.
        place: the file, for messages.
        sha256: SHA-256 of the file.

    Raises:
        ConfigError: if the file is not TOML, has no rules, or a rule is invalid; names the rule.
    """
    try:
        found = tomllib.loads(content)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{place}: expected TOML, found an error ({error}); correct it") from None
    tables = found.get("rules")
    is_list = isinstance(tables, list) and all(isinstance(table, dict) for table in tables)
    if not is_list or not tables or len(found) > 1:
        names = shortened(list(map(repr, found)), 5) or "nothing"
        raise ConfigError(f"{place}: expected tables [[rules]] and nothing else, found {names}; correct the file")
    if len(tables) > MAX_RULES:
        raise ConfigError(
            f"{place}: expected at most {MAX_RULES} rules, found {len(tables)}; join patterns that have the same label "
            f"with |"
        )
    return TomlRules(place, sha256, list(_rules(tables, place)))


def _rules(tables: Sequence[Mapping[str, Any]], place: str) -> Iterator[PatternRule]:
    known: set[str] = set()
    for number, table in enumerate(tables, 1):
        name = table.get("name")
        where = f"{place}: rule {number}" if not isinstance(name, str) else f"{place}: rule {name[:80]!r}"
        if not isinstance(name, str) or not NAME.fullmatch(name):
            raise ConfigError(f"{where}: expected a name: {NAME_EXPECTED}; got {name!r:.80}; give it such a name")
        if name in known:
            raise ConfigError(f"{where}: expected a name for each rule, found it twice; rename one of them")
        known.add(name)
        if unknown := [key for key in table if key not in _KEYS]:
            raise ConfigError(
                f"{where}: expected the keys {', '.join(_KEYS)}, found {shortened(unknown, 5)}; correct the key"
            )
        if ("label" in table) == ("rewrite" in table):
            found = "both" if "label" in table else "neither"
            raise ConfigError(f"{where}: expected either label or rewrite, found {found}; give one of them")
        for key in ("pattern", "label", "rewrite"):
            if key in table and not isinstance(table[key], str):
                raise ConfigError(f"{where}: {key}: expected a text in quotes, got {table[key]!r:.80}; put quotes")
        pattern = _compiled(table.get("pattern", ""), where)
        _check_reach(pattern, where, "label" in table)
        if "label" in table:
            yield PatternRule(name, pattern, label=table["label"])
        else:
            yield PatternRule(name, pattern, replacement=_replacement(table["rewrite"], pattern.groups, where))


def _any_of(rules: Sequence[PatternRule]) -> Any:
    """A pattern that matches where one of the rules does; None if they can't be joined, or are too few to gain."""
    import re2

    if len(rules) < 2:
        return None
    try:
        return re2.compile("|".join(f"(?:{rule.pattern.pattern})" for rule in rules), _options(_JOINED_BYTES))
    except re2.error:  # Two groups have the same name, or the patterns are too large together.
        return None


def _options(max_bytes: int) -> Any:
    import re2

    options = re2.Options()
    options.max_mem = max_bytes
    options.log_errors = False
    return options


def _compiled(pattern: str, where: str) -> Any:
    import re2  # Here, because only a server with such rules needs it.

    if len(pattern) > MAX_PATTERN_CHARS:
        raise ConfigError(
            f"{where}: expected a pattern of at most {MAX_PATTERN_CHARS} characters, got {len(pattern)}; split the rule"
        )
    try:
        compiled = re2.compile(pattern, _options(_PATTERN_BYTES))
    except re2.error as error:
        reason = error.args[0].decode(errors="replace") if error.args else "unknown"
        raise ConfigError(
            f"{where}: expected a pattern of RE2 (without lookaround and backreferences), got one with an error "
            f"({reason:.200}); correct the pattern"
        ) from None
    return compiled


def _check_reach(pattern: Any, where: str, has_label: bool) -> None:
    """Check that a label's pattern does not match every text, and a rewrite's not the empty text.

    Raises:
        ConfigError: if it does.
    """
    if pattern.search("") is None:
        return
    shown = repr(pattern.pattern[:80])
    if not has_label:
        raise ConfigError(
            f"{where}: expected the pattern of a rewrite to match no empty text, got {shown}, which does; add what a "
            f"text must contain"
        )
    if all(pattern.search(text) is not None for text in _OTHER_TEXTS):
        raise ConfigError(
            f"{where}: expected a pattern that matches only some texts, got {shown}, which matches the empty text and "
            f"all others that were tried; add what a text must contain"
        )


def _replacement(template: str, groups: int, where: str) -> tuple[str | int, ...]:
    r"""The parts of a replacement: \0 is the match, \1 to \9 are groups, \\ is a backslash."""
    parts: list[str | int] = []
    position = 0
    for match in _REFERENCE.finditer(template):
        parts.append(template[position : match.start()])
        position = match.end()
        if match[1] == "\\":
            parts.append("\\")
        elif match[1].isascii() and match[1].isdigit() and int(match[1]) <= groups:
            parts.append(int(match[1]))
        else:
            raise ConfigError(
                rf"{where}: rewrite: expected \0 for the match, up to \{groups} for its groups, or \\, got "
                f"{match[0]!r}; correct it, or add a group (…) to the pattern"
            )
    parts.append(template[position:])
    return tuple(part for part in parts if part != "")
