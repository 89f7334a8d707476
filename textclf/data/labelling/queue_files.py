"""Files of texts to label and of labelled texts: CSV for spreadsheets, and JSON of Label Studio.

    .csv    columns text, label (empty: to fill in), draw, predicted, reasons, model
    .json   tasks of Label Studio: {"data": {"text", "draw", …}, "predictions": […], "annotations": […]}

Both are read as Label Studio exports them, too: JSON, JSON-MIN and CSV. Its export keeps all columns and all of `data`.
See https://labelstud.io/guide/task_format for the format of a task.
"""

import csv
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.sax.saxutils import quoteattr

from textclf.data.tables import Wanted, read_rows
from textclf.errors import DatasetError
from textclf.files import atomic_file
from textclf.label_column import label_text
from textclf.labels import OTHER_LABEL
from textclf.spreadsheets import neutral

ENDINGS = (".csv", ".json")
# Names in the labelling configuration of Label Studio.
LABEL_NAME, TEXT_NAME = "label", "text"
_COLUMNS = ("text", "label", "draw", "predicted", "reasons", "source", "time", "audit", "model")


@dataclass(frozen=True)
class QueueRow:
    """A text to label, or a labelled text.

    Attributes:
        text: the text.
        label: its label; None if it has none yet.
        predicted: class that the model predicted; None if it is not to be shown.
        more: other fields by name, such as draw and model; all are texts.
    """

    text: str
    label: str | None = None
    predicted: str | None = None
    more: Mapping[str, str] | None = None


@dataclass(frozen=True)
class LabelledRow:
    """A row of a labelled file.

    Attributes:
        place: its row or task, for messages.
        texts: the text as read, and as it was before a spreadsheet's apostrophe was put in front, if it has one.
        label: label as read; None without one.
        draw: signed draw; None without one.
        problem: why the row can't be used, such as two annotators who disagree; "" if it can.
    """

    place: str
    texts: tuple[str, ...]
    label: str | None
    draw: str | None
    problem: str = ""


def check_ending(path: Path) -> None:
    """Check that a file name has one of ENDINGS.

    Raises:
        DatasetError: if it has not.
    """
    if path.suffix.lower() not in ENDINGS:
        raise DatasetError(f"{path}: expected a name that ends with {' or '.join(ENDINGS)}, got another; rename it")


def write_queue(path: Path, rows: Sequence[QueueRow]) -> None:
    """Write rows into a new file of the kind that its name ends with.

    Raises:
        DatasetError: if the file exists, or its name ends with something else.
    """
    check_ending(path)
    if path.exists():
        raise DatasetError(f"{path}: expected no file, found one that may have labels; choose another with --output")
    if path.suffix.lower() == ".json":
        with atomic_file(path) as file:
            json.dump([_task(row) for row in rows], file, ensure_ascii=False, indent=1)
            file.write("\n")
        return
    present = {name for row in rows for name in (row.more or {})} | {"text", "label"}
    present |= {"predicted"} if any(row.predicted is not None for row in rows) else set()
    # With a byte-order mark, without which spreadsheets take the file for Latin-1.
    with atomic_file(path, encoding="utf-8-sig", newline="") as file:
        writer = csv.DictWriter(file, [name for name in _COLUMNS if name in present])
        writer.writeheader()
        for row in rows:
            values = {"text": row.text, "label": row.label, "predicted": row.predicted, **(row.more or {})}
            writer.writerow({name: neutral(value) for name, value in values.items() if name in present})


def labelling_config(class_names: Iterable[str]) -> str:
    """The labelling configuration of a Label Studio project that reads and writes such tasks."""
    choices = "".join(f"<Choice value={quoteattr(name)}/>" for name in (*class_names, OTHER_LABEL))
    return (
        f'<View><Text name="{TEXT_NAME}" value="$text"/><Choices name="{LABEL_NAME}" toName="{TEXT_NAME}" '
        f'choice="single" showInline="true">{choices}</Choices></View>'
    )


def read_labelled(
    path: Path, text_column: str = "text", label_column: str = "label", encoding: str = ""
) -> Iterator[LabelledRow]:
    """Read a labelled file: one that write_queue wrote, or an export of Label Studio.

    Args:
        path: CSV or JSON.
        text_column: column, or field of a task's data, that has the text.
        label_column: column of the label; in a task, the name of the choice.
        encoding: of a CSV file without a byte-order mark; "" means UTF-8.

    Raises:
        DatasetError: if the file can't be read, or has no such columns.
    """
    check_ending(path)
    if path.suffix.lower() == ".json":
        yield from _tasks(path, text_column, label_column)
        return
    for number, row in read_rows(path, wanted=Wanted(text_column, label_column), encoding=encoding):
        yield _labelled_row(path, f"row {number}", row, text_column, label_column, is_table=True)


def _task(row: QueueRow) -> dict[str, Any]:
    task: dict[str, Any] = {"data": {"text": row.text, **(row.more or {})}}
    if row.predicted is not None:
        task["predictions"] = [{"model_version": (row.more or {}).get("model", ""), "result": [_choice(row.predicted)]}]
    if row.label is not None:
        task["annotations"] = [{"result": [_choice(row.label)]}]
    return task


def _choice(label: str) -> dict[str, Any]:
    return {"from_name": LABEL_NAME, "to_name": TEXT_NAME, "type": "choices", "value": {"choices": [label]}}


def _tasks(path: Path, text_column: str, label_column: str) -> Iterator[LabelledRow]:
    try:
        tasks = json.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise DatasetError(f"{path}: expected a file, found none; check the path") from None
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise DatasetError(f"{path}: expected JSON in UTF-8, but {error}; export it again") from error
    if not isinstance(tasks, list) or not all(isinstance(task, dict) for task in tasks):
        raise DatasetError(f"{path}: expected a list of tasks, found another value; export it as JSON or JSON-MIN")
    for number, task in enumerate(tasks, 1):
        place = f"task {number}"
        if "data" not in task:
            yield _labelled_row(path, place, task, text_column, label_column)
            continue
        data = task["data"] if isinstance(task["data"], dict) else {}
        row = _labelled_row(path, place, {**data, label_column: None}, text_column, label_column)
        labels, problem = _annotated(task.get("annotations") or [], label_column)
        label = labels[0] if labels else None
        yield LabelledRow(place, row.texts, label, row.draw, problem)


def _annotated(annotations: Any, label_column: str) -> tuple[list[str], str]:
    """The different labels of a task, and why they can't be used."""
    labels: dict[str, None] = {}
    for annotation in annotations if isinstance(annotations, list) else ():
        if not isinstance(annotation, dict) or annotation.get("was_cancelled"):
            continue
        for result in annotation.get("result") or ():
            if isinstance(result, dict) and result.get("from_name") == label_column:
                value = result.get("value")
                choices = value.get("choices") if isinstance(value, dict) else None
                labels |= dict.fromkeys(map(str, choices if isinstance(choices, list) else ()))
    return list(labels), "it has several labels" if len(labels) > 1 else ""


def _labelled_row(
    path: Path, place: str, row: Mapping[str, Any], text_column: str, label_column: str, *, is_table: bool = False
) -> LabelledRow:
    for name, option in ((text_column, "--text-column"), (label_column, "--label-column")):
        if name not in row:
            found = ", ".join(map(repr, list(row)[:20])) or "none"
            raise DatasetError(f"{path}, {place}: expected {name!r}, found {found}; name the column with {option}")
    text, draw = row[text_column], row.get("draw")
    if not isinstance(text, str):
        found = type(text).__name__
        raise DatasetError(f"{path}, {place}: expected a text in {text_column!r}, found {found}; correct it")
    texts: tuple[str, ...] = (text,)
    if is_table and text.startswith("'") and neutral(text[1:]) == text:
        texts = (text, text[1:])
    labels = _choices_of(row[label_column])
    label = label_text(labels[0]) if labels else None
    problem = "it has several labels" if len(labels) > 1 else ""
    return LabelledRow(place, texts, label, draw.strip() if isinstance(draw, str) and draw.strip() else None, problem)


def _choices_of(value: Any) -> list[Any]:
    """The labels of a cell: one, or the several that Label Studio writes as {"choices": […]}."""
    if isinstance(value, str) and value.startswith('{"choices"'):
        try:
            value = json.loads(value)
        except json.JSONDecodeError:
            return [value]
    if isinstance(value, dict):
        value = value.get("choices")
    if isinstance(value, list):
        return value
    return [] if value is None else [value]
