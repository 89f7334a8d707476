"""The command `explain`: one text for a terminal, or a file to JSONL, a page, or a summary of its words."""

import contextlib
import itertools
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import click

from textclf.bad_rows import BadRowError
from textclf.cli.byte_progress import byte_progress
from textclf.cli.commands import Command
from textclf.cli.options import field_option
from textclf.config import DataOptions
from textclf.data.scoring_input import open_input
from textclf.errors import InputError
from textclf.explain.explainer import DEFAULT_EVALUATIONS, Explainer
from textclf.explain.explanation import UNITS, Explanation
from textclf.explain.html import page
from textclf.explain.terminal import described, has_colours
from textclf.explain.word_summary import WordSummary
from textclf.fields import number, whole
from textclf.files import atomic_file
from textclf.runtime.file_scoring import text_of
from textclf.runtime.predictor import Predictor

_PATH = click.Path(path_type=Path)


class _Model(Protocol):
    """The part of Inference that the command needs."""

    @property
    def predictor(self) -> Predictor:
        """The loaded model."""


@dataclass(frozen=True)
class _Numbers:
    """Numbers on the command line."""

    max_evaluations: int = whole(
        DEFAULT_EVALUATIONS, "Maximum variants of a text that the encoder reads; more make values more exact.", min=2
    )
    seconds: float | None = number(None, "Maximum seconds per text.", above=0, shown="no limit")
    limit: int | None = whole(None, "Explain only the first rows of the file.", min=1, shown="all rows")


@click.command("explain", cls=Command)
@click.option("--text", help="Text to explain in the terminal.")
@click.option("--input", "input_path", type=_PATH, metavar="FILE", help="Table of texts to explain.")
@click.option("--output", "output_path", type=_PATH, metavar="FILE", help="JSONL file to write or replace.")
@click.option("--html", "html_path", type=_PATH, metavar="FILE", help="HTML page to write or replace.")
@click.option("--summary", "is_summary", is_flag=True, help="Print the words that speak most for and against a class.")
@click.option("--class", "classes", multiple=True, metavar="NAME", help="Class to explain, all by default; repeatable.")
@click.option("--unit", type=click.Choice(UNITS), default=UNITS[0], help="Unit of the values.")
@field_option(_Numbers, "max_evaluations", is_checked=True)
@field_option(_Numbers, "seconds", is_checked=True)
@field_option(_Numbers, "limit", is_checked=True)
@field_option(DataOptions, "text_column")
@field_option(DataOptions, "encoding")
@click.option("--skip-bad", is_flag=True, help="Skip rows without a text, and count them at the end.")
@click.pass_obj
def explain(
    model: _Model,
    /,
    text: str | None,
    input_path: Path | None,
    output_path: Path | None,
    html_path: Path | None,
    is_summary: bool,
    classes: tuple[str, ...],
    unit: str,
    max_evaluations: int,
    seconds: float | None,
    limit: int | None,
    text_column: str,
    encoding: str,
    skip_bad: bool,
) -> None:
    """Show which words speak for and against the predicted class.

    The base value and the values of all words add up to the probability of a class. A negative value speaks against
    the class. With a cascade, the stage that predicted is explained.

    \b
    Examples:
      python inference.py explain --text "A dull film, but the music is lovely."
      python inference.py explain --input reviews.csv --output explained.jsonl
      python inference.py explain --input reviews.csv --html explained.html --summary --limit 50
    """
    if (text is None) == (input_path is None):
        raise click.UsageError("expected either --text or --input, got both or neither")
    is_for_terminal = not (output_path or html_path or is_summary)
    if input_path is not None and is_for_terminal:
        raise click.UsageError("--input needs --output, --html or --summary, got none of them")
    predictor = model.predictor
    explainer = Explainer(predictor)

    def explain_one(one: str) -> Explanation:
        return explainer.explain([one], unit, max_evaluations, seconds, classes=classes or None)[0]

    if input_path is None:
        explanation = explain_one(str(text))
        if is_for_terminal:
            click.echo(described(explanation, has_colours(sys.stdout.isatty(), os.environ)), color=True)
            return
        skipped: list[int] = []
        summary = _written([(1, explanation)], predictor, classes, output_path, html_path)
    else:
        for target in (output_path, html_path):
            if target is not None and target.exists() and target.samefile(input_path):
                raise InputError(f"{target}: the output would replace the input; name another file")
        with byte_progress(input_path) as on_progress:
            texts = _Texts(input_path, text_column, encoding, skip_bad, on_progress)
            some = itertools.islice(texts.rows(), limit)
            rows = ((row, explain_one(one)) for row, one in some)
            summary = _written(rows, predictor, classes, output_path, html_path)
        skipped = texts.skipped
    for path in (output_path, html_path):
        if path is not None:
            click.echo(f"{path}: texts explained: {summary.texts}")
    if is_summary:
        click.echo(summary.described())
    if skipped:
        click.echo(f"rows skipped: {len(skipped)}, the first is row {skipped[0]}", err=True)


def _written(
    rows: Iterable[tuple[int, Explanation]],
    predictor: Predictor,
    classes: Sequence[str],
    output: Path | None,
    html: Path | None,
) -> WordSummary:
    """Write explanations with the numbers of their rows to the files that are given, and sum up their words."""
    summary = WordSummary(classes or predictor.class_names)
    with contextlib.ExitStack() as files:
        lines = None if output is None else files.enter_context(atomic_file(output))
        target = None if html is None else files.enter_context(atomic_file(html))

        def passed() -> Iterator[Explanation]:
            for row, explanation in rows:
                if lines is not None:
                    lines.write(json.dumps({"row": row, **explanation.to_dict()}, ensure_ascii=False) + "\n")
                summary.add(explanation)
                yield explanation

        for part in passed() if target is None else page(passed()):
            if target is not None:
                target.write(str(part))
    return summary


class _Texts:
    """The texts of a table with the numbers of their rows.

    Attributes:
        skipped: numbers of the rows without a text that were skipped so far.
    """

    def __init__(
        self, path: Path, text_column: str, encoding: str, skip_bad: bool, on_progress: Callable[[int], None]
    ) -> None:
        self._path = path
        self._table = open_input(path, text_column, encoding=encoding)
        self._skip_bad = skip_bad
        self._on_progress = on_progress
        self.skipped: list[int] = []

    def rows(self) -> Iterator[tuple[int, str]]:
        """Number and text of each row.

        Raises:
            BadRowError: if a row has no text, and such rows are not skipped.
        """
        for row, fields in self._table.rows(self._leave_out, self._on_progress):
            try:
                yield row, text_of(fields, self._table.columns.text, self._path, row)
            except BadRowError as error:
                self._leave_out(row, error)

    def _leave_out(self, row: int, error: BadRowError) -> None:
        if not self._skip_bad:
            raise error
        self.skipped.append(row)
