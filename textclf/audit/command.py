"""The two commands: audit a data set into a folder, and apply an edited review file."""

import shlex
from collections.abc import Sequence
from pathlib import Path

from textclf.audit.audit import audit
from textclf.audit.audited_texts import read_texts
from textclf.audit.reading_model import reading_model
from textclf.audit.review_file import corrected_columns, read_corrections, write_corrected, write_review
from textclf.audit.settings import AuditSettings
from textclf.config import DataOptions
from textclf.data.cleaning import exact_keys
from textclf.errors import DatasetError
from textclf.files import atomic_file, check_writable
from textclf.report.audit_report import AuditReport
from textclf.report.counted import counted
from textclf.tokenization.text_key import KeyFunction, TextKeys


def audit_to_folder(
    source: Path, settings: AuditSettings, options: DataOptions, arguments: Sequence[str] = ()
) -> tuple[AuditReport, list[Path]]:
    """Audit a data set and write review.csv and audit.html; returns the report and the paths.

    Args:
        source: the data set.
        settings: what to search, and where to write.
        options: how to read the data.
        arguments: the same as arguments of a command line, for the command that applies the review file.

    Raises:
        DatasetError: if the data can't be read, or the folder has a review file, which a person may have edited.
    """
    from textclf.report.audit_html import audit_page  # Needs jinja2.

    review, page = settings.review_file, settings.page
    corrected = settings.review_file.with_name("corrected")
    words = ["textclf", "data", "correct", source.absolute(), review, *arguments, "--output", corrected]
    command = shlex.join(map(str, words))
    if review.exists():
        raise DatasetError(
            f"{review}: expected no file, found one that may have your corrections; apply it ({command}), move it "
            f"away, or choose another folder with --output"
        )
    check_writable(review)
    found = read_texts(source, options)
    if not len(found):
        raise DatasetError(f"{source}: expected labelled texts, found none that is not blank; check the path")
    model = reading_model(settings.encoder, settings.model_path, settings.embeddings)
    keys_of: KeyFunction = exact_keys if options.equal_texts == "characters" else TextKeys(model.tokenizer)
    report = audit(
        found,
        model.read(found.texts),
        settings,
        keys_of,
        correct_command=command,
        notes=_notes(settings, model.name),
    )
    write_review(review, report.rows)
    with atomic_file(page) as file:
        file.write(audit_page(report))
    return report, [review, page]


def correct(source: Path, review: Path, output: Path, options: DataOptions) -> str:
    """Write the corrected data set into a new folder; returns a sentence with counts for the user.

    Raises:
        DatasetError: if the review file does not fit the data, or the folder exists.
    """
    found = read_texts(source, options)
    corrections = read_corrections(review, found)
    write_corrected(found, corrections, output)
    return (
        f"{output.absolute()}: {counted(len(found) - len(corrections.removed), 'text')}, of which "
        f"{counted(len(corrections.labels), 'has', 'have')} a new label; "
        f"{counted(len(corrections.removed), 'text was', 'texts were')} removed, "
        f"{counted(corrections.unchanged, 'reviewed label stays as it was', 'reviewed labels stay as they were')}; "
        f"columns: {', '.join(corrected_columns(found))} (no others)"
    )


def _notes(settings: AuditSettings, name: str) -> list[str]:
    if settings.model_path is None or not settings.embeddings:
        return []
    return [f"The texts were embedded with {name}. If it was trained on these labels, the audit misses label errors."]
