"""The command-line options that `monitoring.py check` and `watch` share, as one checked record."""

from __future__ import annotations

import functools
import math
import shlex
from collections.abc import Callable, Collection
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import click

from textclf.cli.durations import Duration
from textclf.config import DriftOptions, min_permutations
from textclf.errors import ConfigError
from textclf.monitoring.retrain_policy import RetrainPolicy, WindowRule

_DRIFT, _POLICY = DriftOptions(), RetrainPolicy()
# Below it the permutations would take too much memory.
_MIN_ALPHA = 0.001


@dataclass(frozen=True)
class MonitoringSettings:
    """What the options say; see their help.

    Raises:
        click.UsageError: --retrain without the data that the model was trained on, or --retrain-args without a quote.
    """

    model_path: Path
    log_url: str | None
    new_data_dir: Path
    windows: WindowRule | None
    threshold: float
    alpha: float
    html: Path | None
    json: Path | None
    threads: int | None
    retrain: bool
    old_dataset_path: str | None
    combined_dataset_path: Path
    retrain_args: str
    min_new_labels: int
    cool_down: float

    def __post_init__(self) -> None:
        if self.retrain and self.old_dataset_path is None:
            raise click.UsageError("--retrain needs --old-dataset-path, the data that the model was trained on")
        try:
            shlex.split(self.retrain_args)
        except ValueError as error:
            raise click.UsageError(f"--retrain-args: expected words with matching quotes: {error}") from None

    @property
    def drift_options(self) -> DriftOptions:
        """With as many permutations as alpha needs."""
        permutations = max(_DRIFT.permutations, min_permutations(self.alpha))
        return DriftOptions(alpha=self.alpha, threshold=self.threshold, permutations=permutations)

    @property
    def policy(self) -> RetrainPolicy:
        """When a retraining may be started."""
        return RetrainPolicy(self.min_new_labels, self.cool_down)

    def retraining_arguments(self) -> list[str]:
        """Of `retraining.py`."""
        paths = {
            "--old-dataset-path": self.old_dataset_path,
            "--new-dataset-path": self.new_data_dir,
            "--combined-dataset-path": self.combined_dataset_path,
            "--model-dir": self.model_path,
        }
        return [
            "run",
            *(word for option, path in paths.items() for word in (option, str(path))),
            *shlex.split(self.retrain_args),
        ]


def monitoring_options(default_windows: str | None) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """What decorates a click command: it gets the keyword argument `settings`, a MonitoringSettings."""

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(command)
        def with_settings(*args: Any, **kwargs: Any) -> Any:
            values = {item.name: kwargs.pop(item.name) for item in fields(MonitoringSettings)}
            return command(*args, settings=MonitoringSettings(**values), **kwargs)

        for option in reversed(_options(default_windows)):  # --help lists the one last that decorates first.
            with_settings = option(with_settings)
        return with_settings

    return decorate


def given_again(context: click.Context, leave_out: Collection[str]) -> list[str]:
    """The options of a command, but for some, as arguments of another that has them, too."""
    arguments: list[str] = []
    for parameter in context.command.params:
        value = context.params.get(str(parameter.name))
        if parameter.name in leave_out or value is None or value is False:
            continue
        arguments.append(parameter.opts[0])
        if value is not True:
            arguments.append(f"{value:.3f}s" if isinstance(parameter.type, Duration) else str(value))
    return arguments


class _Number(click.FloatRange):
    """A number in a range; NaN, which no comparison keeps out, is none."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        number = float(super().convert(value, param, ctx))
        if math.isnan(number):
            self.fail(f"expected a number, got {value!r:.40}", param, ctx)
        return number


def _windows(_context: click.Context, parameter: click.Parameter, value: str | None) -> WindowRule | None:
    try:
        return None if value is None else WindowRule.parse(value)
    except ConfigError as error:
        raise click.BadParameter(str(error), param=parameter) from error


def _options(default_windows: str | None) -> tuple[Callable[..., Any], ...]:
    path = click.Path(path_type=Path)
    return (
        click.option(
            "--model-path",
            type=path,
            default="model",
            metavar="DIR",
            help="A model store (its current version); or one version's folder, beside which no state is kept.",
        ),
        click.option(
            "--log-url",
            envvar="PREDICTION_LOG_URL",
            metavar="URL",
            show_envvar=True,
            show_default="the server's",
            help="The prediction log that the server keeps.",
        ),
        click.option(
            "--new-data-dir",
            type=path,
            envvar="NEW_DATA_DIR",
            default="new_data",
            metavar="DIR",
            show_envvar=True,
            help="Labelled reviews, as the server stores them: audits show errors, and a retraining learns from all.",
        ),
        click.option(
            "--windows",
            callback=_windows,
            default=default_windows,
            metavar="KofN",
            help="Judge the next window: what was logged since the last one. With --retrain, do so once K of the last "
            "N windows show drift.",
        ),
        click.option(
            "--threshold",
            type=_Number(0.5, 1, max_open=True),
            default=_DRIFT.threshold,
            help="Floor of the AUC with which words tell the latest texts from the reference; below it no alarm.",
        ),
        click.option(
            "--alpha",
            type=_Number(_MIN_ALPHA, 0.5),
            default=_DRIFT.alpha,
            help="Chance of a false alarm of one check, over all its tests together.",
        ),
        click.option("--html", type=path, metavar="OUT", help="Write the report as a page."),
        click.option("--json", type=path, metavar="OUT", help="Write the report as JSON."),
        click.option(
            "--threads", type=click.IntRange(min=1), show_default="all cores", help="Threads to score texts with."
        ),
        click.option("--retrain", is_flag=True, help="Retrain on drift, once there are enough new labels."),
        click.option(
            "--old-dataset-path",
            metavar="PATH",
            help="With --retrain: the data that the model was trained on.",
        ),
        click.option(
            "--combined-dataset-path",
            type=path,
            default="datasets/combined",
            metavar="DIR",
            help="With --retrain: where old and new texts are put together.",
        ),
        click.option(
            "--retrain-args",
            default="",
            metavar="ARGS",
            help="With --retrain: more options of `retraining.py run`, in one argument.",
        ),
        click.option(
            "--min-new-labels",
            type=click.IntRange(min=1),
            default=_POLICY.min_new_labels,
            help="With --retrain: labelled texts that no retraining has seen yet.",
        ),
        click.option(
            "--cool-down",
            type=Duration(),
            default=_POLICY.cool_down,
            show_default="1d",
            metavar="TIME",
            help="With --retrain: time from the start of one retraining to that of the next.",
        ),
    )
