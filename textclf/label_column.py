"""How the values of a label column become class names. Every place that reads labels uses these functions.

Two labels are equal if label_key() is equal: spellings of Unicode (NFC), blanks, characters without a width, case,
numbers and truth values (0, 0.0 and "0.00"; true, TRUE and JSON's true) and fastText's prefix `__label__` make no
difference. A column is judged as a whole, because only a column of both 0 and 1, and nothing else, contains the
positions of two classes.
"""

import json
import math
import re
import unicodedata
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache

from textclf.errors import InputError
from textclf.labels import OTHER_LABEL

_FASTTEXT_PREFIX = "__label__"
# 01 is a code and 3.10 a version: only zeros after the point are dropped.
_WHOLE_NUMBER = re.compile(r"[+-]?(0|[1-9][0-9]*)(\.0*)?", re.ASCII)
# As numpy writes columns: 1.000000000000000000e+00.
_SCIENTIFIC = re.compile(r"[+-]?[0-9]\.[0-9]+e[+-][0-9]{2}", re.ASCII | re.IGNORECASE)
_TRUTH_VALUES = ("true", "false")
_BLANKS = re.compile(r"[^\S\n\r\v\f\x1c-\x1f\x85\u2028\u2029]+")
# Joiners are part of emoji and of words in some scripts, and so are the tags of flags.
_VISIBLE_FORMATS = frozenset({"\u200c", "\u200d", *map(chr, range(0xE0020, 0xE0080))})
_POSITIONS = ("0", "1")
_MAX_SHOWN = 8


@dataclass(frozen=True)
class LabelChange:
    """A spelling of a label that differs from its class name: `texts` labels `read` became `name`."""

    read: str
    name: str
    texts: int


@dataclass(frozen=True)
class LabelColumn:
    """How the labels of a column are read.

    Attributes:
        names: class name (or OTHER_LABEL) by label as read; an unknown label has no entry.
        changes: spellings that were normalised, the most frequent first; without those that a rename named.
        renamed: the old names of the renames that apply to a label of the column.
    """

    names: dict[str, str]
    changes: tuple[LabelChange, ...]
    renamed: frozenset[str]


def label_text(value: object) -> str | None:
    """A label as text, from any type that a table may contain; None if it is missing (null, NaN or blank).

    Raises:
        InputError: if the value is neither a text, a number nor a truth value.
    """
    if value is None or (isinstance(value, float | Decimal) and math.isnan(value)):
        return None
    if isinstance(value, bool):
        return _TRUTH_VALUES[0] if value else _TRUTH_VALUES[1]
    if isinstance(value, str):
        return value if normal_form(value) else None
    if isinstance(value, int | float | Decimal):
        text = str(value)
        return format(Decimal(text), "f") if "e" in text.lower() else text
    raise InputError(f"expected a text, a number or a truth value as the label, got {value!r:.80}")


@lru_cache(maxsize=65536)
def normal_form(label: str) -> str:
    """The label in NFC, trimmed, with numbers and truth values in one spelling, without fastText's prefix."""
    label = _tidy(label).removeprefix(_FASTTEXT_PREFIX).strip()
    if label.lower() in _TRUTH_VALUES:
        return label.lower()
    number = label
    if _SCIENTIFIC.fullmatch(number):
        number = format(Decimal(number).normalize(), "f")
    if _WHOLE_NUMBER.fullmatch(number):
        whole = number.partition(".")[0].removeprefix("+")
        return "0" if whole == "-0" else whole
    return number


def label_key(label: str) -> str:
    """Equal for equal labels."""
    return normal_form(label).casefold()


def read_labels(
    counts: Mapping[str, int], renames: Mapping[str, str] | None = None, spellings: Iterable[str] = ()
) -> LabelColumn:
    """How the labels of training data are read: each different label becomes a class.

    Labels that differ only in case become one class, with the most frequent spelling; small letters break a tie.

    Args:
        counts: number of texts by label, as label_text() returns it.
        renames: new names by old ones, which may be the label as read or an equal one.
        spellings: class names that have the last word about the spelling, such as those of an earlier version. Labels
            that differ only in case still become one class, also if two of these names do.

    Raises:
        InputError: if a new name is blank.
    """
    renaming = _Renaming(renames or {})
    given = renaming.apply(counts)
    groups: dict[str, dict[str, int]] = {}
    for label, texts in counts.items():
        name = given.get(label) or normal_form(label)
        group = groups.setdefault(label_key(name), {})
        group[name] = group.get(name, 0) + texts
    known = _Names(spellings)
    chosen = {
        key: known.find(key) or max(sorted(group, reverse=True), key=group.__getitem__) for key, group in groups.items()
    }
    names = {label: chosen[label_key(given.get(label, label))] for label in counts}
    return LabelColumn(names, _changes(counts, names, given), renaming.used)


def match_labels(
    counts: Mapping[str, int],
    class_names: Sequence[str],
    renames: Mapping[str, str] | None = None,
    *,
    other_names: Mapping[str, str] | None = None,
    has_positions: bool = True,
) -> LabelColumn:
    """How labels are read where the classes are known; OTHER_LABEL is read as itself.

    A label is renamed first. Then it is a class name, or one in other case, or one of `other_names`.

    Args:
        counts: number of texts by label, as label_text() returns it.
        class_names: the class names; the position is the class id.
        renames: new names by old ones, which may be the label as read or an equal one.
        other_names: class names by the names that the classes have in the training data.
        has_positions: read 0 and 1 as the first and the second of two classes, if the column contains both and nothing
            else, and neither is a class name. A column of 1 alone may have one-star reviews only.

    Raises:
        InputError: if a new name is blank.
    """
    renaming, training = _Renaming(renames or {}), _Renaming(other_names or {})
    given = renaming.apply(counts)
    known = _Names([*class_names, OTHER_LABEL])
    names: dict[str, str] = {}
    for label in counts:
        name = known.find(given.get(label, label)) or known.find(training.new_name(label) or "")
        if name is not None:
            names[label] = name
    left = [label for label in counts if names.get(label) != OTHER_LABEL]
    if has_positions and has_position_labels(class_names) and {normal_form(label) for label in left} == {*_POSITIONS}:
        names |= {label: class_names[int(normal_form(label))] for label in left if label not in names}
    return LabelColumn(names, _changes(counts, names, given), renaming.used)


def parse_label(label: str, class_names: Sequence[str], *, has_positions: bool = True) -> str:
    """The class name for one label that a person gives; with `has_positions`, 0 and 1 are those of two classes.

    Raises:
        InputError: if it is no label of these classes.
    """
    name = match_labels({label: 1}, class_names, has_positions=False).names.get(label)
    if name is None and has_positions and has_position_labels(class_names) and normal_form(label) in _POSITIONS:
        return class_names[int(normal_form(label))]
    if name is None or name not in class_names:
        raise InputError(f"expected one of {label_choice(class_names)} as the label, got {label.strip()!r:.220}")
    return name


def label_choice(class_names: Sequence[str]) -> str:
    """The labels that parse_label() accepts, as text for a prompt or message."""
    return ", ".join(class_names) + (", 0 or 1" if has_position_labels(class_names) else "")


def has_position_labels(class_names: Sequence[str]) -> bool:
    """Whether 0 and 1 are positions of two classes; false if 0 or 1 is a class name itself."""
    return len(class_names) == 2 and not {*_POSITIONS} & {*map(normal_form, class_names)}


def describe_changes(changes: Sequence[LabelChange]) -> str:
    """The most frequent changes in words, such as `12 "TRUE" read as "true"`; "" without any."""
    shown = [f"{change.texts:,} {_shown(change)} read as {_quoted(change.name)}" for change in changes[:_MAX_SHOWN]]
    more = len(changes) - _MAX_SHOWN
    return ", ".join(shown) + (f", and {more:,} more spellings" if more > 0 else "")


def label_notes(changes: Sequence[LabelChange]) -> tuple[str, ...]:
    """A sentence for a report if labels were normalised, or read as positions of classes."""
    return (f"Labels were normalised: {describe_changes(changes)}.",) if changes else ()


def rename_notes(unused: Sequence[str]) -> tuple[str, ...]:
    """A sentence for a report if labels are renamed that do not occur; `unused` has their old names."""
    return (f"Not renamed, because no label has the name: {', '.join(map(_quoted, unused))}.",) if unused else ()


class _Names:
    """Finds the name that a label means: the label itself, or the only name with the same normal form or key."""

    def __init__(self, names: Iterable[str]) -> None:
        self._exact = dict.fromkeys(names)
        self._rules = [(rule, _unique(self._exact, rule)) for rule in (normal_form, label_key)]

    def find(self, label: str) -> str | None:
        if label in self._exact:
            return label
        return next((found[rule(label)] for rule, found in self._rules if rule(label) in found), None)


class _Renaming:
    """Applies renames, and keeps which ones were used."""

    def __init__(self, renames: Mapping[str, str]) -> None:
        self._new_names = {old: _tidy(new) for old, new in renames.items()}
        if blank := [old for old, new in renames.items() if not normal_form(new)]:
            raise InputError(
                f"expected class names as the new names of labels, found a blank one for {blank[0]!r:.220}"
            )
        self._old_names = _Names(renames)
        self._used: set[str] = set()

    def new_name(self, label: str) -> str | None:
        """The new name of a label, None if it keeps its own."""
        old = self._old_names.find(label)
        if old is None:
            return None
        self._used.add(old)
        return self._new_names[old]

    def apply(self, labels: Iterable[str]) -> dict[str, str]:
        """New names by label, of the labels that are renamed."""
        return {label: new for label in labels if (new := self.new_name(label)) is not None}

    @property
    def used(self) -> frozenset[str]:
        """Old names that a label had."""
        return frozenset(self._used)


def _unique(names: Collection[str], rule: Callable[[str], str]) -> dict[str, str]:
    found: dict[str, list[str]] = {}
    for name in names:
        found.setdefault(rule(name), []).append(name)
    return {form: same[0] for form, same in found.items() if len(same) == 1}


def _tidy(label: str) -> str:
    """NFC, without characters that nobody sees, with single blanks between words."""
    label = unicodedata.normalize("NFC", label)
    if not label.isprintable():
        label = "".join(c for c in label if unicodedata.category(c) != "Cf" or c in _VISIBLE_FORMATS)
    return _BLANKS.sub(" ", label.strip())


def _changes(counts: Mapping[str, int], names: Mapping[str, str], given: Mapping[str, str]) -> tuple[LabelChange, ...]:
    """The labels whose name is neither their spelling nor the one that a rename gave them."""
    changed = [
        LabelChange(label, names[label], texts)
        for label, texts in counts.items()
        if label in names and names[label] != given.get(label, label)
    ]
    return tuple(sorted(changed, key=lambda change: (-change.texts, change.read)))


def _shown(change: LabelChange) -> str:
    """The label as read; with escapes if it would look like its name."""
    is_alike = unicodedata.normalize("NFC", change.read) == change.name or not change.read.isprintable()
    return json.dumps(change.read) if is_alike else _quoted(change.read)


def _quoted(label: str) -> str:
    return json.dumps(label, ensure_ascii=False)
