"""Which new texts are held out: decided by what a text says alone, and so for ever."""

import hashlib
import unicodedata


def normalised(text: str) -> str:
    """What texts have in common that say the same to a reader.

    Casing, white space, invisible characters (category Cf) and compatibility forms of characters (NFKC, Unicode
    Standard Annex 15) make no difference.
    """
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text)
        invisible = {ord(char) for char in set(text) if unicodedata.category(char) == "Cf"}
        text = text.translate(dict.fromkeys(invisible)) if invisible else text
    text = text.casefold()
    # Folding takes some characters apart.
    text = text if text.isascii() else unicodedata.normalize("NFKC", text)
    return " ".join(text.split())


def content_digest(text: str) -> bytes:
    """The SHA-256 of the normalised text, 32 bytes."""
    return hashlib.sha256(normalised(text).encode("utf-8")).digest()


def is_held_out(digest: bytes, share: float) -> bool:
    """Whether the text of a content_digest is held out: the digest lies below `share` of its range.

    So a text is on the same side whatever else there is, and a larger share later only adds texts.
    """
    return int.from_bytes(digest, "big") < share * 2.0**256
