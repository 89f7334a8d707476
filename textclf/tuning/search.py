"""A search as any process runs it: open the study, train its trials."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from textclf.data.datasets import Dataset
from textclf.tuning.options import TuningOptions
from textclf.tuning.search_space import Range
from textclf.tuning.trial_training import SharedTraining

if TYPE_CHECKING:
    from textclf.tuning.study import RunningTrial, SharedStudy


@dataclass(frozen=True)
class Search:
    """A search, equal for all of its processes.

    Attributes:
        shared: the training that the search varies.
        options: number of trials, metric and the like.
        space: the searched options.
        study_dir: folder of the study.
        timeout: no trial starts after this many seconds; None: no limit.
        started: when the search began, in seconds since 1970, so that all processes end together.
    """

    shared: SharedTraining
    options: TuningOptions
    space: tuple[Range, ...]
    study_dir: Path
    timeout: float | None
    started: float = field(default_factory=time.time)

    def open(self) -> tuple[Dataset, "SharedStudy", dict[str, Any]]:
        """The data set, the study, and the options that all its trials share.

        Raises:
            DatasetError, EncoderError: if the data or the encoder can't be read.
            ConfigError: if the study has other settings.
            TrainingError: if the file of the study is damaged.
        """
        from textclf.tuning.study import SharedStudy

        dataset, settings, decide = self.shared.read(self.study_dir)
        training = self.shared.training
        study = SharedStudy(self.study_dir, self.options, self.space, training.seed, training.epochs)
        return dataset, study, study.open({**settings, "search": "; ".join(map(str, self.space))}, decide)

    def run(self, study: "SharedStudy", options: dict[str, Any]) -> None:
        """Train trials until none is left, and print each of them."""
        from textclf.tuning.results import params_text, trial_line

        def objective(trial: "RunningTrial") -> list[float]:
            click.echo(f"trial {trial.number}: {params_text(trial.params)}", err=True)
            # How many epochs a trial has with min_steps is not known before its end, so its point is not, either.
            on_epoch: Callable[[int, float], None] = trial.record if options["min_steps"] else trial.report
            values = options_of_trial(options, trial.params, study.seed + trial.number)
            return self.shared.fit(values, trial.folder, on_epoch)

        study.run(
            objective,
            listener=lambda trial: click.echo(trial_line(trial, self.options.metric)),
            may_start=self.may_start,
        )

    def may_start(self) -> bool:
        """Whether there is time for another trial."""
        return self.timeout is None or time.time() - self.started < self.timeout

    def work(self) -> None:
        """Open the study and train trials until none is left."""
        _, study, options = self.open()
        self.run(study, options)


def options_of_trial(options: dict[str, Any], params: dict[str, Any], seed: int) -> dict[str, Any]:
    """The options of a trial's training."""
    return {**options, **params, "seed": seed}
