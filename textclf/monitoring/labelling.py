"""Draw texts of the prediction log into a file, and move labels between files and the stored reviews."""

import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from textclf.config import DataOptions
from textclf.data.feedback_store import FeedbackStore, stored_label
from textclf.data.labelled_reviews import read_labelled_reviews
from textclf.data.labelling.draw_signatures import Draw, DrawSignatures
from textclf.data.labelling.labelled_texts import LabelledTexts
from textclf.data.labelling.queue import LabellingQueue
from textclf.data.labelling.queue_files import LabelledRow, QueueRow, read_labelled, write_queue
from textclf.data.prediction_log.log import PredictionLog
from textclf.errors import (
    EXPIRED,
    OTHER_VERSION,
    SIGNATURE,
    AlreadyLabelledError,
    DatasetError,
    InvalidDrawError,
    UnknownLabelError,
)
from textclf.listing import shortened
from textclf.report.counted import counted
from textclf.runtime.unusual import UnusualTexts
from textclf.store.model_store import ModelVersion, open_model
from textclf.tokenization.text_key import is_blank, text_key

# Marks labels of a file among the senders of labels.
IMPORTED = "labels import"
# The operator owns the disk; only requests of clients have a quota.
_NO_QUOTA = 2**60
# Why a draw in a file is no audit.
_REASONS = {
    SIGNATURE: "its text or its draw was changed, or another server signed it",
    EXPIRED: "it was drawn more than 14 days ago",
    OTHER_VERSION: "it was drawn from the texts of another version",
}


@dataclass(frozen=True)
class Imported:
    """Numbers of rows of an imported file.

    Attributes:
        stored: labels that were stored.
        audits: labels among them that count as a random audit.
        present: rows whose label was stored before the import.
        repeated: rows whose text and label an earlier row of the file has.
        differing: rows whose draw has another label; theirs were not stored.
        contradicting: rows without a valid draw whose text has another label; theirs were stored, too.
        unlabelled: rows without a label.
        refused: rows whose signed draw is not valid, with the reason; their labels were stored, but are no audits.
    """

    stored: int
    audits: int
    present: int
    repeated: int
    differing: tuple[str, ...]
    contradicting: tuple[str, ...]
    unlabelled: int
    refused: tuple[str, ...]

    def sentences(self) -> list[str]:
        """Sentences for the user about what was imported."""
        lines = [f"{counted(self.stored, 'label')} stored, {counted(self.audits, 'random audit')} among them"]
        if self.present:
            lines.append(f"{counted(self.present, 'label')} stored before, not stored again")
        if self.repeated:
            lines.append(f"{counted(self.repeated, 'row')} with the text and label of an earlier row, not stored again")
        if self.differing:
            lines.append(
                f"{counted(len(self.differing), 'label')} not stored, because the draw has another label: "
                f"{shortened(list(self.differing), 5)}; to replace a label, remove its file from NEW_DATA_DIR and "
                f"import again"
            )
        if self.contradicting:
            lines.append(
                f"{counted(len(self.contradicting), 'label')} stored next to another label of the same text: "
                f"{shortened(list(self.contradicting), 5)}"
            )
        if self.unlabelled:
            lines.append(f"{counted(self.unlabelled, 'text')} without a label, left out")
        if self.refused:
            rows = shortened(list(self.refused), 20)
            lines.append(f"{counted(len(self.refused), 'label')} stored, but not as an audit: {rows}")
        return lines


def sample_texts(
    model_path: Path,
    log_url: str,
    new_data_dir: Path,
    count: int,
    since: float | None,
    clock: Callable[[], float] = time.time,
    *,
    is_audit: bool,
) -> tuple[list[QueueRow], tuple[str, ...]]:
    """Draw texts that the current version predicted; returns rows to label and the class names.

    Args:
        model_path: a model store (its current version), or one version's folder.
        log_url: prediction log with texts.
        new_data_dir: labelled reviews, whose folder has the key of the signatures.
        count: number of texts.
        since: time of the first prediction, in seconds since the epoch; None for all.
        clock: returns seconds since the epoch.
        is_audit: draw at random, and sign each draw; otherwise the most informative texts.

    Raises:
        ModelStoreError: if there is no version.
        PredictionLogError: if there is no log, or it can't be read.
        DatasetError: if the log has no text to draw.
    """
    version = open_model(model_path)
    manifest = version.manifest
    rng = np.random.default_rng()
    with contextlib.closing(PredictionLog(log_url, clock=clock)) as log:
        queue = LabellingQueue(log, DrawSignatures(new_data_dir, clock))
        labelled = LabelledTexts(new_data_dir).read()
        if is_audit:
            found = queue.audit(version.id, count, rng, labelled, since=since)
        else:
            known = UnusualTexts.load(version.part("engine")) if version.has("engine") else None
            found = queue.informative(
                version.id,
                count,
                rng,
                labelled,
                temperature=manifest.temperature,
                unusual=None if known is None else known.reason,
                since=since,
            )
    if not found:
        raise DatasetError(
            f"expected logged texts of version {version.id} that are not labelled yet, found none; start the server "
            f"with PREDICTION_LOG_TEXT=1, and draw texts once it has predicted some"
        )
    name = _full_name(version)
    rows = []
    for item in found:
        more = {"model": name} if item.draw is None else {"draw": item.draw, "model": name}
        rows.append(
            QueueRow(item.text, None, item.label, more | ({"reasons": ", ".join(item.reasons)} if not is_audit else {}))
        )
    return rows, manifest.class_names


def import_labels(
    path: Path,
    model_path: Path,
    new_data_dir: Path,
    options: DataOptions,
    source: str = IMPORTED,
    clock: Callable[[], float] = time.time,
) -> Imported:
    """Store the labels of a file; a valid signed draw makes a label an audit. A second import stores nothing new.

    Args:
        path: CSV, or JSON of Label Studio.
        model_path: a model store (its current version), or one version's folder, which names the classes.
        new_data_dir: folder of the labelled reviews.
        options: columns and encoding of the file.
        source: sender of the labels.
        clock: returns seconds since the epoch.

    Raises:
        DatasetError: if the file can't be read, or a row has a label that is no class, or a blank text; then nothing
            is stored, and the message lists the first rows. The same if a text has several labels.
        ModelStoreError: if there is no version.
    """
    version = open_model(model_path)
    classes = version.manifest.class_names
    rows, unlabelled = _checked_rows(path, options, classes)
    signatures = DrawSignatures(new_data_dir, clock)
    store = FeedbackStore(new_data_dir, _NO_QUOTA)
    known = _stored(new_data_dir)
    verified = [_verified(row, signatures, version.id) for row, _ in rows]
    owners = {row.draw: row.place for (row, _), (_, draw, _) in zip(rows, verified, strict=True) if draw is not None}
    new: set[tuple[bytes, str]] = set()
    stored = audits = present = repeated = 0
    refused: list[str] = []
    differing: list[str] = []
    contradicting: list[str] = []
    for (row, label), (text, draw, reason) in zip(rows, verified, strict=True):
        keys = [text_key(one) for one in row.texts]
        # A spreadsheet's apostrophe may be the text's own.
        if draw is None and any((key, label) in new for key in keys):
            repeated += 1
            continue
        if draw is None and any(label in known.get(key, ()) for key in keys):
            present += 1
            continue
        try:
            store.save(
                text,
                label,
                classes,
                _full_name(version),
                source,
                draw is not None,
                None if draw is None else draw.review_id,
            )
        except AlreadyLabelledError:
            # Only a draw has an id, and only an id is refused.
            found = None if draw is None else store.label_of(draw.review_id)
            if found in (None, label):
                is_new = (text_key(text), label) in new
                repeated, present = repeated + is_new, present + (not is_new)
            else:
                differing.append(f"{row.place} ({label[:40]!r}, stored as {found[:40]!r})")
            continue
        others = sorted({other for key in keys for other in known.get(key, ())})
        if draw is None and others:
            contradicting.append(f"{row.place} ({label[:40]!r}, stored as {shortened([repr(o[:40]) for o in others])})")
        new.add((text_key(text), label))
        stored += 1
        audits += draw is not None
        if reason:
            owner = owners.get(row.draw)
            refused.append(f"{row.place} ({reason if owner is None else f'it has the draw of {owner}'})")
    return Imported(
        stored, audits, present, repeated, tuple(differing), tuple(contradicting), unlabelled, tuple(refused)
    )


def export_labels(path: Path, new_data_dir: Path) -> int:
    """Write the stored labels into a new file, CSV or JSON of Label Studio; returns their number.

    Raises:
        DatasetError: if there are no labels, the file exists, or its name ends with something else.
    """
    reviews = read_labelled_reviews(new_data_dir).reviews if new_data_dir.exists() else ()
    if not reviews:
        raise DatasetError(f"{new_data_dir}: expected stored labels, found none; pass the server's NEW_DATA_DIR")
    rows = []
    for review in reviews:
        more = {
            "source": review.source,
            "time": "" if review.time is None else review.time.isoformat(timespec="seconds"),
            "audit": "true" if review.audit else "false",
            "model": review.model,
        }
        rows.append(QueueRow(review.text, review.label, more=more))
    write_queue(path, rows)
    return len(rows)


def _checked_rows(
    path: Path, options: DataOptions, classes: Sequence[str]
) -> tuple[list[tuple[LabelledRow, str]], int]:
    """The rows that have a label, with its class name, and the number of those without one."""
    rows: list[tuple[LabelledRow, str]] = []
    bad: list[str] = []
    unlabelled = 0
    first: dict[bytes, tuple[str, str]] = {}
    for row in read_labelled(path, options.text_column, options.label_column, options.encoding):
        if row.problem:
            bad.append(f"{row.place} ({row.problem})")
        elif row.label is None:
            unlabelled += 1
        elif is_blank(row.texts[0]):
            bad.append(f"{row.place} (its text is blank)")
        else:
            try:
                label = stored_label(row.label, classes)
            except UnknownLabelError:
                bad.append(f"{row.place} ({row.label[:40]!r} is no class)")
                continue
            place, other = first.setdefault(text_key(row.texts[-1]), (row.place, label))
            if other != label:
                bad.append(f"{row.place} ({label[:40]!r}, but {place} has the same text with {other[:40]!r})")
            rows.append((row, label))
    if bad:
        raise DatasetError(
            f"{path}: expected one label for each text, of {shortened(list(classes), 10)} or (other), found "
            f"{counted(len(bad), 'other row')}: {shortened(bad, 5)}; correct or remove them, nothing was stored"
        )
    return rows, unlabelled


def _verified(row: LabelledRow, signatures: DrawSignatures, version_id: str) -> tuple[str, Draw | None, str]:
    """The text, its draw if that is valid, and the reason if it is not."""
    reason = ""
    for text in row.texts if row.draw is not None else ():
        try:
            return text, signatures.check(row.draw or "", text, version_id), ""
        except InvalidDrawError as error:
            reason = _REASONS[error.cause]
    return row.texts[-1], None, reason


def _stored(folder: Path) -> dict[bytes, set[str]]:
    """Labels of the stored reviews by the key of their text."""
    labels: dict[bytes, set[str]] = {}
    if folder.exists():
        for review in read_labelled_reviews(folder, DataOptions(skip_bad=True)).reviews:
            labels.setdefault(text_key(review.text), set()).add(review.label)
    return labels


def _full_name(version: ModelVersion) -> str:
    return f"{version.manifest.name} {version.id}"
