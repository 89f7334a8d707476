"""Strings from outside to numbers and switches, by one rule for environment variables and hyperparameters."""

import re

EXPECTED_SWITCH = "one of 1, 0, true, false, yes, no, on, off"
_SWITCHES = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}
# int() and float() take more than people write: 1_0 for 10, digits of other scripts, nan.
_WHOLE = re.compile(r"[+-]?[0-9]{1,18}")
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,3})?")


def parse_whole(text: str) -> int:
    """The whole number that `text` is.

    Raises:
        ValueError: it is none.
    """
    if not _WHOLE.fullmatch(text.strip()):
        raise ValueError("not a whole number")
    return int(text)


def parse_number(text: str) -> float:
    """The decimal number that `text` is, with or without an exponent.

    Raises:
        ValueError: it is none.
    """
    if not _NUMBER.fullmatch(text.strip()):
        raise ValueError("not a number")
    return float(text)


def parse_switch(text: str) -> bool:
    """Whether `text` says yes; bool("False") would be true.

    Raises:
        ValueError: it says neither yes nor no.
    """
    try:
        return _SWITCHES[text.strip().lower()]
    except KeyError:
        raise ValueError("not a switch") from None
