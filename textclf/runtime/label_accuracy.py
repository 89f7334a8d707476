"""Compares the labels of a scored file with the predictions, in constant memory."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from textclf.errors import InputError
from textclf.label_column import LabelChange, label_text, match_labels
from textclf.labels import OTHER_LABEL, rename_options

# A column with more different labels, or longer ones, does not contain classes.
_MAX_LABELS = 10_000
_MAX_LABEL_CHARS = 1000
_MAX_RENAMES = 20


@dataclass(frozen=True)
class LabelResults:
    """Labels of a file, compared with the predictions.

    Attributes:
        labelled: rows with a label that is a class of the model, or OTHER_LABEL.
        correct: labelled rows whose label was predicted.
        others: labelled rows with OTHER_LABEL, which no prediction can match.
        sure, sure_correct: labelled rows whose prediction is not unsure, and those of them that are right.
        changes: spellings of labels that were normalised.
        unknown: rows with another label.
        unknown_labels: some of these labels, the most frequent first.
        unused_renames: old names of renames that no label has.
    """

    labelled: int = 0
    correct: int = 0
    others: int = 0
    sure: int = 0
    sure_correct: int = 0
    changes: tuple[LabelChange, ...] = ()
    unknown: int = 0
    unknown_labels: tuple[str, ...] = ()
    unused_renames: tuple[str, ...] = ()

    @property
    def remedy(self) -> str:
        """How to name the classes of the unknown labels, as the end of a sentence; "" if there are too many."""
        names = self.unknown_labels
        if not 0 < len(names) <= _MAX_RENAMES:
            return ""
        return f"; if each means one, give its class: {rename_options(names, ['CLASS'] * len(names))}"


class LabelComparison:
    """Counts pairs of a label and a prediction, and judges the labels when the whole column is known.

    Args:
        class_names: class names of the model.
        renames: class names by labels of the file.
        other_names: class names by the names that the classes have in the training data.
    """

    def __init__(self, class_names: Sequence[str], renames: Mapping[str, str], other_names: Mapping[str, str]) -> None:
        self.class_names = class_names
        self.renames = renames
        self.other_names = other_names
        self._pairs: dict[str, Counter[str]] = {}
        self._sure: dict[str, Counter[str]] = {}
        self._not_counted = 0

    def add(self, value: object, predicted: str, is_sure: bool = True) -> None:
        """Count the label of a row and its prediction, which may be unsure; a missing label is none."""
        try:
            label = label_text(value)
        except InputError:
            self._not_counted += 1
            return
        if label is None:
            return
        if label not in self._pairs:
            if len(self._pairs) == _MAX_LABELS or len(label) > _MAX_LABEL_CHARS:
                self._not_counted += 1
                return
            self._pairs[label], self._sure[label] = Counter(), Counter()
        self._pairs[label][predicted] += 1
        self._sure[label][predicted] += is_sure

    def results(self) -> LabelResults:
        """The comparison of all labels so far."""
        counts = {label: found.total() for label, found in self._pairs.items()}
        column = match_labels(counts, self.class_names, self.renames, other_names=self.other_names)
        unknown = sorted((label for label in counts if label not in column.names), key=lambda label: -counts[label])
        return LabelResults(
            labelled=sum(counts[label] for label in column.names),
            # OTHER_LABEL is wrong, whatever was predicted.
            correct=sum(self._pairs[label][name] for label, name in column.names.items() if name != OTHER_LABEL),
            sure=sum(self._sure[label].total() for label in column.names),
            sure_correct=sum(self._sure[label][name] for label, name in column.names.items() if name != OTHER_LABEL),
            others=sum(counts[label] for label, name in column.names.items() if name == OTHER_LABEL),
            changes=column.changes,
            unknown=sum(counts[label] for label in unknown) + self._not_counted,
            unknown_labels=tuple(unknown),
            unused_renames=tuple(sorted(set(self.renames) - column.renamed)),
        )
