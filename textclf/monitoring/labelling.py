"""Draw texts of the prediction log into a file, and move labels between files and the stored reviews."""

import contextlib
import time
from collections import Counter
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
from textclf.errors import AlreadyLabelledError, DatasetError, InvalidDrawError, UnknownLabelError
from textclf.listing import shortened
from textclf.report.counted import counted
from textclf.runtime.unusual import UnusualTexts
from textclf.store.model_store import ModelVersion, open_model
from textclf.tokenization.text_key import is_blank, text_key

# Marks labels of a file among the senders of labels.
IMPORTED = "labels import"
# The operator owns the disk; only requests of clients have a quota.
_NO_QUOTA = 2**60


@dataclass(frozen=True)
class Imported:
    """Numbers of rows of an imported file.

    Attributes:
        stored: labels that were stored.
        audits: labels among them that count as a random audit.
        present: rows whose label was stored before.
        differing: rows whose draw has another label; theirs were not stored.
        unlabelled: rows without a label.
        refused: signed draws that are not valid, by the reason; their labels were stored, but are no audits.
    """

    stored: int
    audits: int
    present: int
    differing: tuple[str, ...]
    unlabelled: int
    refused: Counter[str]

    def sentences(self) -> list[str]:
        """Sentences for the user about what was imported."""
        lines = [f"{counted(self.stored, 'label')} stored, {counted(self.audits, 'random audit')} among them"]
        if self.present:
            lines.append(f"{counted(self.present, 'label')} stored before, not stored again")
        if self.differing:
            lines.append(
                f"{counted(len(self.differing), 'label')} not stored, because the draw has another label: "
                f"{shortened(list(self.differing), 5)}; to replace a label, remove its file from NEW_DATA_DIR and "
                f"import again"
            )
        if self.unlabelled:
            lines.append(f"{counted(self.unlabelled, 'text')} without a label, left out")
        lines += [
            f"{counted(count, 'label')} stored, but not as an audit: {why}" for why, count in self.refused.items()
        ]
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
            is stored, and the message lists the first rows.
        ModelStoreError: if there is no version.
    """
    version = open_model(model_path)
    classes = version.manifest.class_names
    rows, unlabelled = _checked_rows(path, options, classes)
    signatures = DrawSignatures(new_data_dir, clock)
    store = FeedbackStore(new_data_dir, _NO_QUOTA)
    known = _stored(new_data_dir)
    stored = audits = present = 0
    refused: Counter[str] = Counter()
    differing: list[str] = []
    for row, label in rows:
        text, draw, reason = _verified(row, signatures, version.id)
        # A spreadsheet's apostrophe may be the text's own.
        if draw is None and any((text_key(one), label) in known for one in row.texts):
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
                present += 1
            else:
                differing.append(f"{row.place} ({label[:40]!r}, stored as {found[:40]!r})")
            continue
        known.add((text_key(text), label))
        stored += 1
        audits += draw is not None
        refused.update([reason] if reason else [])
    return Imported(stored, audits, present, tuple(differing), unlabelled, refused)


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
    for row in read_labelled(path, options.text_column, options.label_column, options.encoding):
        if row.problem:
            bad.append(f"{row.place} ({row.problem})")
        elif row.label is None:
            unlabelled += 1
        elif is_blank(row.texts[0]):
            bad.append(f"{row.place} (its text is blank)")
        else:
            try:
                rows.append((row, stored_label(row.label, classes)))
            except UnknownLabelError:
                bad.append(f"{row.place} ({row.label[:40]!r} is no class)")
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
            reason = str(error)
    return row.texts[-1], None, reason


def _stored(folder: Path) -> set[tuple[bytes, str]]:
    """Keys and labels of the stored reviews."""
    if not folder.exists():
        return set()
    found = read_labelled_reviews(folder, DataOptions(skip_bad=True)).reviews
    return {(text_key(review.text), review.label) for review in found}


def _full_name(version: ModelVersion) -> str:
    return f"{version.manifest.name} {version.id}"
