"""Options of a hyperparameter search."""

from dataclasses import dataclass

from textclf.config import Config
from textclf.fields import choice, switch, texts, whole
from textclf.tuning.search_space import SEARCHED

STORAGES = ("sqlite", "journal")
# Metric of the selection set -> its key in the history of a training.
METRICS = {"macro_f1": "val_macro_f1", "accuracy": "val_accuracy", "log_loss": "val_loss"}

# Training options with which every epoch is measured on texts that the model is not fitted to.
MEASURED = {"select": "best", "train_on": "train"}


@dataclass(frozen=True)
class TuningOptions(Config):
    """How a search runs; textclf.tuning.search_space has the ranges."""

    trials: int = whole(
        20,
        "Trials of the study, counted over all processes and runs; when they are done, only results are written.",
        min=1,
    )
    metric: str = choice(
        "macro_f1", "Metric of the selection set that the search improves; it also selects the epoch.", METRICS
    )
    search: tuple[str, ...] = texts(
        "Option to search; may be repeated.", shown=f"{', '.join(SEARCHED)}; without those that are given"
    )
    prune: bool = switch(
        True,
        "Stop a trial that is worse than most others were at the same share of their epochs.",
        flag="--prune/--no-prune",
    )
    seeds: int = whole(
        0, "Afterwards train the best options and the default recipe with this many other seeds; 0 repeats nothing."
    )
    folds: int = whole(
        0, "Afterwards train the best options and the default recipe on this many folds, for each seed; 0 uses none."
    )
    storage: str = choice(
        "sqlite",
        "File of the study: an SQLite database, or a journal for file systems where SQLite has no locks.",
        STORAGES,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check("folds", self.folds != 1, "0 or at least 2")

    @property
    def is_repeated(self) -> bool:
        """Whether trainings are repeated after the search."""
        return bool(self.seeds or self.folds)
