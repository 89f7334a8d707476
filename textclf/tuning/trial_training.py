"""The training of a trial: what all trials share, and one fit without measuring, export or version."""

import contextlib
import dataclasses
import gc
import sys
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from textclf.config import DataOptions, ModelOptions, TrainingOptions
from textclf.data.datasets import Dataset
from textclf.tuning.folds import Fold
from textclf.tuning.options import MEASURED, METRICS

# The same results, whatever their value.
_WITHOUT_EFFECT = ("checkpoint_steps", "windows")


@dataclass(frozen=True)
class SharedTraining:
    """The training that a search varies.

    Attributes:
        dataset_path, url, data_dir, recipe: as for train_model.Training.
        given: names of the options that the recipe leaves as they are.
        data, model, training: the options that no trial changes, and the defaults of the others.
    """

    dataset_path: str
    url: str
    data_dir: str
    recipe: str
    given: frozenset[str]
    data: DataOptions
    model: ModelOptions
    training: TrainingOptions

    def read(self, runs_dir: Path) -> tuple[Dataset, dict[str, Any], Callable[[], dict[str, Any]]]:
        """The data set without its test part, settings that processes of one study share, and their options.

        The last is called for a new study: it may take a while, because a recipe tries class weights.

        Raises:
            DatasetError: if the data can't be downloaded or read.
            EncoderError: if the encoder can't be downloaded or loaded.
        """
        training = self._training(self._options, runs_dir, self.recipe, self.given | {*MEASURED, "metric"})
        dataset = training.read_dataset()
        asked = {**training.model_options.to_dict(), **training.training_options.to_dict()}
        settings = {"fingerprint of the data": dataset.fingerprint, "recipe": self.recipe, **asked}

        def decide() -> dict[str, Any]:
            training_options = training.decided_options.to_dict()
            return {**training.model_options.to_dict(), **training_options}

        return dataset, {key: value for key, value in settings.items() if key not in _WITHOUT_EFFECT}, decide

    def fit(
        self,
        options: Mapping[str, Any],
        runs_dir: Path,
        on_epoch: Callable[[int, float], None],
        fold: Fold | None = None,
    ) -> list[float]:
        """Train with these fields of ModelOptions and TrainingOptions; returns the metric of each epoch.

        A training that was killed continues from its checkpoint in `runs_dir`. With a fold, the metric is of its texts.

        Raises:
            DivergedError: if the loss is not finite.
            TrainingError: if the training can't continue or be written.
        """
        training = self._training(options, runs_dir, "none", frozenset(options), fold)
        key = METRICS[training.training_options.metric]
        # Standard output is for the results of the search.
        with contextlib.redirect_stdout(sys.stderr):
            try:
                history = training.fit_model(lambda epoch, values: on_epoch(epoch, values[key]))
                return list(history[key])
            finally:
                del training
                _forget_models()

    @property
    def _options(self) -> dict[str, Any]:
        return {**self.model.to_dict(), **self.training.to_dict(), **MEASURED}

    def _training(
        self,
        options: Mapping[str, Any],
        runs_dir: Path,
        recipe: str,
        given: Collection[str],
        fold: Fold | None = None,
    ) -> Any:
        from textclf.tuning.fold_training import training_on

        data = dataclasses.replace(self.data, read_test=False).to_dict()
        return training_on(
            fold,
            dataset_path=self.dataset_path,
            url=self.url,
            data_dir=self.data_dir,
            runs_dir=str(runs_dir),
            recipe=recipe,
            given=given,
            **data,
            **options,
        )


def _forget_models() -> None:
    """Free the graphs of a training, so that a process can run many, each as if it were the first."""
    from textclf.training.tf_setup import tf_keras

    tf_keras.backend.clear_session()
    gc.collect()
