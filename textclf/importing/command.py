"""`textclf import`: save a classifier of the Hugging Face library as a version."""

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

import click

from textclf.cli.commands import Command
from textclf.cli.options import field_options, record_options
from textclf.config import DataOptions
from textclf.data.archive import is_archive, unpack_into
from textclf.data.readers import read_part
from textclf.errors import ConfigError
from textclf.importing.checkpoint import CONFIG_FILE
from textclf.importing.importer import PRECISIONS, CalibrationTexts, ImportOptions, import_classifier
from textclf.store.model_store import ModelStore

# Larger models are not for CPUs.
_MAX_BYTES = 8 << 30
# Options of a table that belong to the calibration texts.
_READING = ("text_column", "label_column", "rename_labels", "encoding", "skip_bad")
_PATH = click.Path(path_type=Path)


@click.command(cls=Command, name="import")
@click.argument("handle")
@click.option("--model-dir", type=_PATH, default=Path("model"), help="Model store for the new version.")
@click.option("--tokenizer", type=_PATH, metavar="DIR", help="Folder of another tokenizer.json.")
@click.option(
    "--calibration",
    type=_PATH,
    metavar="FILE",
    help="Texts like those to be read: a table or class folders. int8 and the drift reference need them.",
)
@click.option("--precision", type=click.Choice(PRECISIONS), default="auto", help="Arithmetic of the engine.")
@click.option("--promote", is_flag=True, help="Make the version current, although the store has one.")
@record_options("reading", DataOptions, field_options(DataOptions, *_READING))
def main(
    handle: str,
    model_dir: Path,
    tokenizer: Path | None,
    calibration: Path | None,
    precision: str,
    promote: bool,
    reading: DataOptions,
) -> None:
    """Save the Hugging Face classifier in HANDLE, a folder or an archive, as a model version.

    BERT, DistilBERT, RoBERTa and XLM-RoBERTa can be imported. The folder needs config.json, tokenizer.json and
    model.safetensors. Texts with the labels of the model make the version one whose drift can be watched.

    \b
    Example:
      textclf import sentiment-model --calibration reviews.csv --model-dir my-models
    """
    texts = None if calibration is None else _calibration_texts(calibration, reading)
    store = ModelStore(model_dir)
    before = store.current_id()
    with _folder_of(handle) as folder:
        options = ImportOptions(Path(handle).name, precision=precision)
        version = import_classifier(folder, store, options, tokenizer, texts, click.echo)
    if promote and store.current_id() != version.id:
        store.promote(version.id, expected_current=before)
    click.echo(f"saved:         {version.path}{' (current)' if store.current_id() == version.id else ''}")


@contextlib.contextmanager
def _folder_of(handle: str) -> Iterator[Path]:
    """The folder with config.json: HANDLE itself, or unpacked from it for the time of the block."""
    path = Path(handle)
    if path.is_dir():
        yield path
    elif path.is_file() and is_archive(path):
        with tempfile.TemporaryDirectory(prefix="textclf-import-") as scratch:
            unpack_into(Path(scratch), path, _MAX_BYTES)
            inner = [Path(scratch), *sorted(child for child in Path(scratch).iterdir() if child.is_dir())]
            yield next((folder for folder in inner if (folder / CONFIG_FILE).is_file()), inner[0])
    else:
        raise ConfigError(f"expected a folder or an archive of a model, found none at {handle}; check the path")


def _calibration_texts(path: Path, reading: DataOptions) -> CalibrationTexts:
    part = read_part(path, reading, needs_label=False)
    if not part.texts:
        raise ConfigError(f"--calibration: expected texts in {path}, found none")
    labelled = all(part.labels)
    return CalibrationTexts(tuple(part.texts), tuple(part.labels) if labelled else None)
