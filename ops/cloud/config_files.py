"""Configuration files of the cloud commands: parts of AWS requests, as JSON or TOML, with AWS's names.

A file may contain the placeholders <ROLE> and <BUCKET>, which --role and --bucket fill, and <JOB_NAME>. Keys that a
command fills itself, such as the image, are refused, so that a file never contradicts the request.
"""

import json
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ops.cloud.shapes import check_part
from textclf.errors import ConfigError

FOLDER = Path(__file__).parents[1] / "config"
ROLE, BUCKET, JOB_NAME = "<ROLE>", "<BUCKET>", "<JOB_NAME>"
_PLACEHOLDER = re.compile(r"<[A-Z][A-Z_-]*>")
_OPTIONS = {ROLE: "--role", BUCKET: "--bucket"}


@dataclass(frozen=True)
class ConfigFile:
    """A kind of configuration file.

    Attributes:
        name: file name without its ending.
        shape: AWS's name of the part of a request that the file contains.
        filled: keys that the command fills, with the reason; "a.b" is a key inside the object a.
    """

    name: str
    shape: str
    filled: Mapping[str, str]


_FROM_IMAGE = "the command takes it from the argument IMAGE"
_FROM_NAME = "the command takes it from the name"
TRAINING = ConfigFile(
    "training-job-definition",
    "HyperParameterTrainingJobDefinition",
    {
        "AlgorithmSpecification.TrainingImage": _FROM_IMAGE,
        "AlgorithmSpecification.AlgorithmName": _FROM_IMAGE,
        "AlgorithmSpecification.MetricDefinitions": "the command makes it from the metrics that train prints",
        "DefinitionName": "each tuning job has one definition",
        "TuningObjective": "the file hyperparameter-job-config has the objective",
        "HyperParameterRanges": "the command makes it from the search space of textclf tune",
        "StaticHyperParameters": "the option --hyperparameters names their file",
    },
)
TUNING = ConfigFile(
    "hyperparameter-job-config",
    "HyperParameterTuningJobConfig",
    {"ParameterRanges": "the command makes it from the search space of textclf tune"},
)
WARM_START = ConfigFile(
    "warm-start-config",
    "HyperParameterTuningJobWarmStartConfig",
    {"ParentHyperParameterTuningJobs": "the option --parent names them"},
)
MODEL = ConfigFile(
    "model",
    "CreateModelInput",
    {
        "ModelName": _FROM_NAME,
        "PrimaryContainer": _FROM_IMAGE,
        "Containers": _FROM_IMAGE,
        "Tags": "the file tags has them",
    },
)
VARIANT = ConfigFile(
    "production-variant",
    "ProductionVariant",
    {
        "ModelName": _FROM_NAME,
        "VariantName": "an endpoint has one variant",
        "ServerlessConfig": "the option --serverless makes it",
    },
)
EXPLAINER = ConfigFile("explainer-config", "ClarifyExplainerConfig", {})
TRANSFORM = ConfigFile(
    "transform-job",
    "CreateTransformJobRequest",
    {
        "TransformJobName": _FROM_NAME,
        "ModelName": _FROM_NAME,
        "Tags": "the file tags has them",
        "Environment": "the option --env has it",
        "TransformInput.DataSource": "the command takes it from the option --input",
        "TransformOutput.S3OutputPath": "the command takes it from the option --output",
    },
)


def read_part(folder: Path, kind: ConfigFile, values: Mapping[str, str]) -> dict[str, Any]:
    """The content of a configuration file, with its placeholders filled.

    Args:
        folder: folder with the file.
        kind: which file.
        values: text for each placeholder; "" if it was not given.

    Raises:
        ConfigError: if the file is missing or damaged, a key is unknown or filled by the command, a value is not
            accepted, or a placeholder has no value.
    """
    path = _find(folder, kind.name)
    if path is None:
        raise ConfigError(f"{folder / kind.name}.json: expected this file or one with .toml, found neither; add it")
    part = fill_placeholders(_read(path), values, str(path))
    if not isinstance(part, dict):
        raise ConfigError(f"{path}: expected an object, found {part!r:.60}; correct it")
    for key, reason in kind.filled.items():
        outer, _, inner = key.rpartition(".")
        inside = part.get(outer) if outer else part
        if isinstance(inside, dict) and inner in inside:
            raise ConfigError(f"{path}: {key} does not belong in this file: {reason}; remove it")
    check_part("sagemaker", kind.shape, part, str(path))
    return part


def read_tags(folder: Path) -> list[dict[str, str]]:
    """Tags of everything that the commands create: AWS's list of Key and Value, or an object of names and values.

    Raises:
        ConfigError: if the file is damaged, or a tag is not accepted.
    """
    path = _find(folder, "tags")
    if path is None:
        return []
    found = _read(path)
    tags = [{"Key": key, "Value": value} for key, value in found.items()] if isinstance(found, dict) else found
    check_part("sagemaker", "TagList", tags, str(path))
    return list(tags)


def read_hyperparameters(path: Path) -> dict[str, str]:
    """A file of hyperparameters as `train` takes it; all values are texts.

    Raises:
        ConfigError: if the file is missing or damaged, or `train` would refuse a hyperparameter.
    """
    from serving.sagemaker.hyperparameters import parse_hyperparameters

    found = _read(path)
    if not isinstance(found, dict):
        raise ConfigError(f"{path}: expected a JSON object of hyperparameters, found {found!r:.60}; correct it")
    texts = {name: value if isinstance(value, str) else json.dumps(value) for name, value in found.items()}
    try:
        parse_hyperparameters(texts)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error
    return texts


def fill_placeholders(value: Any, values: Mapping[str, str], path: str) -> Any:
    """`value` with the placeholders in its texts replaced.

    Raises:
        ConfigError: if a placeholder is unknown or has no value; the message begins with `path`.
    """
    if isinstance(value, dict):
        return {key: fill_placeholders(item, values, path) for key, item in value.items()}
    if isinstance(value, list):
        return [fill_placeholders(item, values, path) for item in value]
    if not isinstance(value, str):
        return value
    for placeholder in _PLACEHOLDER.findall(value):
        if not values.get(placeholder):
            option = _OPTIONS.get(placeholder)
            remedy = f"give {option}, or write it into the file" if option else "write it into the file"
            raise ConfigError(f"{path}: expected your value in place of {placeholder}; {remedy}")
        value = value.replace(placeholder, values[placeholder])
    return value


def _find(folder: Path, name: str) -> Path | None:
    """The file with this name and one of the endings.

    Raises:
        ConfigError: if there are two.
    """
    found = [path for ending in (".json", ".toml") if (path := folder / f"{name}{ending}").is_file()]
    if len(found) > 1:
        raise ConfigError(f"{found[0]}: expected one file, found {found[1].name} too; remove one of them")
    return found[0] if found else None


def _read(path: Path) -> Any:
    """The content of a JSON or TOML file.

    Raises:
        ConfigError: if it can't be read, is of another form, or has a key twice.
    """
    try:
        content = path.read_text(encoding="utf-8")
        return tomllib.loads(content) if path.suffix == ".toml" else json.loads(content, object_pairs_hook=_unique)
    except OSError as error:
        raise ConfigError(f"{path}: can't be read ({error.strerror}); check the path") from error
    except (ValueError, RecursionError) as error:  # Also if the file is not UTF-8, or nested too deeply.
        form = "TOML" if path.suffix == ".toml" else "JSON"
        raise ConfigError(f"{path}: expected {form} in UTF-8 ({error}); correct it") from error


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        repeated = next(key for key, _ in pairs if sum(key == other for other, _ in pairs) > 1)
        raise ValueError(f"the key {repeated!r} is there twice")
    return found
