"""Finds rows of CSV to cut a file at: a line break in quotes ends no row.

Quotes open at the beginning of a field only, and two quotes in a quoted text stand for one, as in RFC 4180. In a file
whose quotes do not match, a cut may fall into a row; then this row is bad in both shards, and no byte is lost.
"""

import re
from collections.abc import Iterable, Iterator, Sequence

QUOTE = b'"'


def row_starts(
    lines: Iterable[bytes], boundaries: Sequence[int], delimiter: str, skips_blanks: bool = False
) -> Iterator[int]:
    """For each boundary the start of the first row from there on, or the end of the file.

    Args:
        lines: lines of the file, with their line ends.
        boundaries: positions in bytes, ascending.
        delimiter: character between two fields.
        skips_blanks: whether blanks after a delimiter are no part of the field.
    """
    waiting = list(reversed(boundaries))
    opening = re.compile(rb'(?:^|%b)%b"' % (re.escape(delimiter.encode()), b" *" if skips_blanks else b""))
    at, is_open = 0, False
    for line in lines:
        while not is_open and waiting and waiting[-1] <= at:
            yield at
            waiting.pop()
        if not waiting:
            return
        if is_open or QUOTE in line:
            is_open = _is_open_after(line, is_open, opening)
        at += len(line)
    yield from (at for _ in waiting)


def _is_open_after(line: bytes, is_open: bool, opening: re.Pattern[bytes]) -> bool:
    """Whether a quoted text goes on after a line."""
    at = 0
    while True:
        if is_open:
            end = line.find(QUOTE, at)
            if end < 0:
                return True
            at = end + 1
            if line[at : at + 1] == QUOTE:
                at += 1
                continue
            is_open = False
        found = _next_opening(line, at, opening)
        if found < 0:
            return False
        at, is_open = found, True


def _next_opening(line: bytes, at: int, opening: re.Pattern[bytes]) -> int:
    """The position after the next quote that begins a field; -1 if there is none."""
    while (found := opening.search(line, at)) is not None:
        # ^ matches at the beginning of the line only, even if the search starts later.
        return found.end()
    return -1
