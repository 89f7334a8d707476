"""The review file: a table of doubtful rows that a person edits, and the corrections that it contains.

A person edits the column `label` only: another class name, or REMOVE. `key` identifies the text and its label at the
time of the audit, so that a correction never reaches a text that changed since. Other columns are for the reader.
"""

import csv
import hashlib
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from textclf.audit.audited_texts import AuditedTexts
from textclf.data.tables import Wanted, read_rows
from textclf.data.tables.encoding import HEAD_BYTES, detect_encoding
from textclf.errors import DatasetError
from textclf.files import atomic_file, atomic_folder
from textclf.label_column import label_key
from textclf.listing import shortened
from textclf.report.audit_report import ReviewRow
from textclf.report.counted import counted
from textclf.spreadsheets import neutral
from textclf.tokenization.text_key import text_key

REMOVE = "(remove)"
COLUMNS = ("file", "row", "part", "label", "suggested_label", "score", "reason", "text", "key")
_NEEDED = ("file", "row", "label", "key")
# Spreadsheets may write other delimiters: these columns tell which.
_WANTED = Wanted("key", "label")
_KEY_CHARS = 16
_MAX_SHOWN = 5


@dataclass(frozen=True)
class Corrections:
    """The changes that a review file asks for.

    Attributes:
        labels: new class name by row of the AuditedTexts.
        removed: rows to leave out.
        unchanged: number of reviewed rows that keep their label.
    """

    labels: dict[int, str]
    removed: frozenset[int]
    unchanged: int


def row_key(text: str, label: str) -> str:
    """Identifies a text, as the model reads it, with its label. It is no number, which spreadsheets would change."""
    return "k" + hashlib.sha256(text_key(text) + label.encode()).hexdigest()[:_KEY_CHARS]


def write_review(path: Path, rows: Iterable[ReviewRow]) -> None:
    """Write the review file as CSV for spreadsheets: with a byte-order mark, and without live formulas."""
    # Spreadsheets take a file without a mark for Latin-1.
    with atomic_file(path, encoding="utf-8-sig", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for row in rows:
            writer.writerow([neutral("" if (value := getattr(row, name)) is None else value) for name in COLUMNS])


def read_corrections(path: Path, found: AuditedTexts) -> Corrections:
    """The corrections in a review file, for the texts of the data set that was audited.

    Raises:
        DatasetError: if the file can't be read, if a label is not a class of the data, if two rows ask for different
            labels of one text, or if a row of the data changed since the audit; the message lists the first rows.
    """
    at_place = {(file, row): at for at, (file, row) in enumerate(zip(found.files, found.rows, strict=True))}
    # The class name or REMOVE that each row asks for.
    decided: dict[int, str] = {}
    changed: list[str] = []
    unknown: list[str] = []
    contradictory: list[str] = []
    for number, row in read_rows(path, wanted=_WANTED, encoding=_encoding(path)):
        for name in _NEEDED:
            if name not in row:
                raise DatasetError(
                    f"{path}: expected the columns {', '.join(_NEEDED)} of a review file, found no {name!r}; give the "
                    f"review.csv that textclf data audit wrote"
                )
        file, line, written, key = (_plain(row[name]) for name in _NEEDED)
        at = at_place.get((file.removeprefix("'"), int(line) if line.isdecimal() else -1))
        old = "" if at is None else found.class_names[found.labels[at]]
        if at is None or row_key(found.texts[at], old) != key:
            changed.append(f"{number} ({file}{f', row {line}' if line not in ('', '0') else ''})")
        elif (label := _decision(written, found.class_names)) is None:
            unknown.append(f"{number} ({written!r:.80})")
        elif decided.setdefault(at, label) != label:
            contradictory.append(f"{number} ({found.place(at)}: {decided[at]!r} and {label!r})")
    if changed:
        raise DatasetError(
            f"{path}: expected texts and labels as the audit read them, found {counted(len(changed), 'row')} whose "
            f"text or label in {found.source} is another one now, or is missing: rows "
            f"{shortened(changed, _MAX_SHOWN)}; run the audit again"
        )
    if unknown:
        raise DatasetError(
            f"{path}: expected class names of the data ({', '.join(found.class_names[:20])}) or {REMOVE} in the column "
            f"label, found others in {counted(len(unknown), 'row')}: {shortened(unknown, _MAX_SHOWN)}; correct them"
        )
    if contradictory:
        raise DatasetError(
            f"{path}: expected one label for each text, found {counted(len(contradictory), 'row')} with another label "
            f"than an earlier row of the same text: {shortened(contradictory, _MAX_SHOWN)}; delete one row of each text"
        )
    old_names = {at: found.class_names[found.labels[at]] for at in decided}
    removed = frozenset(at for at, label in decided.items() if label == REMOVE)
    labels = {at: label for at, label in decided.items() if at not in removed and label != old_names[at]}
    return Corrections(labels, removed, unchanged=len(decided) - len(removed) - len(labels))


def corrected_columns(found: AuditedTexts) -> list[str]:
    """The columns of the corrected tables; other columns of the data are not kept."""
    return ["text", "label", *(["source"] if any(found.senders) else []), *filter(None, [found.weight_column])]


def write_corrected(found: AuditedTexts, corrections: Corrections, folder: Path) -> None:
    """Write the corrected data set as tables into a new folder: train.csv and, if there are such parts, others.

    Raises:
        DatasetError: if the folder exists.
    """
    if folder.exists():
        raise DatasetError(f"{folder}: expected a folder that does not exist, found one; choose another with --output")
    columns = corrected_columns(found)
    with atomic_folder(folder) as new:
        for part in dict.fromkeys(found.parts):
            with open(new / f"{part}.csv", "w", encoding="utf-8", newline="") as file:
                writer = csv.DictWriter(file, columns, extrasaction="ignore")
                writer.writeheader()
                for at, its_part in enumerate(found.parts):
                    if its_part == part and at not in corrections.removed:
                        label = corrections.labels.get(at, found.class_names[found.labels[at]])
                        row = {"text": found.texts[at], "label": label, "source": found.senders[at]}
                        weight = {found.weight_column: found.weights[at]} if found.weight_column else {}
                        writer.writerow(row | weight)


def _encoding(path: Path) -> str:
    """The encoding that a spreadsheet saved a file in: Windows' own, unless it has a mark or is UTF-8.

    An error can't do harm: the key tells the text, and a label that was decoded wrongly is no class.
    """
    with suppress(OSError):  # read_rows() describes it.
        content = path.read_bytes()
        try:
            content.decode(detect_encoding(content[:HEAD_BYTES]).codec)
        except UnicodeDecodeError:
            return "cp1252"
    return ""


def _plain(value: object) -> str:
    """A cell as text; spreadsheets may make numbers of digits."""
    text = "" if value is None else str(value).strip()
    return text.removesuffix(".0") if text.removesuffix(".0").isdecimal() else text


def _decision(written: str, class_names: Sequence[str]) -> str | None:
    """The class that a cell names, or REMOVE; write_review() may have put an apostrophe in front of a class."""
    if written in ("", REMOVE):
        return REMOVE
    spellings = [written, written.removeprefix("'")]
    exact = [name for name in class_names if name in spellings]
    keys = {label_key(spelling) for spelling in spellings}
    return next(iter([*exact, *(name for name in class_names if label_key(name) in keys)]), None)
