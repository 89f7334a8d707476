"""Rows in, scored rows out, in constant memory: what `inference.py score` does between reading and the disk.

A scored row is the input's fields in their order, then `label`, `score`, `probabilities` (in CSV a column
`p:<class>` for each class) and `truncated`. The input's own `label` becomes `input_label`. An input that has
a field of one of the other names already is refused: nothing of it is overwritten or lost.

CSV is UTF-8 with a header, commas, lines that end with a line feed, and the quoting of RFC 4180. Floats have
as many digits as it takes to read back the same number; true, false and an empty cell stand for JSON's true,
false and null; a list or an object of a JSONL input becomes JSON text.
"""

import contextlib
import csv
import gzip
import io
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from textclf.errors import InputError
from textclf.files import atomic_file
from textclf.labels import parse_label
from textclf.runtime.predictor import Prediction, Predictor, check_text

Fields = dict[str, Any]
OnBad = Callable[[int, Exception], None]
WriteRow = Callable[[Fields, Prediction], None]

ENDINGS = (".csv", ".csv.gz", ".jsonl", ".jsonl.gz")
INPUT_LABEL = "input_label"
MAX_SKIPPED_LISTED = 1000
# Rows are scored so many at a time, to be sorted by length among themselves; long texts close a chunk earlier.
CHUNK_ROWS = 1024
CHUNK_CHARS = 4_000_000


@dataclass
class ScoringReport:
    """What happened to the rows of a file.

    Attributes:
        scored: rows written.
        skipped: rows left out because they could not be read, scored or written.
        skipped_rows: (number, reason) of the first MAX_SKIPPED_LISTED of them.
        labelled: scored rows whose own `label` is a class of the model.
        correct: those whose label the model predicted.
        unknown_labels: scored rows whose own `label` is something else.
        stages: of a cascade to the scored rows that it answered; empty without a cascade.
    """

    scored: int = 0
    skipped: int = 0
    skipped_rows: list[tuple[int, str]] = field(default_factory=list)
    labelled: int = 0
    correct: int = 0
    unknown_labels: int = 0
    stages: Counter[str] = field(default_factory=Counter)

    @property
    def rows(self) -> int:
        """Rows of the input."""
        return self.scored + self.skipped

    @property
    def accuracy(self) -> float | None:
        """Share of the labelled rows whose label was predicted; None without such rows."""
        return self.correct / self.labelled if self.labelled else None


def score_rows(
    read: Callable[[OnBad], Iterable[tuple[int, Fields]]],
    predictor: Predictor,
    write: WriteRow,
    text_column: str = "text",
    skip_bad: bool = False,
) -> ScoringReport:
    """Score rows chunk by chunk and write each, in order.

    Args:
        read: gives the rows, each with its number; calls its argument with the number of a row that can't be
            read, and the reason.
        predictor: scores.
        write: takes a row's fields and its prediction; raises InputError for a row that can't be written.
        text_column: the field that is scored.
        skip_bad: leave out the rows that can't be read, scored or written, instead of stopping.

    Raises:
        InputError: a row is bad and skip_bad is off, or every row is.
    """
    report = ScoringReport()

    def leave_out(number: int, error: Exception) -> None:
        if not skip_bad:
            raise InputError(f"row {number}: {error}; mend the row, or leave such rows out with --skip-bad") from error
        report.skipped += 1
        if len(report.skipped_rows) < MAX_SKIPPED_LISTED:
            report.skipped_rows.append((number, str(error)))

    def scoreable_rows() -> Iterator[tuple[int, Fields, str]]:
        for number, fields in read(leave_out):
            try:
                text = _text_of(fields, text_column)
            except InputError as error:
                leave_out(number, error)
            else:
                yield number, fields, text

    for chunk in _chunks(scoreable_rows()):
        predictions = predictor.predict([text for _, _, text in chunk])
        for (number, fields, _), prediction in zip(chunk, predictions, strict=True):
            try:
                write(fields, prediction)
            except InputError as error:
                leave_out(number, error)
                continue
            report.scored += 1
            if prediction.stage is not None:
                report.stages[prediction.stage] += 1
            if text_column != "label":
                _compare(fields.get("label"), prediction.label, predictor.class_names, report)
    # A row that can't be written is found out later than one after it that can't be read.
    report.skipped_rows.sort()
    if report.skipped and not report.scored:
        number, reason = report.skipped_rows[0]
        raise InputError(f"none of the {report.skipped} rows can be scored; row {number}: {reason}")
    return report


@contextlib.contextmanager
def row_writer(path: Path, class_names: Sequence[str], columns: Sequence[str]) -> Iterator[WriteRow]:
    """A function that writes one scored row, in the form that the ending of `path` says.

    The file appears when the block ends without an exception, whole, or not at all. The function raises
    InputError for a row that can't be written.

    Args:
        path: ends in one of ENDINGS.
        class_names: of the model.
        columns: the input's fields, as far as they are known before; CSV has a column for each of them: a row
            may lack some, and is refused if it has others.

    Raises:
        InputError: another ending, or the results need the name of one of the columns.
    """
    check_ending(path)
    taken = {INPUT_LABEL, "score", "probabilities", "truncated", *_probability_columns(class_names)}
    _check_free(columns, taken)
    with contextlib.ExitStack() as stack:
        file: Any = stack.enter_context(atomic_file(path, "wb"))
        if path.suffix.lower() == ".gz":
            # No name and time in the header: the same rows give the same bytes.
            file = stack.enter_context(gzip.GzipFile("", "wb", fileobj=file, mtime=0))
        if path.name.lower().removesuffix(".gz").endswith(".csv"):
            header, text_of_row = _csv_text(columns, class_names)
        else:
            header, text_of_row = "", _json_text
        file.write(_utf8(header))

        def write(fields: Fields, prediction: Prediction) -> None:
            _check_free(fields, taken)
            file.write(_utf8(text_of_row(fields, prediction)))

        yield write


def check_ending(path: Path) -> None:
    """Check that `path` says a form that rows can be written in.

    Raises:
        InputError: it ends in none of ENDINGS.
    """
    if not path.name.lower().endswith(ENDINGS):
        raise InputError(f"{path}: expected a file name that ends in {', '.join(ENDINGS)}")


def _text_of(fields: Fields, text_column: str) -> str:
    if text_column not in fields:
        raise InputError(
            f"expected a column {text_column!r} with the text, found {', '.join(fields) or 'none'}; "
            f"name the column with --text-column"
        )
    try:
        return check_text(fields[text_column])
    except InputError as error:
        raise InputError(f"column {text_column!r}: {error}") from None


def _chunks(rows: Iterable[tuple[int, Fields, str]]) -> Iterator[list[tuple[int, Fields, str]]]:
    chunk: list[tuple[int, Fields, str]] = []
    chars = 0
    for row in rows:
        chunk.append(row)
        chars += len(row[2])
        if len(chunk) >= CHUNK_ROWS or chars >= CHUNK_CHARS:
            yield chunk
            chunk, chars = [], 0
    if chunk:
        yield chunk


def _compare(own_label: object, predicted: str, class_names: Sequence[str], report: ScoringReport) -> None:
    if own_label is None or own_label == "":
        return
    try:
        report.correct += parse_label(str(own_label), class_names) == predicted
        report.labelled += 1
    except InputError:
        report.unknown_labels += 1


def _check_free(names: Iterable[str], taken: set[str]) -> None:
    if clash := taken.intersection(names):
        raise InputError(
            f"the input has a field {', '.join(sorted(clash))} already, a name that the results need; "
            f"rename it in the input (was this file scored before?)"
        )


def _renamed(name: str) -> str:
    return INPUT_LABEL if name == "label" else name


def _probability_columns(class_names: Sequence[str]) -> list[str]:
    return [f"p:{name}" for name in class_names]


def _json_text(fields: Fields, prediction: Prediction) -> str:
    row = {_renamed(name): value for name, value in fields.items()} | {
        "label": prediction.label,
        "score": prediction.score,
        "probabilities": prediction.probabilities,
        "truncated": prediction.truncated,
    }
    return _json(row) + "\n"


def _csv_text(columns: Sequence[str], class_names: Sequence[str]) -> tuple[str, Callable[[Fields, Prediction], str]]:
    """The header, and what turns a row into a line of CSV."""
    known = set(columns)

    def text_of_row(fields: Fields, prediction: Prediction) -> str:
        if unknown := fields.keys() - known:
            raise InputError(
                f"the field {', '.join(sorted(unknown))} is not among the columns of the CSV output, which are those "
                f"of the first row ({', '.join(columns)}); write JSONL, where rows may differ"
            )
        return _csv_line(
            [
                *(_cell(fields.get(name)) for name in columns),
                prediction.label,
                prediction.score,
                *(prediction.probabilities[name] for name in class_names),
                _cell(prediction.truncated),
            ]
        )

    header = [*map(_renamed, columns), "label", "score", *_probability_columns(class_names), "truncated"]
    return _csv_line(header), text_of_row


def _cell(value: Any) -> Any:
    return value if isinstance(value, str) else "" if value is None else _json(value)


def _csv_line(cells: Sequence[Any]) -> str:
    line = io.StringIO()
    # Ending lines with both characters makes the writer quote a cell that holds either of them.
    csv.writer(line, lineterminator="\r\n").writerow(cells)
    return line.getvalue().removesuffix("\r\n") + "\n"


def _json(value: Any) -> str:
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False)
    except ValueError as error:
        raise InputError(f"a number that JSON does not have (NaN or infinite) can't be written: {error}") from None


def _utf8(text: str) -> bytes:
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise InputError(
            f"expected well-formed Unicode in every field, got the lone surrogate {text[error.start]!r}"
        ) from None
