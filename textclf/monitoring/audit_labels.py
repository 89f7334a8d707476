"""What people's labels can say of a model version's errors, and why some can't."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from textclf.drift.reference import Reference
from textclf.errors import InputError
from textclf.labels import label_choice, parse_label
from textclf.stats.drift_tests.error_rate_drift import AuditEvidence

# In the place of class ids: nobody labelled the text; the label is no class of the model.
UNLABELLED, UNKNOWN = -1, -2
# Names that a message shows, of those that it does not know.
_MAX_FOUND = 5


@dataclass(frozen=True, eq=False)
class LabelledPredictions:
    """n answers of a version, and what people say the texts are.

    Attributes:
        labels: class ids, UNLABELLED or UNKNOWN, int64 [n].
        predicted: class ids, int64 [n].
        is_audit: whether the text was picked at random to be labelled, bool [n].
        times: when it was labelled, in seconds since the epoch, NaN where that is not known, float64 [n]; None where
            nothing is known of when.
    """

    labels: NDArray[np.int64]
    predicted: NDArray[np.int64]
    is_audit: NDArray[np.bool_]
    times: NDArray[np.float64] | None


def class_ids(labels: Sequence[str | int | None], class_names: Sequence[str]) -> NDArray[np.int64]:
    """Class ids of labels, UNLABELLED for None and UNKNOWN for a text that parse_label does not take: int64 [n].

    Raises:
        InputError: a label is neither a name nor an id of the model.
    """
    ids = {name: at for at, name in enumerate(class_names)}

    def class_id(label: str | int | None) -> int:
        if label is None:
            return UNLABELLED
        if isinstance(label, str):
            try:
                return ids[parse_label(label, class_names)]
            except InputError:
                return UNKNOWN
        if isinstance(label, bool) or not isinstance(label, int | np.integer) or not 0 <= label < len(class_names):
            raise InputError(
                f"labels: expected class names, or ids from 0 to {len(class_names) - 1}, got {label!r:.80}"
            )
        return int(label)

    return np.array([class_id(label) for label in labels], np.int64)


def check_audited(
    labels: Sequence[str | int | None], ids: NDArray[np.int64], is_audit: NDArray[np.bool_], class_names: Sequence[str]
) -> None:
    """Refuse a random audit in the names of something else: none of its labels is a class of the model.

    Raises:
        InputError: so it is; names the classes, and some of what was found.
    """
    given = ids[is_audit]
    if not np.any(given == UNKNOWN) or np.any(given >= 0):
        return
    found = sorted({str(labels[at])[:40] for at in np.flatnonzero(is_audit & (ids == UNKNOWN)).tolist()})
    more = f" and {len(found) - _MAX_FOUND:,} more" if len(found) > _MAX_FOUND else ""
    raise InputError(
        f"labels of the random audit: expected classes of the model, {label_choice(class_names)}; got "
        f"{', '.join(map(repr, found[:_MAX_FOUND]))}{more}; name the column of the labels, or rename them"
    )


def position_notes(
    labels: Sequence[str | int | None], ids: NDArray[np.int64], class_names: Sequence[str]
) -> tuple[str, ...]:
    """What to know of texts 0 and 1 that were taken as the first and second class, because they are no names."""
    taken = {
        label.strip(): class_names[class_id]
        for label, class_id in zip(labels, ids.tolist(), strict=True)
        if class_id >= 0 and isinstance(label, str) and label.strip() in {"0", "1"} - set(class_names)
    }
    said = " and ".join(f"{label} as {name}" for label, name in sorted(taken.items()))
    return (f"Labels were taken by the position of the class: {said}.",) if taken else ()


def _labels_are(count: int) -> str:
    return "1 label is" if count == 1 else f"{count:,} labels are"


def audit_evidence_of(
    answers: LabelledPredictions, reference: Reference, created: float, rng: np.random.Generator
) -> tuple[AuditEvidence | None, list[str]]:
    """The labels that say something of this version, None if none does; and why others do not, a sentence each.

    Args:
        answers: of the version.
        reference: of the version.
        created: when the version was made, in seconds since the epoch. It may have been trained on older labels.
        rng: puts labels without times in an order: that in which they happen to lie may be by class.
    """
    notes = []
    is_known = answers.labels >= 0
    if unknown := int(np.sum(answers.labels == UNKNOWN)):
        notes.append(f"{_labels_are(unknown)} no class of the model, and passed over.")
    times = rng.permutation(len(is_known)).astype(np.float64) if answers.times is None else answers.times
    if answers.times is not None:
        is_old = is_known & ~(times >= created)
        is_known &= ~is_old
        if is_old.any():
            notes.append(
                f"{_labels_are(int(is_old.sum()))} older than the version, or of no known time, and passed over: it "
                f"may have been trained on such."
            )
    if not is_known.any():
        return None, notes
    evidence = AuditEvidence(
        answers.labels[is_known],
        answers.predicted[is_known],
        times[is_known],
        answers.is_audit[is_known],
        held_out_errors=int(np.sum(reference.features.predicted != reference.labels)),
        held_out_texts=len(reference.labels),
    )
    return evidence, notes
