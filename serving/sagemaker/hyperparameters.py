"""Hyperparameters as SageMaker gives them, all strings, mapped by the types of the option classes."""

import dataclasses
import json
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from serving.parsing import EXPECTED_SWITCH, parse_number, parse_switch, parse_whole
from textclf.config import DataOptions, ModelOptions, TrainingOptions
from textclf.encoder_handles import handles_of
from textclf.errors import ConfigError

# What is not an option of the data, the model or the training, but of the job.
_OF_THE_JOB = {"dataset_path": str, "url": str, "name": str, "promote": bool, "encoder": str, "preprocess": str}
# The short form `encoder` stands for these.
_HANDLES = ("model_name", "name_to_handle", "model_to_handle")
# Tuning jobs and SDKs add hyperparameters of their own.
_OF_THE_PLATFORM = ("_tuning_", "sagemaker_")


@dataclass(frozen=True)
class Hyperparameters:
    """What a training job is asked for.

    Attributes:
        options: fields of DataOptions, ModelOptions and TrainingOptions.
        dataset_path: a data set instead of the channels; "" takes the channels.
        url: where to download `dataset_path` from.
        name: of the model; "" lets Training choose.
        promote: make the new version current even where another one is.
    """

    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    dataset_path: str = ""
    url: str = ""
    name: str = ""
    promote: bool = False


def read_hyperparameters(path: Path) -> Hyperparameters:
    """The hyperparameters in a JSON file; none if there is no such file.

    Raises:
        ConfigError: it is not a JSON object, a name is unknown, or a value is of the wrong type.
    """
    try:
        given = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        given = {}
    except ValueError as error:  # Also where it is not UTF-8.
        raise ConfigError(f"{path}: expected a JSON object of hyperparameters ({error}); mend the file") from error
    if not isinstance(given, dict):
        raise ConfigError(f"{path}: expected a JSON object of hyperparameters, got {given!r:.80}; mend the file")
    try:
        return parse_hyperparameters(given)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error


def parse_hyperparameters(given: Mapping[str, Any]) -> Hyperparameters:
    """The hyperparameters from strings; what is not a string is taken as it is.

    Numbers are decimal; switches true, false, 1, 0, yes, no, on or off; rename_labels is a JSON object. Those that
    the platform adds (_tuning_…, sagemaker_…) are passed over.

    Raises:
        ConfigError: a name is unknown, or a value is of the wrong type or makes no sense.
    """
    types = hyperparameter_types()
    values = {name: value for name, value in given.items() if not name.startswith(_OF_THE_PLATFORM)}
    if unknown := sorted(set(values) - set(types)):
        raise ConfigError(
            f"unknown hyperparameter {', '.join(unknown)}; known are {', '.join(sorted(types))}: correct or remove it"
        )
    parsed = {name: _parsed(name, value, types[name]) for name, value in values.items()}
    of_the_job = {name: parsed.pop(name) for name in _OF_THE_JOB if name in parsed}
    encoder, preprocess = of_the_job.pop("encoder", ""), of_the_job.pop("preprocess", "")
    if encoder:
        if named := [name for name in _HANDLES if name in parsed]:
            raise ConfigError(f"encoder: expected it alone, got {', '.join(named)} too; remove one of them")
        parsed.update(dataclasses.asdict(handles_of(encoder, preprocess)))
    elif preprocess:
        raise ConfigError("preprocess: expected it together with encoder; add that, or give model_to_handle instead")
    for options in (DataOptions, ModelOptions, TrainingOptions):
        options(**{item.name: parsed[item.name] for item in dataclasses.fields(options) if item.name in parsed})
    return Hyperparameters(parsed, **of_the_job)


def hyperparameter_types() -> dict[str, type]:
    """Every hyperparameter and its type."""
    types: dict[str, type] = dict(_OF_THE_JOB)
    for options in (DataOptions, ModelOptions, TrainingOptions):
        types.update(typing.get_type_hints(options))
    return types


def _parsed(name: str, value: Any, kind: type) -> Any:
    if not isinstance(value, str):
        if kind in (str, bool) and not isinstance(value, kind):
            raise ConfigError(f"{name}: expected {_EXPECTED[kind]}, got {value!r:.80}")
        return value
    try:
        return _PARSERS.get(kind, json.loads)(value)
    except ValueError:
        raise ConfigError(
            f"{name}: expected {_EXPECTED.get(kind, 'a JSON object of strings')}, got {value!r:.80}"
        ) from None


_PARSERS: dict[type, Callable[[str], Any]] = {str: str, bool: parse_switch, int: parse_whole, float: parse_number}
_EXPECTED = {
    str: "a text",
    bool: EXPECTED_SWITCH,
    int: "a whole number",
    float: "a number",
}
