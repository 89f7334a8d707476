"""Texts in tables that people open in spreadsheets."""

from typing import Any

# Beginnings of formulas, also in full width; a tab or a line end before them is skipped.
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")


def neutral(value: Any) -> Any:
    """A text that starts like a formula with an apostrophe in front, by which a spreadsheet takes it for a text."""
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA_STARTS) else value
