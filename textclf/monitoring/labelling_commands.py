"""The commands of the labelling queue: `monitoring.py sample` and `monitoring.py labels`."""

import time
from pathlib import Path

import click

from textclf.cli.commands import Command, Group
from textclf.cli.durations import Duration
from textclf.cli.options import add_options, field_options
from textclf.config import DataOptions
from textclf.data.labelling.queue_files import check_ending, labelling_config, write_queue
from textclf.data.prediction_log.database_url import readable_url
from textclf.errors import DatasetError
from textclf.files import check_writable
from textclf.monitoring.labelling import IMPORTED, export_labels, import_labels, sample_texts
from textclf.monitoring.options import MonitoringSettings, latest_options
from textclf.report.counted import counted

_output = click.option(
    "--output",
    required=True,
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="New file: CSV for spreadsheets (.csv), or tasks of Label Studio (.json).",
)


@click.command(cls=Command)
@click.option(
    "--audit", type=click.IntRange(min=1), metavar="N", help="Draw N texts at random; their labels measure errors."
)
@click.option(
    "--informative",
    type=click.IntRange(min=1),
    metavar="N",
    help="Draw the N texts whose labels teach the model most; they do not measure errors.",
)
@click.option("--since", type=Duration(), metavar="TIME", help="Draw only texts of the last TIME, such as 7d.")
@_output
@add_options(field_options(MonitoringSettings, "model_path", "log_url", "new_data_dir", is_checked=True))
def sample(
    audit: int | None,
    informative: int | None,
    since: float | None,
    output: Path,
    model_path: Path,
    log_url: str | None,
    new_data_dir: Path,
) -> None:
    """Draw logged texts of the current version into a file, to label them.

    Needs a server with PREDICTION_LOG_TEXT=1. Each text is drawn once. Fill in the column `label` with a class, or
    with (other) if no class fits; then run `labels import`. The file contains texts of users.

    \b
    Examples:
      python monitoring.py sample --audit 200 --output audit.csv
      python monitoring.py sample --informative 100 --since 7d --output tasks.json
    """
    if (audit is None) == (informative is None):
        raise click.UsageError("expected one of --audit and --informative; give one")
    check_ending(output)
    if output.exists():
        raise DatasetError(f"{output}: expected no file, found one that may have labels; choose another with --output")
    check_writable(output)
    count = informative if audit is None else audit
    first = None if since is None else max(0.0, time.time() - since)
    url = readable_url(log_url)
    rows, class_names = sample_texts(model_path, url, new_data_dir, count or 0, first, is_audit=audit is not None)
    write_queue(output, rows)
    few = "" if len(rows) == count else f" of {count:,}: the log has no other text without a label"
    click.echo(f"{output}: {counted(len(rows), 'text')} to label{few} (texts of users)")
    if output.suffix.lower() == ".json":
        click.echo(f"labelling configuration for Label Studio: {labelling_config(class_names)}")


@click.group(cls=Group)
def labels() -> None:
    """Import labels from files into the stored reviews, and export them.

    \b
    Examples:
      python monitoring.py labels import audit.csv
      python monitoring.py labels export --output labels.json
    """


@labels.command("import")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--source", default=IMPORTED, metavar="NAME", help="Sender of the labels, which the index records.")
@latest_options
@add_options(field_options(MonitoringSettings, "model_path", "new_data_dir", is_checked=True))
def import_command(file: Path, source: str, reading: DataOptions, model_path: Path, new_data_dir: Path) -> None:
    """Store the labels in FILE: a file of `sample`, or an export of Label Studio (CSV, JSON or JSON-MIN).

    A label counts as a random audit if its row has a draw that `sample` or the server signed for this text and the
    current version in the last 14 days. Rows without a label are left out. A second import stores nothing new.

    \b
    Example:
      python monitoring.py labels import audit.csv --source ann
    """
    for sentence in import_labels(file, model_path, new_data_dir, reading, source).sentences():
        click.echo(sentence)


@labels.command("export")
@_output
@add_options(field_options(MonitoringSettings, "new_data_dir", is_checked=True))
def export_command(output: Path, new_data_dir: Path) -> None:
    """Write all stored labels with their texts into a file.

    The file has no signed draws, so an import of it restores no random audits.

    \b
    Example:
      python monitoring.py labels export --output labels.csv
    """
    click.echo(f"{output}: {counted(export_labels(output, new_data_dir), 'labelled text')} (texts of users)")
    click.echo("an import of this file stores ordinary labels: it has no signed draws of random audits")
