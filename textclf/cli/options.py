"""Command-line options made from the fields of option classes (textclf.fields), as decorators of click commands."""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from textclf.config import RECIPES, DataOptions, EncoderOptions, ModelOptions, TrainingOptions
from textclf.encoder_handles import handles_of
from textclf.fields import REQUIRED, Rule, default_of, rules
from textclf.label_column import label_text

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]
_MODEL_FIELDS = ("max_length", "truncation", "head_fraction", "dropout", "pooling", "windows")


class FieldOption(click.Option):
    """Shows the bounds of a number in --help; a duration is not one."""

    def __init__(self, *args: Any, rule: Rule, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.rule = rule

    def get_help_extra(self, ctx: click.Context) -> Any:
        """The default and the bounds."""
        extra = super().get_help_extra(ctx)
        return {**extra, "range": self.rule.values} if self.type in (click.INT, click.FLOAT) else extra


def field_option(options: type, name: str, *, is_checked: bool = False, **changes: Any) -> Decorator:
    """A command-line option for a field.

    Args:
        options: option class.
        name: name of the field and of the command's argument.
        is_checked: treat a refused value as a usage error; otherwise the option class raises ConfigError.
        changes: other arguments for click.option.
    """
    rule, default = rules(options)[name], default_of(options, name)
    arguments: dict[str, Any] = {
        "cls": FieldOption,
        "rule": rule,
        "help": rule.help,
        "metavar": rule.metavar,
        "envvar": rule.envvar,
        "show_envvar": rule.envvar is not None,
        "show_default": rule.shown or (None if default != "" else False),
        **({"required": True} if default is REQUIRED else {"default": default}),
        **_KINDS.get(rule.kind, {"type": rule.kind}),
    }
    if rule.choices:
        arguments["type"] = click.Choice(rule.choices)
    if is_checked:
        arguments["callback"] = functools.partial(_checked, rule)
    if rule.kind is bool:
        arguments["is_flag"] = True
    return click.option(*_flag(name, rule).split(", "), name, **{**arguments, **changes})


def arguments_of(options: Any) -> list[str]:
    """The command-line arguments that make this record of options; values that are the default are left out."""
    words = []
    for name, rule in rules(type(options)).items():
        value, flag = getattr(options, name), _flag(name, rule).split(", ")[-1]
        if value == default_of(type(options), name):
            continue
        if rule.kind is bool:
            switched_on, _, switched_off = flag.partition("/")
            words.append(switched_on if value else switched_off)
        else:
            values = [f"{old}={new}" for old, new in value.items()] if rule.kind is dict else [value]
            for one in value if rule.kind is tuple else values:
                words += [flag, str(one)]
    return words


def field_options(options: type, *names: str, **changes: Any) -> dict[str, Decorator]:
    """Options for these fields, or for all of them, by name; `changes` are arguments of field_option."""
    return {name: field_option(options, name, **changes) for name in names or rules(options)}


def add_options(options: Mapping[str, Decorator]) -> Decorator:
    """Decorate a click command: it gets the value of each option under the option's name."""

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        for decorator in reversed(list(options.values())):  # --help lists the one last that decorates first.
            command = decorator(command)
        return command

    return decorate


def record_options(argument: str, make: Callable[..., Any], options: Mapping[str, Decorator]) -> Decorator:
    """Decorate a click command: it gets the record that `make` makes of the values as keyword `argument`."""

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(command)
        def with_record(*args: Any, **kwargs: Any) -> Any:
            record = make(**{name: kwargs.pop(name) for name in options})
            return command(*args, **{argument: record}, **kwargs)

        return add_options(options)(with_record)

    return decorate


def changed_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Decorate a click command: it gets a dict `changes` of the options that the command line sets.

    These are fields of DataOptions, ModelOptions and TrainingOptions; all others are the current version's.
    """

    def make(**values: Any) -> dict[str, Any]:
        source_of = click.get_current_context().get_parameter_source
        changes = {name: value for name, value in values.items() if source_of(name) is not ParameterSource.DEFAULT}
        encoder, preprocess = changes.pop("encoder", None), changes.pop("preprocess", "")
        if encoder is None and preprocess:
            raise click.UsageError("--preprocess needs --encoder: give both")
        if encoder is not None:
            changes |= dataclasses.asdict(handles_of(encoder, preprocess))
        return changes

    options = {
        **field_options(DataOptions, show_default=False),
        **_encoder_fields(show_default=False),
        **field_options(TrainingOptions, show_default=False),
        "recipe": _recipe_option(
            "With auto the number of labels chooses options that are not given; none keeps the recorded ones.",
            default="none",
        ),
    }
    del options["read_test"]  # Without a test part there is nothing to compare on.
    return record_options("changes", make, options)(command)


def given_options(options: type) -> dict[str, Any]:
    """The fields of an option class that the command line or the configuration file of the running command sets."""
    context = click.get_current_context()
    given = {name: context.get_parameter_source(name) for name in rules(options) if name in context.params}
    unset = (ParameterSource.DEFAULT, None)
    return {name: context.params[name] for name, source in given.items() if source not in unset}


class _Renaming(click.ParamType[Any]):
    """OLD=NEW as a pair; a pair from a configuration file stays as it is."""

    name = "renaming"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        # An old name may contain "=", a new one does not.
        old, _, new = str(value).rpartition("=")
        pair: tuple[str, str] = value if isinstance(value, tuple) else (old, new)
        if not pair[0] or label_text(pair[1]) is None:
            self.fail(f"expected OLD=NEW, got {value!r}", param, ctx)
        return pair


def renames(_context: click.Context, _parameter: click.Parameter, pairs: tuple[tuple[str, str], ...]) -> dict[str, str]:
    """Callback of an option with values OLD=NEW: new names by old names."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise click.BadParameter("one label is renamed twice")
    return found


def _flag(name: str, rule: Rule) -> str:
    return rule.flag or f"--{name.replace('_', '-')}"


_KINDS: dict[type, dict[str, Any]] = {
    bool: {},
    Path: {"type": click.Path(path_type=Path)},
    dict: {"type": _Renaming(), "multiple": True, "callback": renames, "default": ()},
    tuple: {"multiple": True},
}


def _checked(rule: Rule, _context: click.Context, parameter: click.Parameter, value: Any) -> Any:
    if not rule.holds(value):
        raise click.BadParameter(f"expected {rule.expected}, got {value!r:.40}", param=parameter)
    return value


def _encoder_fields(**changes: Any) -> dict[str, Decorator]:
    return field_options(EncoderOptions, **changes) | field_options(ModelOptions, *_MODEL_FIELDS, **changes)


def _recipe_option(help: str, default: str) -> Decorator:
    return click.option("--recipe", type=click.Choice(RECIPES), default=default, help=help)


def _model_options(encoder: str, preprocess: str, **values: Any) -> ModelOptions:
    return ModelOptions(**dataclasses.asdict(handles_of(encoder, preprocess)), **values)


recipe_option = _recipe_option(
    "With auto the number of labels per class chooses options; an option that is given stays as it is.", default="auto"
)
dataset_path_option = click.option(
    "--dataset-path", required=True, help="Data set: an archive, a folder, or a table (CSV, JSON, Parquet, …)."
)
model_name_option = click.option("--name", default="", show_default="by data and encoder", help="Name of the model.")
data_dir_option = click.option(
    "--data-dir", default="datasets", metavar="DIR", help="Folder for downloads and unpacked archives."
)
runs_dir_option = click.option(
    "--runs-dir", default="runs", metavar="DIR", help="Folder for checkpoints and TensorBoard logs."
)
# Each decorates a click command, which gets the record as the keyword argument of that name.
dataset_options = record_options("data_options", DataOptions, field_options(DataOptions))
encoder_options = record_options("model_options", _model_options, _encoder_fields())
training_options = record_options("training_options", TrainingOptions, field_options(TrainingOptions))
# Give a command that reads the data of a version the fields that may differ from those of its training.
reading_options = add_options(
    field_options(
        DataOptions,
        *("text_column", "label_column", "rename_labels", "encoding"),
        *("skip_bad", "read_validation", "near_duplicates"),
        show_default=False,
    )
)
# The options of a training that a version records.
recorded_options: dict[str, Decorator] = {
    "dataset_path": dataset_path_option,
    **_encoder_fields(),
    **field_options(TrainingOptions),
    "recipe": recipe_option,
    **field_options(DataOptions),
    "name": model_name_option,
}
