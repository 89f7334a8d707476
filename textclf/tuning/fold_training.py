"""A training that is measured on a fold."""

from typing import Any

from textclf.data.datasets import Dataset
from textclf.tokenization.text_key import KeyFunction
from textclf.tuning.folds import Fold, fold_of


def training_on(fold: Fold | None, **arguments: Any) -> Any:
    """A train_model.Training whose selection set is `fold` of the training and selection texts; None changes nothing.

    The other arguments are those of Training.
    """
    from train_model import Training

    class FoldTraining(Training):
        """A Training on a fold."""

        def read_dataset(self, text_keys: KeyFunction | None = None) -> Dataset:
            """As Training.read_dataset(), with the fold."""
            dataset = super().read_dataset(text_keys)
            return dataset if fold is None else fold_of(dataset, fold)

    return FoldTraining(**arguments)
