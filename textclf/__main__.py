"""Console script `textclf`: the commands of the stage files; a stage is imported when its command runs."""

import copy
import functools
import importlib
import os
import re
import sys
from typing import Any

import click

import textclf
from textclf.cli.commands import Command, Group
from textclf.stages import STAGES

_OWN = {"textclf", "serving", *STAGES}
# Extra that installs the missing packages of a command; every other command can only miss those of training.
_EXTRAS = {
    "serve": "serve",
    "check": "monitor",
    "watch": "monitor",
    "sample": "monitor",
    "labels": "monitor",
    "versions": "monitor",
}
# The same of packages, whatever the command.
_EXTRAS_OF_PACKAGES = {
    "optuna": "tune",
    "plotly": "tune",
    "tokenizers": "hub",
    "safetensors": "hub",
    "onnx": "onnx",
    "mlflow": "mlflow",
    "pandas": "mlflow",
}
# Distributions that are not named like their modules.
_DISTRIBUTIONS = {"mlflow": "mlflow-skinny", "sklearn": "scikit-learn", "official": "tf-models-official"}
# Commands of inference.py that load no model: of the options before the command, they take --model-path only.
_OF_STORE = ("versions", "inspect", "compare")
_EXAMPLE = re.compile(r"python (\w+)\.py(?P<model> --model-path \S+)?(?: (?P<command>[a-z][a-z-]*))?")


class _StageCommand(Command):
    """Stands for a command of a stage file, or for all its commands, until it runs."""

    def __init__(self, name: str, stage: str, command: str, summary: str) -> None:
        super().__init__(name, short_help=summary)
        self.stage = stage
        self.command = command

    def load(self) -> Any:
        """Import the stage and return its command, with the options that the stage takes before the command."""
        main = importlib.import_module(self.stage).main
        if not self.command:
            return _renamed(main, self.name)
        loaded = _renamed(main.commands[self.command], self.name)
        is_needed = {"model_path"}.__contains__ if self.command in _OF_STORE else bool
        if shared := [option for option in main.params if option.expose_value and is_needed(str(option.name))]:
            loaded.callback = functools.partial(_run_both, main, loaded.callback)
            loaded.params = [*map(_with_both_names, shared), *loaded.params]
        return loaded


class _Commands(Group):
    """A group in the order of its table, whose help and completion import no stage."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The commands' names."""
        return list(self.commands)

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[Any, Any, list[str]]:
        """As click.Group does, with the stage imported."""
        name, command, rest = super().resolve_command(ctx, args)
        ctx.invoked_subcommand = name  # click sets it after this import, which may fail.
        try:
            return name, command.load() if isinstance(command, _StageCommand) else command, rest
        except ModuleNotFoundError as error:
            if not ctx.resilient_parsing or _top(error) in _OWN:
                raise
            return name, command, rest  # Completion goes on without the command's own options.

    def invoke(self, context: click.Context) -> Any:
        """Run a command; a missing package is one line that names the extra with it, and exit status 1."""
        try:
            return super().invoke(context)
        except ModuleNotFoundError as error:
            missing, name = _top(error), str(context.invoked_subcommand)
            if missing in STAGES:  # The image that serves leaves out the stages that train.
                click.echo(
                    f"error: textclf {name} needs {missing}.py, found none; run it where models are trained", err=True
                )
                sys.exit(1)
            if missing in _OWN or context.parent:
                raise
            extra = _EXTRAS_OF_PACKAGES.get(missing, _EXTRAS.get(name, "train"))
            package = _DISTRIBUTIONS.get(missing, missing)
            click.echo(f"error: textclf {name} needs {package}; install textclf with its extra `{extra}`", err=True)
            sys.exit(1)


def _top(error: ModuleNotFoundError) -> str:
    return str(error.name).split(".")[0]


def _run_both(main: Any, callback: Any, **values: Any) -> Any:
    """Call a stage's group with its own options, then a command with the rest."""
    context = click.get_current_context()
    of_main = {str(option.name): values.pop(str(option.name), None) for option in main.params if option.expose_value}
    context.invoke(main.callback, **of_main)
    return context.invoke(callback, **values)


def _renamed(command: Any, name: str | None) -> Any:
    """A copy of a command under another name, with examples as they are typed for this script."""
    renamed = copy.copy(command)
    renamed.name = name
    renamed.help = _EXAMPLE.sub(_as_typed, command.help or "")
    renamed.params = [_with_both_names(option) for option in command.params]
    if isinstance(command, click.Group):
        renamed.commands = {name: _renamed(one, name) for name, one in command.commands.items()}
    return renamed


def _with_both_names(option: click.Parameter) -> click.Parameter:
    """The stages call the model store --model-path or --model-dir; here every command takes both."""
    names = ["--model-path", "--model-dir"]
    if not set(names) & set(option.opts):
        return option
    option = copy.copy(option)
    option.opts = [*option.opts, *(name for name in names if name not in option.opts)]
    # All given values reach the callback, which refuses two different ones.
    option.multiple, option.callback = True, functools.partial(_one_store, option.callback)
    option.default = () if option.default is None else (option.default,)
    return option


def _one_store(callback: Any, context: click.Context, parameter: click.Parameter, values: tuple[Any, ...]) -> Any:
    if len(set(values)) > 1:
        raise click.BadParameter(f"expected one model store, got {' and '.join(map(str, values))}", param=parameter)
    value = values[0] if values else None
    return callback(context, parameter, value) if callback else value


def _as_typed(example: re.Match[str]) -> str:
    stage, command = example[1], example["command"] or ""
    words = _WORDS.get((stage, command)) or f"{_WORDS.get((stage, ''), stage)} {command}"
    return f"textclf {words.strip()}{example['model'] or ''}"


@click.command(cls=Command, short_help="Serve the current version over HTTP.")
@click.option(
    "--model-path",
    "--model-dir",
    metavar="DIR",
    multiple=True,
    callback=functools.partial(_one_store, None),
    show_default="MODEL_PATH, else PREFIX/model",
    help="The model store, or another place that MODEL_PATH can name.",
)
def serve(model_path: str | None) -> int:
    """Serve a model on HOST:PORT until SIGTERM, with nginx in front if it is installed.

    All other settings are environment variables, as for serving/serve.

    \b
    Example:
      PORT=9000 NGINX=off textclf serve --model-path my-models
    """
    importlib.import_module("gunicorn")  # A missing extra is found here, not in a child process.
    launcher = importlib.import_module("serving.server.launcher")
    return int(launcher.run({**os.environ, **({"MODEL_PATH": model_path} if model_path else {})}))


@click.command(cls=Command, short_help="Ask the server on HOST:PORT whether it is ready.")
def healthcheck() -> None:
    """Exit with 0 if the server that HOST and PORT describe is ready, else with 1."""
    importlib.import_module("serving.server.healthcheck").main()


_VERSIONS = [
    _StageCommand("list", "inference", "versions", "List the versions of a store."),
    _StageCommand("inspect", "inference", "inspect", "Show the metrics and settings of a version."),
    _StageCommand("compare", "inference", "compare", "Compare two versions."),
    _StageCommand(
        "unsure", "textclf.evaluation.unsure_command", "", "Mark the predictions that a version is unsure of."
    ),
    _StageCommand("promote", "retraining", "promote", "Make a version current."),
    _StageCommand("rollback", "retraining", "rollback", "Go back to an earlier version and hold promotions."),
    _StageCommand("lift-hold", "retraining", "lift-hold", "Allow promotions again after a rollback."),
    _StageCommand("history", "retraining", "history", "Show all decisions about versions."),
]


@click.group(cls=_Commands, commands=_VERSIONS, short_help="List, compare, promote and roll back versions.")
def versions() -> None:
    """List, compare, promote and roll back the versions of a model store."""


_COMMANDS = [
    _StageCommand("data", "initializing", "", "Download, check and preview data sets."),
    _StageCommand("model", "make_model", "", "Look at an encoder and its classifier."),
    _StageCommand("train", "train_model", "", "Fine-tune an encoder and save a version."),
    _StageCommand("tune", "textclf.tuning.command", "", "Search for better options of a training."),
    _StageCommand("import", "textclf.importing.command", "", "Save a Hugging Face classifier as a version."),
    _StageCommand("export", "textclf.exporting.command", "", "Write a version for other software."),
    _StageCommand("score", "inference", "score", "Score a table of texts."),
    _StageCommand("explain", "inference", "explain", "Show which words speak for a prediction."),
    _StageCommand("live", "inference", "live", "Score texts as you type them."),
    _StageCommand("batch", "inference", "batch", "Score random files of a data set."),
    serve,
    healthcheck,
    _StageCommand("check", "monitoring", "check", "Compare recent texts with the training data."),
    _StageCommand("watch", "monitoring", "watch", "Check for drift again and again."),
    _StageCommand("sample", "monitoring", "sample", "Draw logged texts to label into a file."),
    _StageCommand("labels", "monitoring", "labels", "Import and export labels."),
    _StageCommand("retrain", "retraining", "run", "Train on old and new texts; promote if the gate agrees."),
    versions,
]
_WORDS = {
    (one.stage, one.command): f"{prefix}{one.name}"
    for prefix, commands in (("", _COMMANDS), ("versions ", _VERSIONS))
    for one in commands
    if isinstance(one, _StageCommand)
}


def _show_version(context: click.Context, _parameter: click.Parameter, is_asked: bool) -> None:
    if is_asked:
        click.echo(textclf.__version__)
        context.exit()


@click.group(cls=_Commands, commands=_COMMANDS)
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_show_version, help="Show the version."
)
def main() -> None:
    """Train, serve, watch and retrain text classifiers.

    \b
    Examples:
      textclf train --dataset-path data/sample --encoder minilm-l6 --model-dir my-models
      textclf score --model-path my-models --input reviews.csv --output scored.jsonl
      textclf serve --model-path my-models
      textclf versions list --model-path my-models
    """


if __name__ == "__main__":
    main()
