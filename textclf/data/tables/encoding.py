"""The encoding of a text file: by its byte-order mark, its zero bytes, or an option; UTF-8 otherwise."""

import codecs
from typing import NamedTuple

from textclf.errors import DatasetError

# Bytes of a file that its encoding is detected from, and of lines with other bytes than ASCII.
HEAD_BYTES = 1 << 16
_MARKS = {
    # The mark of UTF-32 starts with that of UTF-16.
    codecs.BOM_UTF32_LE: "utf-32-le",
    codecs.BOM_UTF32_BE: "utf-32-be",
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF16_LE: "utf-16-le",
    codecs.BOM_UTF16_BE: "utf-16-be",
}
# Notations for other characters in ASCII. Python's decoders of them can't pass over invalid characters.
_ESCAPES = frozenset({"punycode", "idna", "unicode-escape", "raw-unicode-escape", "unicode_escape"})
# Python's decoders of these names need a mark. Without one the order of the bytes is Windows' own.
_WITHOUT_MARK = {"utf-16": "utf-16-le", "utf-32": "utf-32-le"}
# Share of the characters that must have a zero byte for UTF-16 without a mark; delimiters and blanks are enough.
_MIN_ZEROS = 0.1


class Encoding(NamedTuple):
    """A codec and the length of the byte-order mark before the text."""

    codec: str
    mark: int = 0

    @property
    def errors(self) -> str:
        """Error handler that keeps invalid bytes as lone surrogates (PEP 383), so that they spoil one row only."""
        return "surrogatepass" if self.codec.startswith(("utf-16", "utf-32")) else "surrogateescape"


def detect_encoding(head: bytes, option: str = "") -> Encoding:
    """The encoding of a table that starts with `head`; `option` is used unless there is a byte-order mark.

    Raises:
        DatasetError: if `option` is no text encoding.
    """
    marked = _marked(head, option)
    if marked.mark or (option and codecs.lookup(option).name != "utf-16"):
        return marked
    pairs = len(head) // 2
    zeros = (head[0 : 2 * pairs : 2].count(0), head[1 : 2 * pairs : 2].count(0))
    if pairs and max(zeros) >= _MIN_ZEROS * pairs and min(zeros) == 0:
        return Encoding("utf-16-be" if zeros[0] else "utf-16-le")
    return marked


def _marked(head: bytes, option: str = "") -> Encoding:
    """The encoding by the byte-order mark, else `option`, else UTF-8."""
    for mark, codec in _MARKS.items():
        if head.startswith(mark):
            return Encoding(codec, len(mark))
    codec = checked_encoding(option or "utf-8")
    return Encoding(_WITHOUT_MARK.get(codec, codec))


def checked_encoding(name: str) -> str:
    """The name of a text encoding as Python spells it.

    Raises:
        DatasetError: if there is no such encoding.
    """
    try:
        codec = codecs.lookup(name)
        b"a".decode(name, "ignore")  # Refuses codecs that are not for text, such as hex.
        codecs.getincrementaldecoder(name)("surrogateescape").decode(b"")
        if codec.name in _ESCAPES:
            raise LookupError
    except (LookupError, ValueError):
        raise DatasetError(
            f"--encoding: expected the name of a text encoding, such as cp1252 or shift_jis, got {name!r}"
        ) from None
    return codec.name


def decode(content: bytes, option: str = "") -> str:
    """The text of a whole file, which is UTF-8 unless it has a byte-order mark or `option` names the encoding.

    Raises:
        UnicodeDecodeError: if the file is not in its encoding.
        DatasetError: if `option` is no text encoding.
    """
    # A text may contain zero bytes, so these are no sign of UTF-16 here.
    codec, mark = _marked(content[:4], option)
    return content[mark:].decode(codec)


def encoding_remedy(lines: list[bytes]) -> str:
    """The remedy for lines that are not UTF-8.

    It names the likely encoding, unless some lines are UTF-8: then another encoding would spoil those.
    """
    if not lines or any(_is_utf8(line) for line in lines):
        return "correct these texts"
    likely = _likely_encoding(b"".join(lines))
    if likely is None:
        return "name the encoding of the file with --encoding, or convert it to UTF-8"
    return f"the file looks like {likely}: pass --encoding {likely}, or convert it to UTF-8"


def _is_utf8(line: bytes) -> bool:
    try:
        line.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _likely_encoding(sample: bytes) -> str | None:
    try:
        import logging

        from charset_normalizer import from_bytes
    except ImportError:
        return None
    logging.getLogger("charset_normalizer").setLevel(logging.ERROR)
    matches = list(from_bytes(sample, cp_exclusion=["utf_16", "utf_16_be", "utf_16_le", "utf_32", "utf_7"]))
    if not matches:
        return None
    # In short texts Western and Central European letters look alike; the former are far more frequent.
    possible = {name for match in matches for name in match.could_be_from_charset}
    name = "cp1252" if "cp1252" in possible else matches[0].encoding
    return name.replace("_", "-") if name.startswith("iso") else name
