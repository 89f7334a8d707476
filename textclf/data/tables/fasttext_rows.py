"""Rows of fastText's training files: a line is `__label__NAME text`."""

from textclf.bad_rows import BadRowError, Reason
from textclf.data.tables.formats import FASTTEXT_PREFIX
from textclf.data.tables.header import LABEL, TEXT
from textclf.data.tables.source import Lines, OnBad, Rows, Source
from textclf.unicode import is_unicode


class FastTextTable:
    """A fastText file, as a table with the columns text and label."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self.names = [TEXT, LABEL]

    def rows(self, report: OnBad) -> Rows:
        """The rows with their numbers, counted from 1; bad ones are reported and count, too."""
        lines = Lines(self._source.path, self._source.text("\n"))
        number = 0
        for line in lines:
            lines.start_record()
            if not line.strip():
                continue
            number += 1
            place = f"row {number} (line {lines.number})"
            labels, words = _divided(line)
            if not is_unicode(line):
                report(number, self._source.undecodable(place))
            elif len(labels) > 1:
                found = f"expected one label, found {len(labels)}"
                remedy = "keep one label per text"
                report(number, BadRowError(self._source.path, place, Reason.SEVERAL_LABELS, found, remedy))
            else:
                yield number, {TEXT: words, LABEL: labels[0] if labels else None}


def _divided(line: str) -> tuple[list[str], str]:
    """The labels at the beginning of a line, without their prefix, and the text after them."""
    labels = []
    rest = line.strip()
    while rest.startswith(FASTTEXT_PREFIX):
        label, *after = rest.split(None, 1)
        labels.append(label.removeprefix(FASTTEXT_PREFIX))
        rest = after[0] if after else ""
    return labels, rest
