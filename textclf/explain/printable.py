"""Text of others on a terminal: without characters that change the terminal or the order of other characters."""

import unicodedata

# Bidirectional controls: they can show the words and values of a line in another order.
_REORDERING = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}
# Control characters, and separators of lines and paragraphs.
_CONTROLS = {"Cc", "Zl", "Zp"}


def printable(text: str) -> str:
    """The text with a blank for each control character except line feeds; joined emoji stay joined."""
    return "".join(" " if char != "\n" and _is_control(char) else char for char in text)


def _is_control(char: str) -> bool:
    return unicodedata.category(char) in _CONTROLS or unicodedata.bidirectional(char) in _REORDERING
