"""The held-out texts that a trained model is compared with its floor on."""

from collections.abc import Mapping

import numpy as np

from textclf.config import TrainingOptions
from textclf.data.datasets import Dataset
from textclf.data.splits import Split
from textclf.training.fitting.probe import sampled_rows

# More would take longer and change little.
_TEXTS = 1000


def held_out_texts(dataset: Dataset, options: TrainingOptions) -> Split:
    """About 1,000 texts that the model is not fitted to, and that did not choose the epoch."""
    found = _all(dataset, options)
    return found.chosen(_rows(found))


def held_out_logits(logits: Mapping[str, np.ndarray], dataset: Dataset, options: TrainingOptions) -> np.ndarray:
    """The logits of held_out_texts(), float32 [texts, K], of those of whole splits by name."""
    found = np.concatenate([logits[name] for name in _names(options)])
    return np.asarray(found[_rows(_all(dataset, options))])


def _all(dataset: Dataset, options: TrainingOptions) -> Split:
    first, *others = (dataset.splits[name] for name in _names(options))
    return first.joined(*others)


def _names(options: TrainingOptions) -> tuple[str, ...]:
    chose_nothing = options.train_on == "train" and options.select != "best"
    return ("validation_calibrate", "validation_select") if chose_nothing else ("validation_calibrate",)


def _rows(texts: Split) -> np.ndarray:
    return sampled_rows(texts.labels, _TEXTS)
