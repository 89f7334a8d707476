"""Score rows in constant memory and write them to a file, for `inference.py score`.

A scored row contains the input's fields in their order, then `label`, `score`, `probabilities` (in CSV a column
`p:<class>` for each class) and `truncated`; in JSONL a text without wordpieces also has `empty`, which is true. The
input's own `label` becomes `input_label`. An unusual text has `unusual`, which is true, and `unusual_reason` in JSONL;
CSV has a column `unusual` with the reason or nothing, if the version recognises such texts. With rules, a row that they
changed has `rules`, the list of their names; CSV has a column `rules` with the names between blanks. An unsure
prediction has `unsure`, which is true; CSV has a column `unsure` if the version has thresholds. An input with a field
of one of the other names is refused, so that no field is overwritten.

CSV is UTF-8 with a header, commas, line feeds at line ends, and the quoting of RFC 4180. Floats have enough digits to
read back the same number. JSON's true, false and null become true, false and an empty cell; lists and objects of a
JSONL input become JSON text. Dates and times are in ISO 8601, decimal numbers are texts with all digits, and bytes are
in Base64.

A spreadsheet runs a cell that starts with = + - or @ as a formula. With `for_spreadsheets` such a text gets an
apostrophe in front, which spreadsheets take for the mark of a text.
"""

import contextlib
import gzip
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from textclf.bad_rows import BadRowError, BadRows, Reason
from textclf.errors import InputError, RuleError
from textclf.files import atomic_file
from textclf.runtime.apart import chunks, predict_apart
from textclf.runtime.checked_texts import check_text
from textclf.runtime.label_accuracy import LabelComparison
from textclf.runtime.prediction import UNSURE, Prediction
from textclf.runtime.predictor import Predictor
from textclf.runtime.row_text import cell, csv_line, json_text, utf8
from textclf.runtime.scoring_report import ScoringReport, row_reason
from textclf.spreadsheets import neutral

Fields = dict[str, Any]
OnBad = Callable[[int, BadRowError], None]
WriteRow = Callable[[Fields, Prediction], None]

ENDINGS = (".csv", ".csv.gz", ".jsonl", ".jsonl.gz")
INPUT_LABEL = "input_label"
EMPTY, UNUSUAL, UNUSUAL_REASON, RULES = "empty", "unusual", "unusual_reason", "rules"


def score_rows(
    read: Callable[[OnBad], Iterable[tuple[int, Fields]]],
    predictor: Predictor,
    write: WriteRow,
    text_column: str = "text",
    skip_bad: bool = False,
    rename_labels: Mapping[str, str] | None = None,
    label_column: str | None = "label",
    source: Path | str = "",
) -> ScoringReport:
    """Score rows chunk by chunk and write each, in order.

    Args:
        read: returns the rows with their numbers; calls its argument with number and reason of each unreadable row.
        predictor: scores the texts.
        write: takes a row's fields and its prediction; raises InputError for a row that can't be written.
        text_column: field that contains the text.
        skip_bad: skip rows that can't be read, scored or written, instead of stopping.
        rename_labels: class names by labels of the file.
        label_column: field of the rows' own labels; None if they have none.
        source: the file, for messages.

    Raises:
        InputError: if a row is bad and skip_bad is false, or every row is bad. The message lists the first bad rows
            and counts all of the rest of the file.
    """
    report = ScoringReport()
    refused = BadRows()
    labels = LabelComparison(predictor.class_names, rename_labels or {}, predictor.other_names)

    def leave_out(number: int, error: BadRowError) -> None:
        if skip_bad:
            report.leave_out(number, error)
        else:
            refused.add(error)

    def scoreable_rows() -> Iterator[tuple[int, Fields, str]]:
        for number, fields in read(leave_out):
            try:
                text = text_of(fields, text_column, source, number)
            except BadRowError as error:
                leave_out(number, error)
            else:
                yield number, fields, text

    for chunk in chunks(scoreable_rows(), _text_of_row):
        if refused:
            continue  # Only counts the other bad rows.
        for number, fields, prediction in _predicted(predictor, chunk, source, leave_out):
            try:
                write(fields, prediction)
            except InputError as error:
                leave_out(number, BadRowError(source, f"row {number}", Reason.UNWRITABLE, str(error)))
                continue
            report.count(number, prediction)
            if label_column not in (None, text_column) and not prediction.is_empty:
                labels.add(fields.get(label_column), prediction.label, not prediction.unsure)
    if refused:
        raise InputError(str(refused.error()))
    report.labels = labels.results()
    # Read errors are reported before write errors of earlier rows; restore the row order.
    report.skipped_rows.sort()
    if report.skipped and not report.scored:
        number, reason = report.skipped_rows[0]
        raise InputError(f"none of the {report.skipped} rows can be scored; {row_reason(number, reason)}")
    return report


def _predicted(
    predictor: Predictor, chunk: Sequence[tuple[int, Fields, str]], source: Path | str, leave_out: OnBad
) -> Iterator[tuple[int, Fields, Prediction]]:
    """The rows with their predictions, without those for which a rule fails."""
    found = predict_apart([_text_of_row(row) for row in chunk], predictor.predict)
    for (number, fields, _), result in zip(chunk, found, strict=True):
        if isinstance(result, RuleError):
            reason = BadRowError(source, f"row {number}", Reason.RULE, result.detail, "correct the rule")
            leave_out(number, reason)
        elif isinstance(result, InputError):
            raise result
        else:
            yield number, fields, result


@contextlib.contextmanager
def row_writer(
    path: Path,
    class_names: Sequence[str],
    columns: Sequence[str],
    for_spreadsheets: bool = False,
    marks_unusual: bool = False,
    has_rules: bool = False,
    marks_unsure: bool = False,
) -> Iterator[WriteRow]:
    """Open a file and yield a function that writes one scored row in the format of the file's ending.

    The complete file appears when the block ends without an exception. The function raises InputError for a row that
    can't be written.

    Args:
        path: output file; it ends in one of ENDINGS.
        class_names: class names of the model.
        columns: known fields of the input; CSV has one column for each, and refuses rows with other fields.
        for_spreadsheets: neutralise texts that start like a formula; only for CSV.
        marks_unusual: whether the model recognises unusual texts, which CSV has a column for.
        has_rules: whether rules are applied, which CSV has a column for.
        marks_unsure: whether the version has thresholds of unsure predictions, which CSV has a column for.

    Raises:
        InputError: if the ending is unknown, or does not fit for_spreadsheets; or if a column has a name that the
            results need.
    """
    check_ending(path)
    is_csv = path.name.lower().removesuffix(".gz").endswith(".csv")
    if for_spreadsheets and not is_csv:
        raise InputError(f"{path}: expected an output for spreadsheets to be .csv or .csv.gz; change its ending")
    taken = {INPUT_LABEL, "score", "probabilities", "truncated", *_probability_columns(class_names)}
    if not is_csv:
        taken.add(EMPTY)
    if marks_unusual:
        taken |= {UNUSUAL} if is_csv else {UNUSUAL, UNUSUAL_REASON}
    if has_rules:
        taken.add(RULES)
    # A rule can make a prediction unsure, too; then only JSONL has the field.
    if marks_unsure or (has_rules and not is_csv):
        taken.add(UNSURE)
    _check_free(columns, taken)
    with contextlib.ExitStack() as stack:
        file: Any = stack.enter_context(atomic_file(path, "wb"))
        if path.suffix.lower() == ".gz":
            # Without name and time in the header, equal rows give equal bytes.
            file = stack.enter_context(gzip.GzipFile("", "wb", fileobj=file, mtime=0))
        if is_csv:
            shown = neutral if for_spreadsheets else _unchanged
            header, text_of_row = _csv_text(columns, class_names, shown, marks_unusual, has_rules, marks_unsure)
        else:
            header, text_of_row = "", _json_text
        file.write(utf8(header))

        def write(fields: Fields, prediction: Prediction) -> None:
            _check_free(fields, taken)
            file.write(utf8(text_of_row(fields, prediction)))

        yield write


def marks_of(predictor: Predictor) -> tuple[bool, bool, bool]:
    """The arguments `marks_unusual`, `has_rules` and `marks_unsure` of row_writer() for a model."""
    return predictor.unusual is not None, predictor.rules is not None, bool(predictor.unsure_below)


def check_ending(path: Path) -> None:
    """Check that `path` ends in one of ENDINGS.

    Raises:
        InputError: if it has another ending.
    """
    if not path.name.lower().endswith(ENDINGS):
        raise InputError(f"{path}: expected a file name that ends in {', '.join(ENDINGS)}")


def text_of(fields: Fields, text_column: str, source: Path | str, number: int) -> str:
    """The text of a row; "" for null.

    Raises:
        BadRowError: if the row has no such column, or it has no text.
    """
    place = f"row {number}"
    if text_column not in fields:
        found = f"expected a column {text_column!r}, found {', '.join(map(repr, fields)) or 'none'}"
        remedy = "add it, or name the column with --text-column"
        raise BadRowError(source, place, Reason.MISSING_COLUMN, found, remedy)
    try:
        return check_text("" if fields[text_column] is None else fields[text_column])
    except InputError as error:
        remedy = "put quotes around it, or name the column of the texts with --text-column"
        raise BadRowError(source, place, Reason.TEXT_TYPE, f"column {text_column!r}: {error}", remedy) from None


def _text_of_row(row: tuple[int, Fields, str]) -> str:
    return row[2]


def _check_free(names: Iterable[str], taken: set[str]) -> None:
    if clash := taken.intersection(names):
        raise InputError(
            f"the input already has a field {', '.join(sorted(clash))}, a name that the results need; "
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
        **({EMPTY: True} if prediction.is_empty else {}),
        **({UNUSUAL: True, UNUSUAL_REASON: prediction.unusual_reason} if prediction.unusual else {}),
        **({UNSURE: True} if prediction.unsure else {}),
        **({RULES: list(prediction.rules)} if prediction.rules else {}),
    }
    return json_text(row) + "\n"


def _csv_text(
    columns: Sequence[str],
    class_names: Sequence[str],
    shown: Callable[[Any], Any],
    marks_unusual: bool,
    has_rules: bool,
    marks_unsure: bool,
) -> tuple[str, Callable[[Fields, Prediction], str]]:
    """The header, and a function that turns a row into a line of CSV; `shown` is applied to each text."""
    known = set(columns)

    def text_of_row(fields: Fields, prediction: Prediction) -> str:
        if unknown := fields.keys() - known:
            raise InputError(
                f"the field {', '.join(sorted(unknown))} is not a column of the CSV output, whose columns come from "
                f"the first row ({', '.join(columns)}); write JSONL, where rows may differ"
            )
        return csv_line(
            [
                *(cell(shown(fields.get(name))) for name in columns),
                shown(prediction.label),
                prediction.score,
                *(prediction.probabilities[name] for name in class_names),
                cell(prediction.truncated),
                *([prediction.unusual_reason or ""] if marks_unusual else []),
                *([" ".join(prediction.rules)] if has_rules else []),
                *([cell(prediction.unsure)] if marks_unsure else []),
            ]
        )

    header = [*map(_renamed, columns), "label", "score", *_probability_columns(class_names), "truncated"]
    header += [UNUSUAL] if marks_unusual else []
    header += [RULES] if has_rules else []
    header += [UNSURE] if marks_unsure else []
    return csv_line([shown(name) for name in header]), text_of_row


def _unchanged(value: Any) -> Any:
    return value
