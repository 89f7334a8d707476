"""`textclf tune`: search for better options of a training, in any number of processes."""

import dataclasses
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from textclf.cli.config_file import ConfiguredCommand
from textclf.cli.durations import Duration
from textclf.cli.options import (
    data_dir_option,
    dataset_path_option,
    encoder_options,
    field_options,
    given_options,
    recipe_option,
    record_options,
)
from textclf.config import DataOptions, ModelOptions, TrainingOptions
from textclf.data.dataset_summary import data_line, warnings_of
from textclf.data.datasets import Dataset
from textclf.errors import ConfigError, TrainingError
from textclf.files import atomic_file, check_writable
from textclf.phases import announce_tensorflow
from textclf.store.model_store import path_or_version
from textclf.tuning.folds import check_folds
from textclf.tuning.options import TuningOptions
from textclf.tuning.ray_engine import RayOptions, search_on_ray
from textclf.tuning.search import Search, options_of_trial
from textclf.tuning.search_space import Range, check_space, search_space, usual_space
from textclf.tuning.trial_training import SharedTraining

if TYPE_CHECKING:
    # --help needs no package of an extra.
    from optuna.trial import FrozenTrial

    from textclf.tuning.study import SharedStudy

# Decided by the search itself.
_NOT_OFFERED = ("metric", "select", "train_on")
PROCESSES, RAY = "processes", "ray"
# With fewer selection texts, the differences between trials are chance.
_FEW_TEXTS = 200
_POLL_SECONDS = 1.0
_OUT = click.Path(path_type=Path, dir_okay=False)


def _options_of(options: type, *left_out: str) -> dict[str, Any]:
    return {name: option for name, option in field_options(options).items() if name not in left_out}


@click.command(cls=ConfiguredCommand)
@dataset_path_option
@click.option("--url", default="", show_default=False, help="URL of the archive, if it is not at --dataset-path.")
@record_options("tuning_options", TuningOptions, field_options(TuningOptions))
@click.option(
    "--timeout", type=Duration(), metavar="TIME", help="Start no trial after this time, such as 2h; a running one ends."
)
@click.option(
    "--study-dir",
    type=click.Path(path_type=Path, file_okay=False),
    default="study",
    metavar="DIR",
    help="Folder of the study; processes with the same folder work on one study.",
)
@click.option(
    "--engine",
    type=click.Choice((PROCESSES, RAY)),
    default=PROCESSES,
    help="Where trials run: in this process, or in processes on a Ray cluster.",
)
@click.option(
    "--ray-address",
    default="",
    show_default="RAY_ADDRESS, else local",
    help="Address of a Ray cluster, such as ray-head:6379.",
)
@click.option(
    "--processes",
    type=int,
    show_default="CPUs of the cluster less one / threads",
    help="Processes on the cluster.",
)
@click.option("--threads", type=int, default=1, help="Threads of a process on the cluster.")
@click.option(
    "--save", type=_OUT, metavar="FILE", help="Write the best options as a file for `textclf train --config`."
)
@click.option("--html", type=_OUT, metavar="FILE", help="Write the study as an HTML page with plots (5 MB).")
@encoder_options
@record_options("training_options", TrainingOptions, _options_of(TrainingOptions, *_NOT_OFFERED))
@recipe_option
@record_options("data_options", DataOptions, _options_of(DataOptions, "read_test"))
@data_dir_option
def main(
    dataset_path: str,
    url: str,
    tuning_options: TuningOptions,
    timeout: float | None,
    study_dir: Path,
    engine: str,
    ray_address: str,
    processes: int | None,
    threads: int,
    save: Path | None,
    html: Path | None,
    model_options: ModelOptions,
    training_options: TrainingOptions,
    recipe: str,
    data_options: DataOptions,
    data_dir: str,
) -> None:
    """Search for better options of a training.

    The first trial has the options of `textclf train`, but it always keeps the best epoch and is fitted to the training
    texts only. The metric of the selection set compares the others with it. An option that is given is not searched.
    The test part is not read. After a kill the same command continues the study, and several processes may run it at a
    time. Nothing is exported: train with the saved file.

    \b
    Example:
      textclf tune --dataset-path data/sample --encoder minilm-l6 --trials 20 --save best.toml --html study.html
    """
    from textclf.tuning.results import trial_line  # A missing package is found before the search.

    if html is not None:
        import plotly  # noqa: F401  (a missing package is found before the search)
    for path in filter(None, (save, html)):
        check_writable(path)
    cluster = _cluster(engine, ray_address, processes, threads)
    given = {**given_options(ModelOptions), **given_options(TrainingOptions)}
    space = _space(tuning_options, given)
    check_space(space, lambda values: _replaced(values, model_options, training_options))
    shared = SharedTraining(
        dataset_path=dataset_path,
        url=url,
        data_dir=data_dir,
        recipe=recipe,
        given=frozenset(given) - {"metric"},
        data=data_options,
        model=model_options,
        training=dataclasses.replace(
            training_options,
            metric=tuning_options.metric,
            teachers=tuple(path_or_version(teacher, "model") for teacher in training_options.teachers),
        ),
    )
    search = Search(shared, tuning_options, space, study_dir.absolute(), timeout)
    announce_tensorflow()
    dataset, study, options = search.open()
    check_folds(dataset, tuning_options.folds)
    _describe(dataset)
    click.echo(f"study:         {study_dir.absolute()}, {tuning_options.trials} trials")
    if cluster is None:
        search.run(study, options)
    else:
        _train_on(cluster, search.work, study, trial_line)
    summary = _repeat(cluster, search, study, options) if tuning_options.is_repeated else []
    _write_results(study, dataset, options, save, html, summary)


def _cluster(engine: str, address: str, processes: int | None, threads: int) -> RayOptions | None:
    if engine == RAY:
        for name, value in (("processes", processes), ("threads", threads)):
            if value is not None and value < 1:
                raise ConfigError(f"{name}: expected a number of at least 1, got {value}")
        return RayOptions(address, processes, threads)
    given = {"--ray-address": address, "--processes": processes, "--threads": threads != 1}
    if names := [name for name, value in given.items() if value]:
        raise click.UsageError(f"{names[0]} needs --engine ray: give both")
    return None


def _train_on(
    cluster: RayOptions, work: Callable[[], None], study: "SharedStudy", line: Callable[["FrozenTrial", str], str]
) -> None:
    """Train the trials of a study on a cluster, and print each that ends there."""
    seen = {trial.number for trial in study.ended}

    def show() -> None:
        for trial in study.ended:
            if trial.number not in seen:
                seen.add(trial.number)
                click.echo(line(trial, study.options.metric))

    search_on_ray(cluster, work, show, lambda text: click.echo(f"warning: {text}", err=True))


def _repeat(cluster: RayOptions | None, search: Search, study: "SharedStudy", options: dict[str, Any]) -> list[str]:
    """Repeat the best options and the default recipe; returns lines about the results."""
    from textclf.tuning.repeats import Repeats, repeat_line, summary_lines
    from textclf.tuning.results import METRIC_NAMES
    from textclf.tuning.study import is_default, number_of

    # Another process may still train the trial that becomes the best, or be killed in it.
    _train_here(study, lambda: search.run(study, options), search.may_start)
    finished = study.finished
    if not study.is_over or not finished:
        return ["repeated:      nothing, because the search has not ended; run the same command again"]
    chosen = [finished[0], *(trial for trial in finished if is_default(trial))]
    repeats = Repeats(search, options, {number_of(trial): trial.params for trial in chosen})
    queue = repeats.open()
    if cluster is None:
        _train_here(queue, lambda: repeats.run(queue), search.may_start)
    else:
        _train_on(cluster, repeats.work, queue, repeat_line)
    if (values := repeats.values(queue)) is None:
        why = "a training failed" if queue.is_over else "some trainings are left; run the same command again"
        return [f"repeated:      no means, because {why}"]
    default = next((number_of(trial) for trial in chosen if is_default(trial)), None)
    return summary_lines(values, default, METRIC_NAMES[search.options.metric], search.options.folds)


def _train_here(study: "SharedStudy", run: Callable[[], None], may_start: Callable[[], bool]) -> None:
    """Train until the study is over, also those trials that other processes leave."""
    run()
    while not study.is_over and may_start():
        time.sleep(_POLL_SECONDS)
        run()


def _space(options: TuningOptions, given: dict[str, Any]) -> tuple[Range, ...]:
    """The ranges of the options to search: those that are named, or all usual ones that are not given."""
    if options.search:
        if both := [name for name in options.search if name in given]:
            raise ConfigError(f"{both[0]}: expected a value or a search, got both; leave one of them out")
        return search_space(options.search)
    return usual_space(given.get("optimiser", "adamw"), given)


def _replaced(values: Mapping[str, Any], *options: ModelOptions | TrainingOptions) -> None:
    """Check the options with other values."""
    left = dict(values)
    for one in options:
        dataclasses.replace(one, **type(one).pop_from(left))


def _describe(dataset: Dataset) -> None:
    click.echo(f"data:          {data_line(dataset)}")
    for warning in warnings_of(dataset):
        click.echo(f"warning: {warning}", err=True)
    if (texts := len(dataset.validation_select)) < _FEW_TEXTS:
        click.echo(
            f"warning: the selection set has {texts} texts: small differences between trials are chance", err=True
        )


def _write_results(
    study: "SharedStudy",
    dataset: Dataset,
    options: dict[str, Any],
    save: Path | None,
    html: Path | None,
    summary: list[str],
) -> None:
    from textclf.tuning.results import best_lines

    if html is not None:
        from textclf.tuning.html import study_page

        with atomic_file(html) as file:
            file.write(study_page(study, dataset.source.name, summary))
        click.echo(f"page:          {html.absolute()}")
    finished = study.finished
    if not finished:
        raise TrainingError(
            "expected a finished trial, found none; run the same command again, with a longer --timeout if it has one"
        )
    for line in [*best_lines(finished, study.options.metric), *summary]:
        click.echo(line)
    if save is not None:
        _save(study, finished[0], dataset, options, save)


def _save(study: "SharedStudy", best: "FrozenTrial", dataset: Dataset, options: dict[str, Any], path: Path) -> None:
    from textclf.tuning.results import best_config
    from textclf.tuning.study import number_of

    values = click.get_current_context().params | options_of_trial(options, best.params, study.seed + number_of(best))
    values = {**values, "read_test": True, "name": ""}
    with atomic_file(path) as file:
        file.write(best_config(best, study.options.metric, len(dataset.validation_select), values))
    click.echo(f"saved:         {path.absolute()}; train with: textclf train --config {path}")
