"""Options declared once, as fields of frozen dataclasses: default, bounds and one help sentence in the metadata.

Checks, strings from outside, command-line options (textclf.cli.options) and tables of the documentation use them.
"""

import dataclasses
import json
import re
from collections.abc import Callable, Collection
from dataclasses import MISSING, dataclass
from pathlib import Path
from typing import Any

# Default of a field that must be given.
REQUIRED = MISSING

_SWITCHES = {"1": True, "0": False, "true": True, "false": False, "yes": True, "no": False, "on": True, "off": False}
# int() and float() accept more than people write: 1_0 for 10, digits of other scripts, nan.
_WHOLE = r"[+-]?[0-9]{1,18}"
_NUMBER = r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,3})?"
_ARTICLE = re.compile(r"^(?:an? (?:(?:whole )?number (?:of |from )?)?|one of )")
_SWITCH_TEXTS = "on or off (also 1, 0, true, false, yes, no)"


@dataclass(frozen=True)
class Rule:
    """Describes the value of one field.

    Attributes:
        help: sentence for --help and for tables.
        kind: type of the value.
        parse: value of a string; raises ValueError.
        holds: whether a value is accepted.
        expected: completes the error message "expected …".
        choices: the accepted texts, if they are few.
        shown: default in --help and in tables, if not the default itself.
        flag: command-line option, if not the name of the field.
        metavar: placeholder of the value in --help.
        envvar: environment variable that sets the command-line option.
        is_secret: errors must not quote the value.
    """

    help: str
    kind: type[Any]
    parse: Callable[[str], Any]
    holds: Callable[[Any], bool]
    expected: str
    choices: tuple[str, ...] = ()
    shown: str = ""
    flag: str = ""
    metavar: str | None = None
    envvar: str | None = None
    is_secret: bool = False

    @property
    def values(self) -> str:
        """The accepted values, for tables: `expected` in fewer words."""
        return _SWITCH_TEXTS if self.kind is bool else _ARTICLE.sub("", self.expected)

    @property
    def expected_text(self) -> str:
        """`expected`, for a value that came as text."""
        return _SWITCH_TEXTS if self.kind is bool else self.expected


def option(default: Any, rule: Rule, *, or_none: bool = False) -> Any:
    """A dataclass field with a rule; a callable makes its default, and a default of None accepts None."""
    if or_none or default is None:
        accepts, null = rule.holds, ", or null" if or_none else ""
        rule = dataclasses.replace(
            rule, holds=lambda value: value is None or accepts(value), expected=f"{rule.expected}{null}"
        )
    made = {"default_factory": default} if callable(default) else {"default": default}
    return dataclasses.field(**made, metadata={"rule": rule})


def whole(default: Any, help: str, *, min: int = 0, max: int | None = None, **more: Any) -> Any:
    """A field for a whole number in [min, max]."""

    def holds(value: Any) -> bool:
        return _is_a(int, value) and min <= value and (max is None or value <= max)

    return option(default, Rule(help, int, parse_whole, holds, f"a whole number {_bounds(min, max)}", **more))


def number(
    default: Any,
    help: str,
    *,
    min: float | None = None,
    max: float | None = None,
    above: float | None = None,
    below: float | None = None,
    or_none: bool = False,
    **more: Any,
) -> Any:
    """A field for a number; `min` and `max` are accepted, `above` and `below` are not."""

    def holds(value: Any) -> bool:
        return (
            _is_a(int | float, value)
            and (min is None or value >= min)
            and (max is None or value <= max)
            and (above is None or value > above)
            and (below is None or value < below)
        )

    expected = f"a number {_bounds(min, max, above, below)}"
    return option(default, Rule(help, float, parse_number, holds, expected, **more), or_none=or_none)


def share(default: Any, help: str, **more: Any) -> Any:
    """A field for a number in [0, 1)."""
    return number(default, help, min=0, below=1, **more)


def switch(default: Any, help: str, **more: Any) -> Any:
    """A field for true or false themselves: the text "False" would count as true."""
    return option(
        default, Rule(help, bool, parse_switch, lambda value: isinstance(value, bool), "true or false", **more)
    )


def text(default: Any, help: str, *, pattern: str = ".*", expected: str = "a text", **more: Any) -> Any:
    """A field for a text; `pattern` must match all of it."""

    def holds(value: Any) -> bool:
        return isinstance(value, str) and re.fullmatch(pattern, value, re.ASCII | re.DOTALL) is not None

    return option(default, Rule(help, str, str, holds, expected, **more))


def filled_text(default: Any, help: str, **more: Any) -> Any:
    """A field for a text that is not empty."""
    return text(default, help, pattern=".+", expected="a non-empty text", **more)


def choice(default: Any, help: str, choices: Collection[str], **more: Any) -> Any:
    """A field for one of a few texts."""
    names = tuple(choices)
    return option(default, Rule(help, str, str, names.__contains__, f"one of {', '.join(names)}", names, **more))


def path(default: Any, help: str, **more: Any) -> Any:
    """A field for a pathlib.Path."""

    def holds(value: Any) -> bool:
        return isinstance(value, Path) and "\0" not in str(value)

    return option(default, Rule(help, Path, Path, holds, "a path", **more))


def mapping(help: str, **more: Any) -> Any:
    """A field for a dict from text to text, {} by default."""

    def holds(value: Any) -> bool:
        return isinstance(value, dict) and _are_texts([*value, *value.values()])

    return option(dict, Rule(help, dict, json.loads, holds, "a JSON object of strings", **more))


def texts(help: str, **more: Any) -> Any:
    """A field for a tuple of texts, () by default."""

    def holds(value: Any) -> bool:
        return isinstance(value, tuple | list) and _are_texts(value)

    return option((), Rule(help, tuple, json.loads, holds, "a list of texts", **more))


def rules(options: type) -> dict[str, Rule]:
    """The rule of each field that has one, by the name of the field."""
    return {item.name: item.metadata["rule"] for item in dataclasses.fields(options) if "rule" in item.metadata}


def default_of(options: type, name: str) -> Any:
    """The default of a field, or REQUIRED."""
    item = next(item for item in dataclasses.fields(options) if item.name == name)
    return item.default if item.default_factory is MISSING else item.default_factory()


def markdown_table(
    options: type, header: str = "option", spell: Callable[[str], str] = str, flag_of: Callable[..., str] | None = None
) -> str:
    """The fields of an option class as a Markdown table: name, command line, default, accepted values, help.

    Args:
        options: dataclass whose fields have rules.
        header: title of the first column.
        spell: makes the name in the table from the name of the field.
        flag_of: makes the column of the command line from a field's name and rule; None leaves the column out.
    """
    rows = [[header, "command line", "default", "values", "meaning"], ["---"] * 5]
    for name, rule in rules(options).items():
        flag = flag_of(name, rule) if flag_of else ""
        rows.append([f"`{spell(name)}`", flag, _shown(rule, default_of(options, name)), rule.values, rule.help])
    return "".join(f"| {' | '.join(row if flag_of else row[:1] + row[2:])} |\n" for row in rows)


def parse_whole(text: str) -> int:
    """The whole number in `text`.

    Raises:
        ValueError: if `text` is anything else.
    """
    if not re.fullmatch(_WHOLE, text.strip()):
        raise ValueError("not a whole number")
    return int(text)


def parse_number(text: str) -> float:
    """The decimal number in `text`, with or without an exponent.

    Raises:
        ValueError: if `text` is anything else.
    """
    if not re.fullmatch(_NUMBER, text.strip()):
        raise ValueError("not a number")
    return float(text)


def parse_switch(text: str) -> bool:
    """True for 1, true, yes and on; False for 0, false, no and off.

    Raises:
        ValueError: if `text` is anything else.
    """
    value = _SWITCHES.get(text.strip().lower())
    if value is None:
        raise ValueError("not a switch")
    return value


def _shown(rule: Rule, default: Any) -> str:
    if rule.shown or default is REQUIRED:
        return rule.shown or "required"
    if isinstance(default, bool):
        return "on" if default else "off"
    if default is None or default in ("", (), {}):
        return "none"
    return f"{default:g}" if isinstance(default, float) else str(default)


def _is_a(kind: Any, value: object) -> bool:
    return isinstance(value, kind) and not isinstance(value, bool)


def _are_texts(values: Collection[object]) -> bool:
    return all(isinstance(value, str) for value in values)


def _bounds(
    min: float | None = None, max: float | None = None, above: float | None = None, below: float | None = None
) -> str:
    if min is not None and max is not None:
        return f"from {min} to {max}"
    words = {"of at least": min, "above": above, "at most": max, "below": below}
    return " and ".join(f"{word} {bound}" for word, bound in words.items() if bound is not None)
