"""Select the labels that count as evidence about the errors of a model version."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from textclf.drift.audit_run import AuditRun
from textclf.drift.reference import Reference
from textclf.errors import InputError
from textclf.label_column import LabelChange, label_key, label_text, match_labels
from textclf.labels import OTHER_LABEL
from textclf.listing import shortened
from textclf.stats.drift_tests.error_rate_drift import AuditEvidence

# Used in place of a class id: the text has no label; the label is not a class of the model.
UNLABELLED, UNKNOWN = -1, -2
# Number of unknown labels that a message shows.


@dataclass(frozen=True, eq=False)
class LabelledPredictions:
    """Labels and predictions of n texts.

    Attributes:
        labels: class ids given by people, UNLABELLED or UNKNOWN, int64 [n].
        predicted: class ids predicted by the version, int64 [n].
        is_audit: True if the text was picked at random for labelling, bool [n].
        times: when each text was labelled, in seconds since the epoch, NaN if unknown, float64 [n]; None if all
            times are unknown.
    """

    labels: NDArray[np.int64]
    predicted: NDArray[np.int64]
    is_audit: NDArray[np.bool_]
    times: NDArray[np.float64] | None


def class_ids(
    labels: Sequence[str | int | float | None], class_names: Sequence[str], renames: Mapping[str, str]
) -> tuple[NDArray[np.int64], tuple[LabelChange, ...]]:
    """Class ids of labels, with UNLABELLED for a missing label and UNKNOWN for an unknown name, int64 [n].

    The second result is the spellings that were normalised. `renames` maps names in the version's training data to its
    classes. A label may have either name.

    Raises:
        InputError: if a label is neither a text nor a class id of the model.
    """
    ids = {name: at for at, name in enumerate(class_names)}
    counts = Counter(label for label in labels if isinstance(label, str) and label_text(label) is not None)
    column = match_labels(counts, class_names, other_names=renames)

    def class_id(label: str | int | float | None) -> int:
        if isinstance(label, str | float | None) and label_text(label) is None:
            return UNLABELLED
        if isinstance(label, str):
            return ids.get(column.names.get(label, OTHER_LABEL), UNKNOWN)
        if isinstance(label, bool) or not isinstance(label, int | np.integer) or not 0 <= label < len(class_names):
            raise InputError(
                f"labels: expected class names, or ids from 0 to {len(class_names) - 1}, got {label!r:.80}"
            )
        return int(label)

    return np.array([class_id(label) for label in labels], np.int64), column.changes


def check_audited(
    labels: Sequence[str | int | float | None],
    ids: NDArray[np.int64],
    is_audit: NDArray[np.bool_],
    class_names: Sequence[str],
) -> None:
    """Check that a random audit uses the class names of the model.

    Raises:
        InputError: if no audited label is a class of the model or OTHER_LABEL; lists the classes and some unknown
            labels.
    """
    given = ids[is_audit]
    if not np.any(given == UNKNOWN) or np.any(given >= 0):
        return
    if any(label_key(str(labels[at])) == OTHER_LABEL for at in np.flatnonzero(is_audit).tolist()):
        return
    found = sorted({str(labels[at])[:40] for at in np.flatnonzero(is_audit & (ids == UNKNOWN)).tolist()})
    raise InputError(
        f"labels of the random audit: expected classes of the model, {', '.join(class_names)}; got "
        f"{shortened(list(map(repr, found)), max_names=5)}; choose another label column, or rename the labels"
    )


def audit_evidence_of(
    predictions: LabelledPredictions,
    reference: Reference,
    created: float,
    rng: np.random.Generator,
    earlier: AuditRun | None = None,
) -> tuple[AuditEvidence | None, list[str]]:
    """Return the labels to test, None without any, and a sentence for each reason to leave labels out.

    Args:
        predictions, reference: of the version.
        created: creation time of the version, in seconds since the epoch. It may have been trained on older labels.
        rng: shuffles labels without times, which may be sorted by class.
        earlier: CUSUM of the version's earlier audits.
    """

    def labels_are(count: int) -> str:
        return "1 label is" if count == 1 else f"{count:,} labels are"

    notes = []
    is_used = predictions.labels != UNLABELLED
    times = rng.permutation(len(is_used)).astype(np.float64) if predictions.times is None else predictions.times
    if predictions.times is not None:
        is_old = is_used & ~(times >= created)
        is_used &= ~is_old
        if is_old.any():
            notes.append(
                f"{labels_are(int(is_old.sum()))} older than the version or of unknown time and left out: the version "
                f"may have been trained on these texts."
            )
    if unknown := int(np.sum(predictions.labels[is_used] == UNKNOWN)):
        notes.append(f"{labels_are(unknown)} not a class of the model, so each counts as an error.")
    if not is_used.any():
        return None, notes
    evidence = AuditEvidence(
        predictions.labels[is_used],
        predictions.predicted[is_used],
        times[is_used],
        predictions.is_audit[is_used],
        held_out_errors=int(np.sum(reference.features.predicted != reference.labels)),
        held_out_texts=len(reference.labels),
        earlier=earlier,
    )
    return evidence, notes
