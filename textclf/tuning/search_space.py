"""The options that a search changes, and the range of each: one table for local studies and for SageMaker."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Protocol

from textclf.errors import ConfigError


class Suggesting(Protocol):
    """The methods of an Optuna trial that choose a value."""

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        """A number from `low` to `high`."""
        ...

    def suggest_int(self, name: str, low: int, high: int, *, log: bool = False) -> int:
        """A whole number from `low` to `high`."""
        ...

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        """One of `choices`."""
        ...


@dataclass(frozen=True)
class Range:
    """The values of one option: from `low` to `high`, both included, or one of `choices`.

    Attributes:
        name: field of ModelOptions or TrainingOptions, and so a hyperparameter of a training job.
        low, high: bounds; two whole numbers make a range of whole numbers.
        is_log: draw the logarithm of the value evenly.
        choices: the values, instead of bounds.
    """

    name: str
    low: float = 0
    high: float = 0
    is_log: bool = False
    choices: tuple[str | int, ...] = ()

    def __str__(self) -> str:
        if self.choices:
            return f"{self.name} in {', '.join(map(str, self.choices))}"
        return f"{self.name} from {self.low:g} to {self.high:g}{' by its logarithm' if self.is_log else ''}"

    @property
    def is_whole(self) -> bool:
        """Whether it is a range of whole numbers."""
        return not self.choices and isinstance(self.low, int) and isinstance(self.high, int)

    @property
    def ends(self) -> tuple[Any, Any]:
        """The lowest and the highest value, or the first and the last choice."""
        return (self.choices[0], self.choices[-1]) if self.choices else (self.low, self.high)

    def suggest(self, trial: Suggesting) -> Any:
        """A value that the trial chooses."""
        if self.choices:
            return trial.suggest_categorical(self.name, self.choices)
        if self.is_whole:
            return trial.suggest_int(self.name, int(self.low), int(self.high), log=self.is_log)
        return trial.suggest_float(self.name, self.low, self.high, log=self.is_log)

    def holds(self, value: Any) -> bool:
        """Whether the range contains `value`."""
        return value in self.choices if self.choices else bool(self.low <= value <= self.high)


# Ranges for fine-tuning BERT with AdamW. Above 3e-4 trainings diverge; after six epochs a small data set is learnt.
TABLE = (
    Range("init_lr", 1e-5, 3e-4, is_log=True),
    Range("epochs", 1, 6),
    Range("dropout", 0.0, 0.3),
    Range("r_drop", 0.0, 2.0),
    Range("layer_decay", 0.7, 1.0),
    Range("warmup", 0.0, 0.3),
    Range("batch_size", choices=(8, 16, 32)),
    Range("pooling", choices=("cls", "mean")),
)
# The options that a search changes unless others are named.
SEARCHED = ("init_lr", "epochs", "dropout", "r_drop", "layer_decay")


def search_space(names: Collection[str] = SEARCHED) -> tuple[Range, ...]:
    """The ranges of these options, in the order of the table.

    Raises:
        ConfigError: if the table has no such option, or `names` is empty.
    """
    known = [item.name for item in TABLE]
    if unknown := sorted(set(names) - set(known)):
        raise ConfigError(f"search: expected options among {', '.join(known)}, got {', '.join(unknown)}")
    if not names:
        raise ConfigError(f"search: expected at least one option to search, got none; known are {', '.join(known)}")
    return tuple(item for item in TABLE if item.name in names)


def usual_space(optimiser: str, left_out: Collection[str] = ()) -> tuple[Range, ...]:
    """The ranges of a search for which no options are named.

    Args:
        optimiser: the optimiser of all trials; layer_decay needs AdamW.
        left_out: options that are not searched.

    Raises:
        ConfigError: if no option is left.
    """
    unused = {*left_out} if optimiser.lower() == "adamw" else {*left_out, "layer_decay"}
    if not (space := tuple(item for item in search_space() if item.name not in unused)):
        raise ConfigError("search: expected at least one option without a value, got values for all; leave one out")
    return space


def check_space(space: Collection[Range], accept: Callable[[Mapping[str, Any]], object]) -> None:
    """Refuse a search with trials that would be refused.

    Args:
        space: the ranges.
        accept: takes one value for each range; raises ConfigError for values that a training refuses.

    Raises:
        ConfigError: if `accept` does, for the lowest or the highest values of all ranges.
    """
    for end in (0, 1):
        accept({item.name: item.ends[end] for item in space})


def sagemaker_ranges(space: Collection[Range] | None = None) -> dict[str, list[dict[str, Any]]]:
    """The ParameterRanges of a SageMaker tuning job, for `space` or for what a local search changes."""
    ranges: dict[str, list[dict[str, Any]]] = {
        "ContinuousParameterRanges": [],
        "IntegerParameterRanges": [],
        "CategoricalParameterRanges": [],
    }
    for item in search_space() if space is None else space:
        if item.choices:
            ranges["CategoricalParameterRanges"].append({"Name": item.name, "Values": list(map(str, item.choices))})
        else:
            kind = "IntegerParameterRanges" if item.is_whole else "ContinuousParameterRanges"
            bounds = {"MinValue": _decimal(item.low), "MaxValue": _decimal(item.high)}
            scaling = "Logarithmic" if item.is_log else "Linear"
            ranges[kind].append({"Name": item.name, **bounds, "ScalingType": scaling})
    return ranges


def _decimal(value: float) -> str:
    """The number without an exponent, such as 0.00001."""
    return f"{Decimal(str(value)):f}"
