"""`textclf import`: save a classifier of the Hugging Face library as a version."""

import contextlib
import dataclasses
from pathlib import Path

import click

from textclf.cli.commands import Command
from textclf.cli.options import field_options, record_options
from textclf.config import DataOptions
from textclf.data.dataset_layout import find_part
from textclf.data.part_names import TRAIN
from textclf.data.readers import read_part
from textclf.errors import ConfigError
from textclf.importing.checkpoint import CONFIG_FILE
from textclf.importing.importer import PRECISIONS, TOKENIZER_FILE, CalibrationTexts, ImportOptions, import_classifier
from textclf.importing.sources import opened_source
from textclf.store.model_store import ModelStore

# Options of a table that belong to the calibration texts.
_READING = ("text_column", "label_column", "rename_labels", "encoding", "skip_bad")
_PATH = click.Path(path_type=Path)


@click.command(cls=Command, name="import")
@click.argument("handle")
@click.option("--model-dir", type=_PATH, default=Path("model"), help="Model store for the new version.")
@click.option("--tokenizer", metavar="HANDLE", help="Another model whose tokenizer is read, in the same forms.")
@click.option(
    "--calibration",
    type=_PATH,
    metavar="FILE",
    help="Texts like those to be read: a table, class folders, or a data set, whose train part is read. int8 and the "
    "drift reference need them.",
)
@click.option("--precision", type=click.Choice(PRECISIONS), default="auto", help="Arithmetic of the engine.")
@click.option("--promote", is_flag=True, help="Make the version current, although the store has one.")
@record_options("reading", DataOptions, field_options(DataOptions, *_READING))
def main(
    handle: str,
    model_dir: Path,
    tokenizer: str | None,
    calibration: Path | None,
    precision: str,
    promote: bool,
    reading: DataOptions,
) -> None:
    """Save the Hugging Face classifier HANDLE as a model version: a folder, an archive, or OWNER/NAME@REVISION.

    BERT, DistilBERT, RoBERTa and XLM-RoBERTa can be imported. The folder needs config.json, tokenizer.json and
    model.safetensors. Texts with the labels of the model make the version one whose drift can be watched.

    \b
    Example:
      textclf import sentiment-model --calibration reviews.csv --model-dir my-models
    """
    texts = None if calibration is None else _calibration_texts(calibration, reading)
    store = ModelStore(model_dir)
    before = store.current_id()
    with contextlib.ExitStack() as opened:
        source = opened.enter_context(opened_source(handle, "HANDLE", CONFIG_FILE))
        options, other = ImportOptions(source.handle, source.revision, precision=precision), None
        if tokenizer is not None:
            found = opened.enter_context(opened_source(tokenizer, "--tokenizer", TOKENIZER_FILE))
            options = dataclasses.replace(options, tokenizer=found.handle, tokenizer_revision=found.revision)
            other = found.folder
        version = import_classifier(source.folder, store, options, other, texts, click.echo)
    if promote and store.current_id() != version.id:
        store.promote(version.id, expected_current=before)
    click.echo(f"saved:         {version.path}{' (current)' if store.current_id() == version.id else ''}")


def _calibration_texts(path: Path, reading: DataOptions) -> CalibrationTexts:
    part = read_part(find_part(path, TRAIN), reading, needs_label=False)
    if not part.texts:
        raise ConfigError(f"--calibration: expected texts in {path}, found none")
    labelled = sum(map(bool, part.labels))
    if 0 < labelled < len(part.labels):
        raise ConfigError(
            f"--calibration: expected a label for each text or for none, found {len(part.labels) - labelled} of "
            f"{len(part.labels)} texts without one"
        )
    return CalibrationTexts(tuple(part.texts), tuple(part.labels) if labelled else None)
