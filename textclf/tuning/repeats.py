"""Repeats of the best options and of the default recipe: with other seeds, and on folds of the texts.

They are the queued trials of a second study, in the folder of the first. So processes share them, and a killed one is
continued.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click
import numpy as np
from numpy.typing import NDArray

from textclf.stats.repeats import RepeatedMean, repeated_mean
from textclf.tuning.folds import Fold
from textclf.tuning.search import Search, options_of_trial
from textclf.tuning.search_space import Range

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

    from textclf.tuning.study import RunningTrial, SharedStudy

Values = NDArray[np.float64]

_FOLDER = "repeats"
# Trials of a search have lower seeds.
_FIRST_SEED = 100_000
_MANY = 1_000_000
# The candidate, the number of its seed, and the fold among `folds`; no folds are 0 of 0.
_SPACE = tuple(Range(name, 0, _MANY) for name in ("trial", "repeat", "folds", "fold"))


@dataclass(frozen=True)
class Repeats:
    """The repeats of a search, equal for all of its processes.

    Attributes:
        search: the search, which is over.
        options: the options that all its trials share.
        candidates: the values of the searched options, by number of the trial in the search.
    """

    search: Search
    options: Mapping[str, Any]
    candidates: Mapping[int, Mapping[str, Any]]

    @property
    def wanted(self) -> Iterator[dict[str, int]]:
        """The trials, those of one seed and fold after each other."""
        tuning = self.search.options
        for repeat in range(max(1, tuning.seeds)):
            for fold in range(max(1, tuning.folds)):
                for number in self.candidates:
                    yield {"trial": number, "repeat": repeat, "folds": tuning.folds, "fold": fold}

    def open(self) -> "SharedStudy":
        """The study of the repeats, with all that are wanted.

        Raises:
            TrainingError: if the file of the study is damaged.
        """
        from textclf.tuning.study import SharedStudy

        folder = self.search.study_dir / _FOLDER
        study = SharedStudy(folder, self.search.options, _SPACE, is_queue=True)
        study.open({}, dict)
        # With the values of its candidate: a search that goes on leaves repeats of an earlier best trial in the queue.
        study.queue((one, dict(self.candidates[one["trial"]])) for one in self.wanted)
        return study

    def run(self, study: "SharedStudy") -> None:
        """Train repeats until none is left, and print each of them."""

        def objective(trial: "RunningTrial") -> list[float]:
            repeat, folds, fold = (trial.params[name] for name in ("repeat", "folds", "fold"))
            seed = int(self.options["seed"]) + _FIRST_SEED + repeat
            values = options_of_trial(dict(self.options), trial.note, seed)
            on = Fold(fold, folds, repeat) if folds else None
            return self.search.shared.fit(values, trial.folder, trial.record, on)

        study.run(objective, lambda trial: click.echo(repeat_line(trial, study.options.metric)), self.search.may_start)

    def work(self) -> None:
        """Open the study of the repeats and train until none is left."""
        self.run(self.open())

    def values(self, study: "SharedStudy") -> dict[int, Values] | None:
        """By candidate: the metric of each wanted repeat, in the same order, [n]; None if one has not finished."""
        found = {_key(trial.params): float(trial.value or 0.0) for trial in study.finished}
        if any(_key(one) not in found for one in self.wanted):
            return None
        return {
            number: np.array([found[_key(one)] for one in self.wanted if one["trial"] == number])
            for number in self.candidates
        }


def repeat_line(trial: "FrozenTrial", metric: str) -> str:
    """The result of a repeat, as a line."""
    from textclf.tuning.results import result_of

    params = trial.params
    fold = f", fold {params['fold'] + 1} of {params['folds']}" if params["folds"] else ""
    return f"repeat:        {result_of(trial, metric)}; trial {params['trial']}, seed {params['repeat'] + 1}{fold}"


def summary_lines(values: Mapping[int, Values], default: int | None, metric_name: str, folds: int) -> list[str]:
    """The means of the candidates with their intervals, and the difference from the default recipe.

    Args:
        values: by number of the trial, the metric of each repeat; the best trial first.
        default: number of the trial with the default recipe; None if it did not finish.
        metric_name: as people write it.
        folds: number of folds, or 0.
    """
    best, *_ = values
    lines = [f"repeated:      {metric_name}, mean of {len(values[best])} trainings with its 95% interval"]
    for number, results in values.items():
        name = "the default recipe" if number == default else f"trial {number}"
        lines.append(f"{'':14} {name}: {_mean(repeated_mean(results, folds))}")
    if default is not None and default != best:
        difference = repeated_mean(values[best] - values[default], folds)
        lines.append(f"{'':14} difference: {_mean(difference, signed=True)}")
    return lines


def _mean(found: RepeatedMean, signed: bool = False) -> str:
    value = f"{found.mean:+.4f}" if signed else f"{found.mean:.4f}"
    if math.isinf(found.half_width):
        return f"{value} (no interval from one training)"
    return f"{value} ± {found.half_width:.4f} (standard deviation {found.deviation:.4f})"


def _key(params: Mapping[str, int]) -> tuple[int, ...]:
    return tuple(params[item.name] for item in _SPACE)
