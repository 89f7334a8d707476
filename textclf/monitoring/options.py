"""The command-line options that `monitoring.py check` and `watch` share, as one checked record."""

import shlex
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from textclf.cli.durations import Duration
from textclf.cli.options import Decorator, field_option, field_options, record_options
from textclf.config import DataOptions, DriftOptions, min_permutations
from textclf.errors import ConfigError
from textclf.fields import number, path, rules, switch, text, whole
from textclf.monitoring.retrain_policy import RetrainPolicy, WindowRule

_DRIFT, _DRIFT_RULES = DriftOptions(), rules(DriftOptions)
_POLICY, _POLICY_RULES = RetrainPolicy(), rules(RetrainPolicy)


@dataclass(frozen=True)
class MonitoringSettings:
    """The values of the options.

    Raises:
        click.UsageError: if --retrain lacks --old-dataset-path, or --retrain-args has an open quote.
    """

    model_path: Path = path(
        Path("model"),
        "A model store (its current version), or one version's folder, for which no state is kept.",
        metavar="DIR",
    )
    log_url: str | None = text(
        None, "Prediction log of the server.", envvar="PREDICTION_LOG_URL", metavar="URL", shown="the server's"
    )
    new_data_dir: Path = path(
        Path("new_data"),
        "Labelled reviews that the server stored. Audits measure the error rate; a retraining uses all of them.",
        envvar="NEW_DATA_DIR",
        metavar="DIR",
    )
    rules: Path | None = path(
        None,
        "Rules of the server, so that texts which are scored again are rewritten as it did.",
        envvar="RULES",
        metavar="FILE",
    )
    windows: WindowRule | None = text(
        None,
        "Check the next window: the texts logged since the last one. With --retrain, retrain once K of the last N "
        "windows show drift.",
        metavar="KofN",
    )
    threshold: float = number(_DRIFT.threshold, _DRIFT_RULES["threshold"].help, min=0.5, below=1)
    # Below 0.001 the permutations would need too much memory.
    alpha: float = number(_DRIFT.alpha, _DRIFT_RULES["alpha"].help, min=0.001, max=0.5)
    html: Path | None = path(None, "Write the report as an HTML page.", metavar="OUT")
    json: Path | None = path(None, "Write the report as JSON.", metavar="OUT")
    threads: int | None = whole(None, "Threads that score texts.", min=1, shown="all cores")
    retrain: bool = switch(False, "Retrain on drift, once there are enough new labels.", flag="--retrain")
    old_dataset_path: str | None = text(
        None, "With --retrain: data set that the current version was trained on.", metavar="PATH"
    )
    combined_dataset_path: Path = path(
        Path("datasets/combined"), "With --retrain: folder for the combined old and new texts.", metavar="DIR"
    )
    retrain_args: str = text("", "With --retrain: more options of `textclf retrain`, as one argument.", metavar="ARGS")
    min_new_labels: int = whole(
        _POLICY.min_new_labels, f"With --retrain: {_POLICY_RULES['min_new_labels'].help.lower()}", min=1
    )
    cool_down: float = number(
        _POLICY.cool_down,
        f"With --retrain: {_POLICY_RULES['cool_down'].help.lower()}",
        above=0,
        shown=_POLICY_RULES["cool_down"].shown,
        metavar="TIME",
    )

    def __post_init__(self) -> None:
        if self.retrain and self.old_dataset_path is None:
            raise click.UsageError("--retrain needs --old-dataset-path, the data that the model was trained on")
        try:
            shlex.split(self.retrain_args)
        except ValueError as error:
            raise click.UsageError(f"--retrain-args: expected words with matching quotes: {error}") from None

    @property
    def drift_options(self) -> DriftOptions:
        """Options with the permutations that alpha needs."""
        permutations = max(_DRIFT.permutations, min_permutations(self.alpha))
        return DriftOptions(alpha=self.alpha, threshold=self.threshold, permutations=permutations)

    def policy(self, min_labels: int) -> RetrainPolicy:
        """Conditions under which a retraining may start, if it takes `min_labels` labelled texts to decide."""
        return RetrainPolicy(self.min_new_labels, self.cool_down, min_labels)

    def retraining_arguments(self) -> list[str]:
        """Arguments for `retraining.py`."""
        paths = {
            "--old-dataset-path": self.old_dataset_path,
            "--new-dataset-path": self.new_data_dir,
            "--combined-dataset-path": self.combined_dataset_path,
            "--model-dir": self.model_path,
        }
        words = [word for option, value in paths.items() for word in (option, str(value))]
        return ["run", *words, *shlex.split(self.retrain_args)]


# Decorates a click command, which gets the DataOptions of --latest as the keyword argument `reading`.
latest_options = record_options(
    "reading",
    DataOptions,
    field_options(DataOptions, "text_column")
    | field_options(DataOptions, "label_column", help="Column of the labels in a table; may be missing.")
    | field_options(DataOptions, "skip_bad", "encoding"),
)


class _Windows(click.ParamType[WindowRule]):
    name = "windows"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> WindowRule:
        try:
            return value if isinstance(value, WindowRule) else WindowRule.parse(value)
        except ConfigError as error:
            self.fail(str(error), param, ctx)


def monitoring_options(default_windows: str | None) -> Decorator:
    """Decorate a click command: it gets the keyword argument `settings`, a MonitoringSettings."""
    options = {
        **field_options(MonitoringSettings, is_checked=True),
        "windows": field_option(MonitoringSettings, "windows", type=_Windows(), default=default_windows),
        "cool_down": field_option(MonitoringSettings, "cool_down", type=Duration()),
    }
    return record_options("settings", MonitoringSettings, options)


def given_again(context: click.Context, leave_out: Collection[str]) -> list[str]:
    """The options of a command, except some, as arguments of another command that has them too."""
    arguments: list[str] = []
    for parameter in context.command.params:
        value = context.params.get(str(parameter.name))
        if parameter.name in leave_out or value is None or value is False:
            continue
        arguments.append(parameter.opts[0])
        if value is not True:
            arguments.append(f"{value:.3f}s" if isinstance(parameter.type, Duration) else str(value))
    return arguments
