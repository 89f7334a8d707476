"""SageMaker's hyperparameters, which are all strings, parsed by the rules of the option classes."""

import contextlib
import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from serving.sagemaker.json_files import read_object
from serving.sagemaker.other_names import translated
from textclf.config import RECIPES, DataOptions, EncoderOptions, ModelOptions, TrainingOptions
from textclf.encoder_handles import handles_of
from textclf.errors import ConfigError
from textclf.fields import Rule, choice, rules, switch, text

_OPTION_CLASSES = (DataOptions, ModelOptions, TrainingOptions)
# The short form `encoder` stands for these.
_HANDLES = ("model_name", "name_to_handle", "model_to_handle")
# Tuning jobs and SDKs add hyperparameters of their own.
_PLATFORM_PREFIXES = ("_tuning_", "sagemaker_")


@dataclass(frozen=True)
class Hyperparameters:
    """The hyperparameters of a training job.

    `options` has fields of DataOptions, ModelOptions and TrainingOptions; `notes` has sentences about names that were
    translated or left out.
    """

    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    notes: tuple[str, ...] = ()
    dataset_path: str = text("", "Path of the data set.", shown="the channels")
    url: str = text("", "Where to download the data set from, if it is not at dataset_path.")
    name: str = text("", "Name of the model.", shown="by data and encoder")
    promote: bool = switch(
        False, "Make the new version current; the first version of a store is, unless it is below its floor."
    )
    recipe: str = choice(
        "auto",
        "With auto the number of labels chooses options; a hyperparameter that is given stays as it is.",
        RECIPES,
    )


def read_hyperparameters(path: Path) -> Hyperparameters:
    """The hyperparameters in a JSON file; the defaults if there is no such file.

    Raises:
        ConfigError: if the file is not a JSON object, a name is unknown, or a value is refused.
    """
    given = read_object(path, "hyperparameters")
    try:
        return parse_hyperparameters(given)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error


def parse_hyperparameters(given: Mapping[str, Any]) -> Hyperparameters:
    """The hyperparameters from strings; a value that is not a string is used unchanged.

    SageMaker's Python SDK writes each value as JSON, so that a string has quotes around it; these are removed. Names
    that the platform adds (_tuning_…, sagemaker_…) are ignored. Names of another software stand for ours, or are noted.

    Raises:
        ConfigError: if a name is unknown, or a value has the wrong type or is outside its bounds.
    """
    known = hyperparameter_rules()
    own = {name: value for name, value in given.items() if not name.startswith(_PLATFORM_PREFIXES)}
    values, notes = translated(own)
    if unknown := sorted(set(values) - set(known)):
        raise ConfigError(
            f"unknown hyperparameter {', '.join(unknown)}; known are {', '.join(sorted(known))}: correct or remove it"
        )
    options = {name: _parsed(name, value, known[name]) for name, value in values.items()}
    job = {name: options.pop(name) for name in rules(Hyperparameters) if name in options}
    encoder, preprocess = options.pop("encoder", ""), options.pop("preprocess", "")
    if encoder:
        if named := [name for name in _HANDLES if name in options]:
            raise ConfigError(f"encoder: expected it alone, got {', '.join(named)} too; remove one of them")
        options.update(dataclasses.asdict(handles_of(encoder, preprocess)))
    elif preprocess:
        raise ConfigError("preprocess: expected it together with encoder; add that, or give model_to_handle instead")
    for group in _OPTION_CLASSES:
        group(**{name: options[name] for name in rules(group) if name in options})
    return Hyperparameters(options, notes, **job)


def hyperparameter_rules() -> dict[str, Rule]:
    """Every hyperparameter and its rule."""
    return {
        name: rule
        for group in (Hyperparameters, EncoderOptions, *_OPTION_CLASSES)
        for name, rule in rules(group).items()
    }


def _parsed(name: str, value: Any, rule: Rule) -> Any:
    try:
        parsed = rule.parse(_decoded(value)) if isinstance(value, str) else value
    except (ValueError, RecursionError):
        raise ConfigError(f"{name}: expected {rule.expected_text}, got {value!r:.80}") from None
    if not rule.holds(parsed):
        raise ConfigError(f"{name}: expected {rule.expected}, got {parsed!r:.80}")
    return parsed


def _decoded(value: str) -> str:
    """The string that a JSON string stands for; any other value unchanged."""
    if not value.startswith('"'):
        return value
    with contextlib.suppress(ValueError):
        decoded = json.loads(value)
        return decoded if isinstance(decoded, str) else value
    return value
