"""Rows that can't be used: why, how many, and where the first ones are."""

import functools
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from enum import StrEnum
from pathlib import Path

from textclf.errors import DatasetError

# Bad rows that an error or a report describes.
MAX_PLACES = 5
SKIP_BAD = "--skip-bad"


class Reason(StrEnum):
    """Why a row can't be used; the values are keys of counts in files."""

    UNDECODABLE = "undecodable"
    FIELD_COUNT = "field_count"
    QUOTES = "quotes"
    BACKSLASH_QUOTES = "backslash_quotes"
    CARRIAGE_RETURN = "carriage_return"
    INVALID_JSON = "invalid_json"
    NOT_AN_OBJECT = "not_an_object"
    MISSING_COLUMN = "missing_column"
    MISSING_LABEL = "missing_label"
    SEVERAL_LABELS = "several_labels"
    TEXT_TYPE = "text_type"
    LABEL_TYPE = "label_type"
    WEIGHT = "weight"
    UNWRITABLE = "unwritable"
    RULE = "rule"

    @property
    def words(self) -> str:
        """The reason in words."""
        return _WORDS[self]


_WORDS = {
    Reason.UNDECODABLE: "not UTF-8",
    Reason.FIELD_COUNT: "wrong number of fields",
    Reason.QUOTES: "quotes that do not match",
    Reason.BACKSLASH_QUOTES: "quotes written with a backslash",
    Reason.CARRIAGE_RETURN: "a carriage return in a text without quotes",
    Reason.INVALID_JSON: "invalid JSON",
    Reason.NOT_AN_OBJECT: "not a JSON object",
    Reason.MISSING_COLUMN: "no such column",
    Reason.MISSING_LABEL: "no label",
    Reason.SEVERAL_LABELS: "several labels",
    Reason.TEXT_TYPE: "a text that is not a string",
    Reason.LABEL_TYPE: "a label of another type",
    Reason.WEIGHT: "a weight out of range",
    Reason.UNWRITABLE: "not writable in the format of the output",
    Reason.RULE: "a rule that fails",
}


class BadRowError(DatasetError):
    """A row that can't be used.

    Args:
        path: the file; "" if it is unknown.
        place: the row in it, such as "row 3 (line 5)"; "" for the whole file.
        reason: kind of the fault.
        found: what was expected and what was found.
        remedy: what to do; a function is called when the remedy is needed.
    """

    def __init__(
        self, path: Path | str, place: str, reason: Reason, found: str, remedy: str | Callable[[], str] = ""
    ) -> None:
        super().__init__(path, place, reason, found, remedy)
        self.path = path
        self.place = place
        self.reason = reason
        self.found = found
        self._remedy = remedy

    def __str__(self) -> str:
        return f"{located(self.path, self.place)}: {self.found}{'; ' if self.remedy else ''}{self.remedy}"

    @functools.cached_property
    def remedy(self) -> str:
        """The remedy as text."""
        return self._remedy if isinstance(self._remedy, str) else self._remedy()


def located(path: Path | str, place: str) -> str:
    """The file and the row in it, for messages."""
    return ", ".join(filter(None, [str(path), place]))


class UndecodableError(BadRowError):
    """A row or a file that is well formed except that its text is not UTF-8."""

    def __init__(self, path: Path | str, place: str, found: str, remedy: str | Callable[[], str]) -> None:
        super().__init__(path, place, Reason.UNDECODABLE, found, remedy)


OnBadRow = Callable[[int, BadRowError], None]


class BadRows:
    """Counts of bad rows by reason, and the first of them.

    Attributes:
        counts: reason -> rows.
        first: errors of up to MAX_PLACES rows.
    """

    def __init__(self) -> None:
        self.counts: Counter[Reason] = Counter()
        self.first: list[BadRowError] = []
        self._paths: set[str] = set()  # Up to two.

    def __len__(self) -> int:
        return self.counts.total()

    def add(self, error: BadRowError) -> None:
        """Count a row."""
        self.counts[error.reason] += 1
        if len(self._paths) < 2:
            self._paths.add(str(error.path))
        if len(self.first) < MAX_PLACES:
            self.first.append(error)

    def places(self) -> list[str]:
        """File, row and reason of the first rows, without their content."""
        return [f"{located(error.path, error.place)}: {error.reason.words}" for error in self.first]

    def note(self) -> str:
        """A sentence with the counts and the first places; "" without bad rows."""
        if not self.counts:
            return ""
        return f"Bad rows, left out: {in_words(self.counts)}. The first: {'; '.join(self.places())}."

    def error(self, option: str = SKIP_BAD) -> DatasetError:
        """The error that lists the first rows and counts all; `option`, if not "", leaves them out."""
        remedies = list(dict.fromkeys(error.remedy for error in self.first if error.remedy)) or ["fix them"]
        remedy = f"{'; '.join(remedies)}, or leave such rows out with {option}" if option else "; ".join(remedies)
        if len(self) == 1:
            (only,) = self.first
            return DatasetError(f"{located(only.path, only.place)}: {only.found}; {remedy}")
        (path, *others) = self._paths
        places: dict[str, list[str]] = {}
        for error in self.first:
            places.setdefault(error.found, []).append(located(error.path if others else "", error.place))
        rows = "; ".join(f"{', '.join(same)}: {found}" for found, same in places.items())
        first = rows if len(self) == len(self.first) else f"the first {len(self.first)} are {rows}"
        start = f"{path}: " if path and not others else ""
        return DatasetError(f"{start}found {len(self):,} bad rows: {in_words(self.counts)}; {first}; {remedy}")


def in_words(counts: Mapping[Reason, int] | Mapping[str, int]) -> str:
    """Counts by reason, the most frequent first, such as "no label (3), not UTF-8 (1)"."""
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{Reason(reason).words} ({count:,})" for reason, count in ordered)


def joined(parts: Iterable[BadRows]) -> BadRows:
    """The counts of all parts, and the first rows of them."""
    together = BadRows()
    for part in parts:
        together.counts += part.counts
        together.first += part.first[: MAX_PLACES - len(together.first)]
        together._paths |= part._paths
    return together
