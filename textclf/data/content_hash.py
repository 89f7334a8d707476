"""Decides from a text alone, and so permanently, whether a new text is held out from training.

The normal form decides the side only; textclf.tokenization.text_key decides which texts are equal. A store from an
earlier release has texts whose side this form decided, so it must not change.
"""

import hashlib
import unicodedata


def normalised(text: str) -> str:
    """A form of a text that no release changes.

    It ignores case, white space, invisible characters (category Cf) and compatibility forms of characters (NFKC,
    Unicode Standard Annex 15).
    """
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text)
        invisible = {ord(char) for char in set(text) if unicodedata.category(char) == "Cf"}
        text = text.translate(dict.fromkeys(invisible)) if invisible else text
    text = text.casefold()
    # Case folding decomposes some characters.
    text = text if text.isascii() else unicodedata.normalize("NFKC", text)
    return " ".join(text.split())


def content_digest(text: str) -> bytes:
    """The SHA-256 of the normalised text, 32 bytes."""
    return hashlib.sha256(normalised(text).encode("utf-8")).digest()


def is_held_out(digest: bytes, share: float) -> bool:
    """True if the text with this content_digest is held out: the digest is in the first `share` of its range.

    The decision does not depend on other texts, and a larger share later only adds texts.
    """
    return int.from_bytes(digest, "big") < share * 2.0**256
