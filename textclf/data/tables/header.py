"""Columns of a table: which of its names are those of the texts and of the labels."""

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from textclf.errors import DatasetError, missing_column

TEXT, LABEL = "text", "label"
# fmt: off
_SYNONYMS = {
    TEXT: frozenset({
        "texts", "review", "reviews", "sentence", "content", "comment", "message", "utterance", "body", "document",
        "tweet", "query", "reviewtext", "reviewbody", "commenttext", "tweettext", "messagetext",
    }),
    LABEL: frozenset({
        "labels", "sentiment", "category", "intent", "target", "class", "classname", "labeltext", "topic", "stars",
        "rating", "polarity", "emotion",
    }),
}
# fmt: on
_OPTIONS = {TEXT: "--text-column", LABEL: "--label-column"}
# A name of a column has fewer words.
_SENTENCE_WORDS = 6
# Byte-order mark and characters of no width, which spreadsheets and web pages leave in names.
_INVISIBLE = "\ufeff\u200b\u200c\u200d\u2060"


# Rows that decide whether a column without a name is empty.
SAMPLE_ROWS = 100


class Columns(NamedTuple):
    """The columns of a table, as it spells them.

    Attributes:
        text: column of the texts.
        label: column of the labels; None if the table has none.
        candidates: columns that could all be the optional one of the labels, so that none is read.
    """

    text: str
    label: str | None
    candidates: tuple[str, ...] = ()

    def note(self, wanted: "Wanted") -> str:
        """Which columns are read instead of the wanted ones, or could be, as a part of a sentence; "" if none is."""
        used = {"texts": (self.text, wanted.text), "labels": (self.label, wanted.label)}
        parts = [
            f"{kind} from the column {name!r}"
            for kind, (name, want) in used.items()
            if name and want and _plain(name) != _plain(want)
        ]
        if self.candidates:
            several = f"several could be meant ({', '.join(map(repr, self.candidates))})"
            parts.append(f"labels from no column, because {several}; {_choices(LABEL, self.candidates)}")
        return " and ".join(parts)


@dataclass(frozen=True)
class Wanted:
    """The columns that a caller reads.

    The default names also stand for their synonyms; any other name must exist. Case, blanks around a name, and the
    difference between a blank, `_` and `-` do not count.

    Attributes:
        text: column of the texts.
        label: column of the labels; None if they are not read.
        needs_label: whether a table without labels is an error; one that lacks a column of another name than the
            default always is.
    """

    text: str = TEXT
    label: str | None = LABEL
    needs_label: bool = True

    def find(self, names: Sequence[str], where: object) -> Columns:
        """The columns of a table with these names; `where` is the table, for messages.

        Raises:
            DatasetError: if a column is missing, or several could be meant.
        """
        text = _find(names, self.text, TEXT, where)
        if self.label is None or (self.label == text and self.has_default_label):
            return Columns(text, None)
        others = [name for name in names if name != text]
        if self.needs_label or not self.has_default_label:
            return Columns(text, _find(others, self.label, LABEL, where, names))
        found = _meant(others, self.label, LABEL)
        return Columns(text, found[0]) if len(found) == 1 else Columns(text, None, tuple(found))

    @property
    def has_default_label(self) -> bool:
        """Whether the labels' column has the default name, which the caller may not have chosen."""
        return self.label == LABEL

    def fits(self, names: Sequence[str]) -> bool:
        """Whether a table with these names has the columns."""
        try:
            self.find(names, "")
        except DatasetError:
            return False
        return True


def clean_name(name: object) -> str:
    """A column's name without blanks around it and without invisible characters; "" for None."""
    return "" if name is None else str(name).strip(_INVISIBLE).strip()


def name_unnamed(header: list[str], rows: Sequence[Sequence[Any]]) -> None:
    """Name the columns before the last name that have none, but values in these rows: `column 1` and so on."""
    last = max((at for at, name in enumerate(header) if name), default=0)
    for at in range(last):
        if not header[at] and any(at < len(row) and _has_value(row[at]) for row in rows):
            header[at] = _number_name(at, header)


def named_cells(header: Sequence[str], cells: Sequence[Any]) -> dict[str, Any]:
    """The cells by column; one without a name is there if it has a value, which no earlier row had."""
    if "" not in header:
        return dict(zip(header, cells, strict=False))
    return {
        name or _number_name(at, header): cell
        for at, (name, cell) in enumerate(zip(header, cells, strict=False))
        if name or _has_value(cell)
    }


def _number_name(at: int, header: Sequence[str]) -> str:
    name = f"column {at + 1}"
    while name in header:
        name += "'"
    return name


def _has_value(cell: object) -> bool:
    return cell is not None and not (isinstance(cell, str) and not cell.strip())


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]+", "", clean_name(name).casefold())


def _meant(names: Sequence[str], wanted: str, kind: str) -> list[str]:
    """The columns that a name can mean: the one with this name, else those spelled like it, else its synonyms."""
    if wanted in names:
        return [wanted]
    found = [name for name in names if _plain(name) == _plain(wanted)]
    if not found and wanted == kind:
        found = [name for name in names if _plain(name) in _SYNONYMS[kind]]
    return found


def _find(names: Sequence[str], wanted: str, kind: str, where: object, shown: Sequence[str] | None = None) -> str:
    found = _meant(names, wanted, kind)
    if len(found) == 1:
        return found[0]
    if found:
        listed = ", ".join(map(repr, found))
        raise DatasetError(
            f"{where}: expected a column {wanted!r}, found several candidates ({listed}); {_choices(kind, found)}"
        )
    shown = names if shown is None else shown
    hint = ""
    if _is_a_row(shown):
        hint = f". The header seems to be missing: add a first line with the column names, such as {TEXT} and {LABEL}"
    raise DatasetError(f"{where}: {missing_column(wanted, shown, _OPTIONS[kind])}{hint}")


def _is_a_row(names: Sequence[str]) -> bool:
    """Whether a first line looks like a row: it has a sentence, which is no name of a column."""
    return any(len(name.split()) >= _SENTENCE_WORDS for name in names)


def _choices(kind: str, names: Sequence[str]) -> str:
    return "pass " + " or ".join(f"{_OPTIONS[kind]} {shlex.quote(name)}" for name in names)
