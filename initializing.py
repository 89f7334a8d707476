"""Initialize: downloads, checks and splits a data set."""

import dataclasses
import functools
import json
import shlex
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np

from textclf.audit.settings import AuditSettings
from textclf.cli.commands import Command, Group
from textclf.cli.options import arguments_of, dataset_options, field_option, field_options, record_options
from textclf.config import DataOptions, ModelOptions
from textclf.data.archive import archive_stem, extract_archive, is_archive
from textclf.data.dataset_layout import data_root
from textclf.data.dataset_report import dataset_report
from textclf.data.datasets import Dataset, load_dataset
from textclf.data.download import check_sha256, download
from textclf.data.source_path import searched, source_path
from textclf.data.splits import Split
from textclf.data.tables import TABLE_ENDINGS, table_format
from textclf.encoder_handles import EMBEDDED_ENCODER
from textclf.errors import ConfigError, DatasetError
from textclf.fields import whole
from textclf.phases import announce_tensorflow
from textclf.report.excerpts import excerpt
from textclf.tokenization.text_key import KeyFunction, made_at_first_use

if TYPE_CHECKING:
    from textclf.training.encoders.preprocessing import TextPreprocessing

_DEFAULT_FILE = "aclImdb_v1.tar.gz"
_DEFAULT_DATA_DIR = "datasets"
_DEFAULT_OPTIONS = DataOptions()
_PREVIEW_CHARS = 300


class Initialize:
    """The first stage: from a file name to a Dataset for training, or to tf.data of (text, label id).

    Args:
        file_name: an archive, a table file or a folder: a path, or a name, which may also be in data_dir.
        data_dir: folder for downloads and unpacked archives.
        sha256: expected hash of the file, or None.
        options: how to read and split the data.
        spellings: class names whose spelling counts, such as those of an earlier version.
        text_keys: the rule by which two texts are equal to an encoder; None compares them without a vocabulary.

    Attributes:
        class_names: class names, set by read_dataset and make_dataset; the position is the class id.
        dataset: the Dataset of the last read_dataset or make_dataset, with its counts and fingerprint.
    """

    def __init__(
        self,
        file_name: str | Path = _DEFAULT_FILE,
        data_dir: str | Path = _DEFAULT_DATA_DIR,
        sha256: str | None = None,
        options: DataOptions = _DEFAULT_OPTIONS,
        spellings: Collection[str] = (),
        text_keys: KeyFunction | None = None,
    ) -> None:
        self.file_name = file_name
        self.data_dir = data_dir
        self.sha256 = sha256
        self.options = options
        self.spellings = spellings
        self.text_keys = text_keys
        self.class_names: tuple[str, ...] = ()
        self.dataset: Dataset | None = None

    def download_dataset(self, url: str = "") -> Path:
        """The data set's root folder or table file; a missing file is downloaded, an archive is unpacked.

        A second call does no work. `url` is an http, https or file URL, not needed if the file exists.

        Raises:
            DatasetError: if the file is missing and there is no url, or it can't be downloaded or unpacked.
        """
        path = self._find(url)
        if path.is_dir():
            if self.sha256 is not None:
                raise ConfigError(f"sha256: {path} is a folder; only a file has a checksum")
            return path
        if self.sha256 is not None:
            check_sha256(path, self.sha256, "delete the file and download it again, or check the checksum")
        if table_format(path) is not None:
            return path
        if is_archive(path):
            return data_root(extract_archive(path, Path(self.data_dir) / archive_stem(path)))
        raise DatasetError(
            f"{path}: expected an archive (.tar.gz, .tar.bz2, .tar.xz, .tar, .zip), a table ({TABLE_ENDINGS}) "
            f"or a folder; give the file a name that says what it is"
        )

    def check_found(self, url: str = "") -> None:
        """Check in no time that the data set exists, or that there is a `url` to download it from.

        Raises:
            DatasetError: if the file is missing and there is no url.
        """
        self._path(url)

    def read_dataset(self, url: str = "") -> Dataset:
        """Read, clean and split the data set; it is downloaded from `url` if the file is missing.

        Raises:
            DatasetError: if the data can't be downloaded or read, or is not a classification problem.
        """
        return self._read(self.download_dataset(url), None, self.options)

    def make_dataset(
        self, train_dir: str | Path, test_dir: str | Path | None = None, val_split: float = 0.2, batch_size: int = 32
    ) -> tuple[Any, Any, Any]:
        """Read, clean and split the data as tf.data; see textclf.data.datasets.load_dataset.

        Args:
            train_dir: a data set's root, its train part, or a table file.
            test_dir: path of the test part; None looks for it next to the train part. Both may be the same root.
            val_split: share of the training texts for validation, if the data has no validation part; it overrides
                options.val_split.
            batch_size: texts per batch, B.

        Returns:
            (train_ds, val_ds, test_ds): tf.data.Dataset of (texts, labels), string [B] and int32 [B].
            Only train_ds is shuffled, in each epoch; val_ds has the selection set and the calibration set;
            test_ds is None if options.read_test is False.

        Raises:
            DatasetError: if files can't be read, or are not a classification problem.
            ConfigError: if val_split or batch_size is invalid.
        """
        if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1:
            raise ConfigError(f"batch_size: expected a whole number of at least 1, got {batch_size!r}")
        options = dataclasses.replace(self.options, val_split=val_split)
        data = self._read(train_dir, test_dir, options)
        validation = Split(
            data.validation_select.texts + data.validation_calibrate.texts,
            np.concatenate([data.validation_select.labels, data.validation_calibrate.labels]),
        )
        return (
            _batches(data.train, batch_size, shuffle_seed=options.split_seed),
            _batches(validation, batch_size),
            None if data.test is None else _batches(data.test, batch_size),
        )

    def preview(self, train_ds: Any, n: int = 3) -> None:
        """Print the labels and the beginnings of n texts."""
        for text, label in train_ds.unbatch().take(n).as_numpy_iterator():
            name = self.class_names[label] if self.class_names else str(label)
            click.echo(f"[{name}] {excerpt(text.decode('utf-8'), _PREVIEW_CHARS)}")

    def _read(self, source: str | Path, test_source: str | Path | None, options: DataOptions) -> Dataset:
        dataset = load_dataset(source, test_source, options, spellings=self.spellings, text_keys=self.text_keys)
        self.dataset, self.class_names = dataset, dataset.class_names
        return dataset

    def _find(self, url: str) -> Path:
        path = self._path(url)
        return path if path.exists() else download(url, path, sha256=self.sha256)

    def _path(self, url: str) -> Path:
        if not str(self.file_name):
            raise DatasetError(
                "expected the path of a data set, got an empty one; name an archive, a folder or a table"
            )
        path = source_path(self.file_name, self.data_dir)
        if not path.exists() and not url:
            command = ["textclf", "data", "download", str(self.file_name), "--url", "URL"]
            command += [] if str(self.data_dir) == _DEFAULT_DATA_DIR else ["--data-dir", str(self.data_dir)]
            raise DatasetError(
                f"{self.file_name}: no such file or folder ({searched(self.file_name, self.data_dir)}); "
                f"check the path, or download it first ({shlex.join(command)})"
            )
        return path


def _batches(split: Split, batch_size: int, shuffle_seed: int | None = None) -> Any:
    from textclf.training.tf_setup import tf

    examples = tf.data.Dataset.from_tensor_slices((list(split.texts), split.labels))
    if shuffle_seed is not None:
        examples = examples.shuffle(len(split), seed=shuffle_seed, reshuffle_each_iteration=True)
    return examples.batch(batch_size).prefetch(tf.data.AUTOTUNE)


@dataclasses.dataclass
class _Preview:
    number: int = whole(3, "Number of texts.", min=1, flag="-n, --number")


@click.group(cls=Group)
def main() -> None:
    """Download, check and preview a data set.

    \b
    Examples:
      python initializing.py download --url https://ai.stanford.edu/~amaas/data/sentiment/aclImdb_v1.tar.gz
      python initializing.py report data/sample
      python initializing.py audit data/sample
      python initializing.py preview reviews.csv --text-column review --label-column stars -n 5
    """


_data_dir = click.option(
    "--data-dir",
    type=click.Path(path_type=Path),
    default=_DEFAULT_DATA_DIR,
    help="Folder for downloads and unpacked archives.",
)


audit_options = record_options("settings", AuditSettings, field_options(AuditSettings, is_checked=True))


@main.command("download", cls=Command)
@click.argument("file", default=_DEFAULT_FILE)
@click.option(
    "--url", default="", show_default=False, help="URL of FILE (http, https or file), if FILE does not exist."
)
@click.option("--sha256", help="Expected SHA-256 of FILE.")
@_data_dir
def download_command(file: str, url: str, sha256: str | None, data_dir: Path) -> None:
    """Download FILE into the data folder, unpack it, and print its path.

    FILE may also be an archive on disk, which is unpacked. Existing files are used again, and an interrupted
    download continues where it stopped.

    \b
    Example:
      python initializing.py download aclImdb_v1.tar.gz \\
          --url https://ai.stanford.edu/~amaas/data/sentiment/aclImdb_v1.tar.gz
    """
    click.echo(Initialize(file, data_dir, sha256).download_dataset(url))


@main.command("report", cls=Command)
@click.argument("path")
@click.option("--encoder", default=EMBEDDED_ENCODER, help="Encoder whose tokenizer counts the tokens (name or handle).")
@field_option(ModelOptions, "max_length", is_checked=True, help="Maximum number of tokens per text.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@_data_dir
@dataset_options
def report_command(
    path: str, encoder: str, max_length: int, as_json: bool, data_dir: Path, data_options: DataOptions
) -> None:
    """Check the data set at PATH and print its sizes, balance, lengths, duplicates and fingerprint.

    PATH is an archive, a folder (train/ and test/ with a folder of .txt files for each class, or tables
    train.csv and test.csv), or one table (CSV, TSV, JSON, Parquet, .xlsx, fastText).

    \b
    Example:
      python initializing.py report data/sample --max-length 128 --json
    """

    # After the data: these need TensorFlow.
    @functools.cache
    def preprocessing() -> "TextPreprocessing":
        from textclf.training.encoders.preprocessing import encoder_preprocessing

        return encoder_preprocessing(encoder)

    def text_keys() -> KeyFunction:
        announce_tensorflow()
        from textclf.training.export.tokenizer_parity import text_keys_of_preprocessing

        return text_keys_of_preprocessing(preprocessing())

    def lengths(texts: Sequence[str]) -> np.ndarray:
        announce_tensorflow()
        from textclf.training.encoders.preprocessing import token_counts

        return token_counts(texts, preprocessing())

    initialize = Initialize(path, data_dir, options=data_options, text_keys=made_at_first_use(text_keys))
    report = dataset_report(initialize.read_dataset(), lengths, max_length)
    click.echo(json.dumps(report.to_dict(), indent=2, ensure_ascii=False) if as_json else str(report))


@main.command("audit", cls=Command)
@click.argument("path")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, without texts.")
@_data_dir
@audit_options
@dataset_options
def audit_command(path: str, as_json: bool, data_dir: Path, settings: AuditSettings, data_options: DataOptions) -> None:
    """Tell whether the data set at PATH is good: label errors, contradictions, copies, outliers, leaks, lengths.

    Writes DIR/review.csv, the rows that a person should look at, and DIR/audit.html. Both contain texts of the data.
    After you have edited review.csv, `correct` writes the corrected data set.

    \b
    Example:
      python initializing.py audit data/sample --output sample-audit
    """
    from textclf.audit.command import audit_to_folder
    from textclf.report.audit_text import describe_audit

    source = Initialize(path, data_dir, options=data_options).download_dataset()
    report, files = audit_to_folder(source, settings, data_options, arguments_of(data_options))
    click.echo(json.dumps(report.to_dict(), indent=2, ensure_ascii=False) if as_json else describe_audit(report))
    click.echo(f"written (with texts of the data): {', '.join(map(str, files))}", err=as_json)


@main.command("correct", cls=Command)
@click.argument("path")
@click.argument("review", type=click.Path(path_type=Path))
@click.option("--output", required=True, metavar="DIR", type=click.Path(path_type=Path), help="New folder.")
@_data_dir
@dataset_options
def correct_command(path: str, review: Path, output: Path, data_dir: Path, data_options: DataOptions) -> None:
    """Write the data set at PATH with the corrections in REVIEW, an edited review.csv, into a new folder.

    In REVIEW only the column label counts: another class corrects the label; (remove) or an empty cell removes the
    text. The data set at PATH is not changed.

    \b
    Example:
      python initializing.py correct data/sample sample-audit/review.csv --output sample-corrected
    """
    from textclf.audit.command import correct

    click.echo(
        correct(Initialize(path, data_dir, options=data_options).download_dataset(), review, output, data_options)
    )


@main.command("preview", cls=Command)
@click.argument("path")
@field_option(_Preview, "number", is_checked=True)
@_data_dir
@dataset_options
def preview_command(path: str, number: int, data_dir: Path, data_options: DataOptions) -> None:
    """Print training texts of the data set at PATH with their labels.

    \b
    Example:
      python initializing.py preview data/sample -n 3
    """
    initialize = Initialize(path, data_dir, options=data_options)
    train_ds, _, _ = initialize.make_dataset(initialize.download_dataset(), val_split=data_options.val_split)
    initialize.preview(train_ds, number)


if __name__ == "__main__":
    main()
