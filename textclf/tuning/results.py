"""The results of a search: lines for people, and the configuration that trains the best trial again."""

from collections.abc import Mapping, Sequence
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from textclf.cli.config_file import config_text, options_of
from textclf.cli.options import recorded_options
from textclf.tuning.study import curve_of, error_of, is_default, number_of

METRIC_NAMES = {"macro_f1": "macro F1", "accuracy": "accuracy", "log_loss": "log loss"}


def trial_line(trial: FrozenTrial, metric: str) -> str:
    """The result and the options of a trial, as a line."""
    what = "the default recipe" if is_default(trial) else params_text(trial.params)
    return f"{f'trial {number_of(trial)}:':14} {result_of(trial, metric)}; {what}"


def result_of(trial: FrozenTrial, metric: str) -> str:
    """The result of a trial and the seconds that it took, in words."""
    curve = curve_of(trial)
    if trial.state is TrialState.COMPLETE:
        result = f"{METRIC_NAMES[metric]} {trial.value:.4f}"
    elif trial.state is TrialState.PRUNED:
        result = f"{METRIC_NAMES[metric]} {curve.values[-1]:.4f}, stopped after epoch {len(curve.values)}"
    else:
        result = f"failed ({error_of(trial)})"
    duration = trial.duration
    return result if duration is None else f"{result} in {duration.total_seconds():.0f} s"


def params_text(params: Mapping[str, Any]) -> str:
    """The values of options, such as "init_lr 0.0001, epochs 3"."""
    return ", ".join(
        f"{name} {value:.3g}" if isinstance(value, float) else f"{name} {value}" for name, value in params.items()
    )


def best_lines(finished: Sequence[FrozenTrial], metric: str) -> list[str]:
    """The best trial next to the default recipe; `finished` has the best first."""
    best, default = finished[0], next((trial for trial in finished if is_default(trial)), None)
    name, value = METRIC_NAMES[metric], float(best.value or 0.0)
    if best is default:
        return [f"best:          the default recipe, {name} {value:.4f}"]
    compared = "" if default is None else f"; the default recipe has {float(default.value or 0.0):.4f}"
    return [
        f"best:          trial {number_of(best)}, {name} {value:.4f}{compared}",
        f"{'':14} {params_text(best.params)}",
    ]


def best_config(trial: FrozenTrial, metric: str, texts: int, values: Mapping[str, Any]) -> str:
    """A configuration file for `textclf train` with the options of a trial.

    Args:
        trial: the trial.
        metric: the metric of the search.
        texts: number of texts in the selection set.
        values: what the command line gives: data set, encoder and the options that trials share.
    """
    comments = [
        "Options that a search found. Train with: textclf train --config FILE",
        f"Trial {number_of(trial)}: {METRIC_NAMES[metric]} {trial.value:.4f} on the {texts:,} texts of the selection "
        f"set, which chose it. Only the test part, which the search did not read, measures the model.",
    ]
    return config_text(options_of(recorded_options), values, comments)
