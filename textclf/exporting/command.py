"""`textclf export`: write a version as a folder for other software."""

from collections.abc import Callable, Mapping
from pathlib import Path

import click

from textclf.cli.commands import Command
from textclf.errors import ConfigError
from textclf.exporting.exported_model import ExportedModel, differences, read_model
from textclf.exporting.hugging_face import write_hugging_face
from textclf.exporting.onnx_model import write_onnx
from textclf.files import atomic_folder
from textclf.store.model_store import ModelVersion, find_version

_PATH = click.Path(path_type=Path)
_FORMATS: Mapping[str, Callable[[ExportedModel, Path], None]] = {"huggingface": write_hugging_face, "onnx": write_onnx}


@click.command(cls=Command, name="export")
@click.argument("version", metavar="[ID]", required=False)
@click.option("--to", "target", type=click.Choice(list(_FORMATS)), required=True, help="Software that will read it.")
@click.option("--output", type=_PATH, required=True, metavar="DIR", help="Folder to write; it must not exist.")
@click.option("--model-dir", type=_PATH, default=Path("model"), metavar="DIR", help="Model store.")
def main(version: str | None, target: str, output: Path, model_dir: Path) -> None:
    """Write the current version, or ID (also a version's folder), for other software.

    The folder contains the encoder in float32, its tokenizer and a model card. The card tells what differs from the
    version. The complete folder appears at the end.

    \b
    Examples:
      textclf export --to huggingface --output my-classifier --model-dir my-models
      textclf export --to onnx --output my-onnx --model-dir my-models
    """
    found = find_version(model_dir, version)
    export(found, target, output)
    click.echo(f"{output}: version {found.id} for {target}")
    for sentence in differences(found.manifest):
        click.echo(f"  {sentence}")


def export(version: ModelVersion, target: str, output: Path) -> None:
    """Write a version into a new folder.

    Args:
        version: it needs its part `engine`.
        target: "huggingface" or "onnx".
        output: the folder; an empty one is replaced.

    Raises:
        ConfigError: if the folder is not empty, or the target has no form for such a model.
        ModelStoreError: if the version has no engine, or it is damaged.
        ModuleNotFoundError: if a package is missing.
    """
    if output.is_symlink() or (output.exists() and (not output.is_dir() or any(output.iterdir()))):
        raise ConfigError(f"--output {output}: expected a new or empty folder, found other files; name another one")
    model = read_model(version)
    if output.exists():
        output.rmdir()  # A file that appears there meanwhile is not replaced.
    with atomic_folder(output) as folder:
        _FORMATS[target](model, folder)
