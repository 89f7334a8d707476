"""`textclf export`: write a version as a folder for other software."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import click

from textclf.cli.commands import Command
from textclf.errors import ConfigError
from textclf.exporting.exported_model import differences, read_model
from textclf.exporting.hugging_face import write_hugging_face
from textclf.exporting.mlflow_model import MLFLOW_DIFFERENCE, checked_version, write_mlflow
from textclf.exporting.mlflow_registry import check_registration
from textclf.exporting.mlflow_registry import register as register_version
from textclf.exporting.onnx_model import write_onnx
from textclf.files import atomic_folder
from textclf.store.manifest import Manifest
from textclf.store.model_store import ModelVersion, find_version

_PATH = click.Path(path_type=Path)


class _Format(NamedTuple):
    """A kind of folder: what is read before the folder is made, what writes it, and how it differs from the version."""

    read: Callable[[ModelVersion], Any]
    write: Callable[[Any, Path], None]
    differences: Callable[[Manifest], list[str]]


_FORMATS: Mapping[str, _Format] = {
    "huggingface": _Format(read_model, write_hugging_face, differences),
    "onnx": _Format(read_model, write_onnx, differences),
    "mlflow": _Format(checked_version, write_mlflow, lambda _: [MLFLOW_DIFFERENCE]),
}


@click.command(cls=Command, name="export")
@click.argument("version", metavar="[ID]", required=False)
@click.option("--to", "target", type=click.Choice(list(_FORMATS)), required=True, help="Software that will read it.")
@click.option("--output", type=_PATH, required=True, metavar="DIR", help="Folder to write; it must not exist.")
@click.option("--model-dir", type=_PATH, default=Path("model"), metavar="DIR", help="Model store.")
@click.option(
    "--register",
    metavar="NAME",
    help="Registered model at the MLflow server in MLFLOW_TRACKING_URI that gets the folder, once per version.",
)
@click.option("--alias", help="Alias of the registered model to move to this version, such as current.")
def main(
    version: str | None, target: str, output: Path, model_dir: Path, register: str | None, alias: str | None
) -> None:
    """Write the current version, or ID (also a version's folder), for other software.

    For huggingface and onnx the folder contains the encoder in float32, its tokenizer and a model card. The card tells
    what differs from the version. For mlflow it contains the version's files, and predicts as the version does. The
    complete folder appears at the end.

    \b
    Examples:
      textclf export --to huggingface --output my-classifier --model-dir my-models
      textclf export --to onnx --output my-onnx --model-dir my-models
      textclf export --to mlflow --output my-mlflow --model-dir my-models
    """
    check_registration(register, alias, target, os.environ)
    found = find_version(model_dir, version)
    export(found, target, output)
    click.echo(f"{output}: version {found.id} for {target}")
    for sentence in _FORMATS[target].differences(found.manifest):
        click.echo(f"  {sentence}")
    if register is not None:
        number = register_version(output, found.id, register, alias)
        click.echo(f"{register}: version {number}{f', alias {alias}' if alias else ''}")


def export(version: ModelVersion, target: str, output: Path) -> None:
    """Write a version into a new folder.

    Args:
        version: it needs its part `engine`.
        target: "huggingface", "onnx" or "mlflow".
        output: the folder; an empty one is replaced.

    Raises:
        ConfigError: if the folder is not empty, or the target has no form for such a model.
        ModelStoreError: if the version has no engine, or it is damaged.
        ModuleNotFoundError: if a package is missing.
    """
    if output.is_symlink() or (output.exists() and (not output.is_dir() or any(output.iterdir()))):
        raise ConfigError(f"--output {output}: expected a new or empty folder, found other files; name another one")
    model = _FORMATS[target].read(version)
    if output.exists():
        output.rmdir()  # A file that appears there meanwhile is not replaced.
    with atomic_folder(output) as folder:
        _FORMATS[target].write(model, folder)
