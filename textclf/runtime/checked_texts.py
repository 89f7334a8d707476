"""Checks of texts before they are scored."""

from collections.abc import Sequence

from textclf.errors import InputError
from textclf.unicode import encode_utf8


def check_texts(texts: Sequence[str]) -> list[str]:
    """The texts as a list.

    Raises:
        InputError: if `texts` is not a list or tuple, or an item is not a well-formed str.
    """
    if not isinstance(texts, list | tuple):
        raise InputError(f"expected a list of texts, got {type(texts).__name__}; for one text pass [text]")
    for index, text in enumerate(texts):
        try:
            check_text(text)
        except InputError as error:
            raise InputError(f"text {index} (counted from 0): {error}") from None
    return list(texts)


def check_text(text: object) -> str:
    """`text`, if it is a str that UTF-8 can encode.

    Raises:
        InputError: if it is not a str, or contains a lone surrogate (as broken JSON escapes produce).
    """
    if not isinstance(text, str):
        raise InputError(f"expected a str, got {type(text).__name__}")
    encode_utf8(text)
    return text
