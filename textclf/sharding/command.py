"""The command `score`: a table to another table, or a data set to a folder of shards."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import click
from click.core import ParameterSource

from textclf.cli.byte_progress import byte_progress
from textclf.cli.commands import Command
from textclf.cli.options import arguments_of, field_option, field_options, given_options, record_options
from textclf.config import DataOptions
from textclf.fields import whole
from textclf.runtime.predictor import TOKENS_PER_BATCH, Predictor
from textclf.runtime.scoring_report import ScoringReport
from textclf.sharding.options import PROCESSES, ShardOptions

# Options of one file that have no meaning for shards.
_OF_ONE_FILE = ("label_column", "encoding", "rename_labels", "skip_bad", "for_spreadsheets")
# In a pod of an Indexed Job this option is always given.
_FROM_ENVIRONMENT = "shard_index"


class _Model(Protocol):
    """The part of Inference that the command needs."""

    model_path: Path | str
    class_names: Any
    tokens_per_batch: int
    threads: int | None
    cascade: bool
    rules: Path | str | None

    @property
    def predictor(self) -> Predictor:
        """The loaded model."""

    def score_file(
        self,
        input_path: Path | str,
        output_path: Path | str,
        text_column: str = "text",
        skip_bad: bool = False,
        on_progress: Callable[[int], None] | None = None,
        for_spreadsheets: bool = False,
        rename_labels: Mapping[str, str] | None = None,
        encoding: str = "",
        label_column: str = "label",
    ) -> ScoringReport:
        """Score a file."""


@dataclass(frozen=True)
class _Numbers:
    tokens_per_batch: int = whole(
        TOKENS_PER_BATCH, "Maximum wordpieces of a batch, padding included; a lower value needs less memory.", min=1
    )


@click.command("score", cls=Command)
@click.option("--input", "input_place", required=True, metavar="FILE", help="Texts; with --shards a data set.")
@click.option("--output", "output_place", required=True, metavar="FILE", help="File to write; with --shards a folder.")
@field_option(DataOptions, "text_column")
@field_option(DataOptions, "label_column", help="Column of the labels, for the accuracy; may be missing.")
@field_option(DataOptions, "encoding")
@field_option(DataOptions, "rename_labels", help="Class of a label of the file, for the accuracy; may be repeated.")
@click.option("--skip-bad", is_flag=True, help="Skip rows that can't be scored and list them at the end.")
@click.option("--for-spreadsheets", is_flag=True, help="Put ' before texts in a CSV that start with = + - or @.")
@field_option(_Numbers, "tokens_per_batch", is_checked=True)
@record_options("shard_options", ShardOptions, field_options(ShardOptions))
@click.pass_obj
def score(
    model: _Model,
    /,
    input_place: str,
    output_place: str,
    tokens_per_batch: int,
    shard_options: ShardOptions,
    **options: Any,
) -> None:
    """Score every row of a file and write it to another; with --shards, a data set to a folder.

    The input is a table (CSV, TSV, JSON, Parquet, .xlsx or fastText). The output is CSV or JSONL, by its ending, also
    with .gz. A row keeps its fields and gains `label`, `score` (P(second class) for two classes, else P(label)),
    `probabilities` (in CSV a column `p:<class>` for each class) and `truncated`. The input's own `label` is kept as
    `input_label`, and the accuracy is printed. An input with one of the other columns is refused. The complete output
    appears at the end. Memory does not grow with the file. A cascade counts the rows of each stage.

    With --shards the input may be a folder, a pattern or a URL of Parquet, CSV or JSONL files. The same command
    continues after a kill. The file _SUCCESS in the output has the counts.

    \b
    Examples:
      python inference.py score --input reviews.csv --output scored.jsonl --text-column review --skip-bad
      python inference.py score --input 'reviews/*.parquet' --output scored --shards 64 --id-column id
    """
    model.tokens_per_batch = tokens_per_batch
    if shard_options.shards is not None:
        _score_shards(model, input_place, output_place, options, shard_options)
        return
    if without := sorted(set(given_options(ShardOptions)) - {_FROM_ENVIRONMENT}):
        raise click.UsageError(f"--{without[0].replace('_', '-')} needs --shards: give both")
    input_path, output_path = Path(input_place), Path(output_place)
    with byte_progress(input_path) as on_progress:
        report = model.score_file(input_path, output_path, on_progress=on_progress, **options)
    click.echo(f"{output_path}: rows scored: {report.scored}")
    for warning in report.warnings():
        click.echo(warning, err=True)
    for line in report.results(model.predictor.cascade is not None):
        click.echo(line)


def _score_shards(model: _Model, source: str, target: str, others: dict[str, Any], options: ShardOptions) -> None:
    context = click.get_current_context()
    for name in _OF_ONE_FILE:
        if context.get_parameter_source(name) is not ParameterSource.DEFAULT:
            raise click.UsageError(f"--{name.replace('_', '-')} is for one file: leave it out, or leave out --shards")
    if model.class_names is not None:
        raise click.UsageError("--class-names is for a plain SavedModel: shards need a version of a model store")
    if options.processes is not None and options.shard_index is not None:
        raise click.UsageError("--processes and --shard-index exclude each other: one shard is scored by one process")
    if options.ray_address and options.engine == PROCESSES:
        raise click.UsageError("--ray-address needs --engine ray: give both")
    if options.kubernetes_job:
        click.echo(_manifests(model, source, target, others, options))
        return
    from textclf.sharding.running import ShardedRun

    def say(line: str) -> None:
        click.echo(line, err=True)

    summary = ShardedRun(model, source, target, others["text_column"], options, say).run()
    if summary is not None:
        click.echo(f"{target}: {options.shards} shards")
        for line in summary.lines():
            click.echo(line)


def _manifests(model: _Model, source: str, target: str, others: dict[str, Any], options: ShardOptions) -> str:
    from textclf.sharding.kubernetes import job_manifests

    plain = replace(options, kubernetes_job="", shard_index=None, finish=False)
    threads = model.threads or 1
    rules = "" if model.rules is None else str(model.rules)
    command = ["textclf", "score", "--model-path", str(model.model_path), "--threads", str(threads)]
    command += ([] if model.cascade else ["--no-cascade"]) + (["--rules", rules] if rules else [])
    command += ["--input", source, "--output", target, "--text-column", others["text_column"]]
    command += ["--tokens-per-batch", str(model.tokens_per_batch), *arguments_of(plain)]
    places = [str(model.model_path), source, target, rules]
    return job_manifests(options.kubernetes_job, command, places, int(options.shards or 1), threads)
