"""The result of Training.fit_model()."""

from dataclasses import dataclass

import numpy as np

from textclf.training.fitting.training_loop import FitResult


@dataclass(frozen=True, eq=False)
class FittedTraining:
    """The result of a training, and logits [texts, K] of texts that nothing was fitted to.

    Attributes:
        probed: logits of the probe for the held-out texts of the training.
        out_of_fold: logits of the model for the training texts, by cross-fitting; None with held-out texts.
        is_probe: whether the model is a probe of the encoder before training.
    """

    result: FitResult
    probed: np.ndarray
    out_of_fold: np.ndarray | None
    is_probe: bool = False

    def describe(self, select: str, precision: str) -> str:
        """Steps, time, speed and the epoch that was kept, as the end of a line (see TrainingOptions)."""
        result = self.result
        if not result.history:
            return "a probe of the encoder, which is not fine-tuned"
        epochs = len(result.history["loss"])
        if self.is_probe:
            return f"{result.steps} steps in {result.seconds:.0f} s, kept the probe, which cross-validation prefers"
        kept = f"best epoch {result.best_epoch} of {epochs}, kept the {select}"
        return (
            f"{result.steps} steps in {result.seconds:.0f} s, {result.examples_per_second:g} texts/s in "
            f"{precision}; {kept if 'val_loss' in result.history else f'kept the last of {epochs} epochs'}"
        )
