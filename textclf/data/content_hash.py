"""Decides from a text alone, and so permanently, whether a new text is held out from training."""

import hashlib
import unicodedata


def normalised(text: str) -> str:
    """A form that is equal for texts that read the same.

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
