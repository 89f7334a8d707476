"""Strings that UTF-8 can't encode: those with half of a surrogate pair, as broken JSON escapes make them."""

from textclf.errors import InputError


def encode_utf8(text: str) -> bytes:
    """The text in UTF-8.

    Raises:
        InputError: if the text contains half of a surrogate pair; the message names its position.
    """
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise InputError(
            f"expected well-formed Unicode, got the lone surrogate {text[error.start]!r} at character {error.start}; "
            f"decode the text with its right encoding"
        ) from None


def is_unicode(text: str) -> bool:
    """True if UTF-8 can encode the text."""
    try:
        encode_utf8(text)
    except InputError:
        return False
    return True
