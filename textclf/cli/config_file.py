"""Configuration files: `--config FILE` gives a command its options, `--print-config` prints them as such a file.

A file is a flat TOML table. Its keys are the names of the command's options in Python, such as `max_length`. The
command line overrides the file. Paths in it are relative to the current folder, as on the command line.
"""

import copy
import difflib
import json
import textwrap
import tomllib
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from textclf.cli.commands import Command
from textclf.cli.options import Decorator, FieldOption, add_options
from textclf.config import RECIPE_OPTIONS
from textclf.errors import ConfigError
from textclf.urls import public_handle

_OWN = ("config", "print_config")
_WIDTH = 100
_EXPECTED = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a text in quotes",
    tuple: 'a list of texts, ["…", "…"]',
    dict: 'a table of texts, { "OLD" = "NEW" }',
}


class ConfiguredCommand(Command):
    """A Command with --config and --print-config."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        at_end = len(self.params) - 1  # Before --verbose.
        self.params[at_end:at_end] = [
            click.Option(
                ["--config"],
                type=click.Path(path_type=Path),
                metavar="FILE",
                expose_value=False,
                help="TOML file with options; the command line overrides it.",
            ),
            click.Option(
                ["--print-config"],
                is_flag=True,
                expose_value=False,
                help="Print the options as a file for --config, and exit.",
            ),
        ]

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """As click.Command does, with the options of the file as defaults."""
        if ctx.resilient_parsing:
            return super().parse_args(ctx, args)
        given = self.make_parser(ctx).parse_args(args=list(args))[0]
        if path := given.get("config"):
            ctx.default_map = read_config(Path(path), self.params, ctx)
        command = self
        if given.get("print_config"):  # A missing option is printed as a comment.
            command = copy.copy(self)
            command.params = [_optional(option) for option in self.params]
        rest = super(ConfiguredCommand, command).parse_args(ctx, args)
        if given.get("print_config"):
            click.echo(config_text(self.params, ctx.params, _head(ctx), _without_default(self.params, ctx)), nl=False)
            ctx.exit()
        return rest


def read_config(path: Path, params: Iterable[click.Parameter], ctx: click.Context) -> dict[str, Any]:
    """The values of a file, as defaults for click; each was checked against its option.

    Raises:
        click.UsageError: if the file can't be read or is not TOML, a key is unknown, or a value is not accepted.
    """
    try:
        found = tomllib.loads(path.read_bytes().decode("utf-8-sig"))
    except OSError as error:
        raise click.UsageError(f"--config {path}: can't be read ({error.strerror}); check the path") from None
    except ValueError as error:
        raise click.UsageError(f"{path}: expected a TOML file in UTF-8, got other text: {error}") from None
    options = {str(option.name): option for option in _options(params)}
    values = {}
    for key, value in found.items():
        if key not in options:
            raise click.UsageError(f"{path}: {key}: unknown option; {_nearest(key, options)}")
        values[key] = _checked(path, options[key], value, ctx)
    return values


def config_text(
    params: Iterable[click.Parameter],
    values: Mapping[str, Any],
    head: Sequence[str] = (),
    unset: Collection[str] = (),
) -> str:
    """A configuration file: every option with its help as a comment, and its value.

    Options are commented out if they are in `unset`, or their value is None or contains a secret. `head` are comments
    for the beginning.

    Raises:
        ConfigError: if TOML can't hold a value, such as a path that is not UTF-8.
    """
    # A new context, because the help of an option shows the default in the file otherwise.
    blank = click.Context(click.Command("config"), show_default=True)
    lines = _comments(*head)
    for option in _options(params):
        name = str(option.name)
        record = option.get_help_record(blank)
        lines += ["", *_comments(record[1] if record else "")]
        value = values.get(name)
        if name in unset or value is None:
            lines.append(f"#{name} =")
        elif isinstance(value, str) and public_handle(value) != value:
            lines += _comments(f"Not printed, because it may contain a secret; give {option.opts[0]} again.")
            lines.append(f"#{name} = {_toml(name, public_handle(value))}")
        else:
            lines.append(f"{name} = {_toml(name, value)}")
    return "\n".join(lines).lstrip("\n") + "\n"


def options_of(decorators: Mapping[str, Decorator]) -> list[click.Parameter]:
    """The click options that decorators add to a command."""
    return click.command()(add_options(decorators)(lambda **_: None)).params


def _options(params: Iterable[click.Parameter]) -> list[click.Option]:
    return [one for one in params if isinstance(one, click.Option) and one.expose_value and one.name not in _OWN]


def _optional(option: click.Parameter) -> click.Parameter:
    option = copy.copy(option)
    option.required = False
    return option


def _head(ctx: click.Context) -> tuple[str, ...]:
    return (
        f"Options of {ctx.command_path}. Use this file with: {ctx.command_path} --config FILE",
        "The command line overrides the file. Paths are relative to the current folder. Remove the # before an option "
        "to set it.",
    )


def _without_default(params: Iterable[click.Parameter], ctx: click.Context) -> set[str]:
    """The options that are not given, and whose default depends on something else: --help shows none, or a recipe."""
    by_recipe = RECIPE_OPTIONS if ctx.params.get("recipe") == "auto" else ()
    return {
        str(option.name)
        for option in _options(params)
        if (option.show_default is False or option.name in by_recipe)
        and ctx.get_parameter_source(str(option.name)) is ParameterSource.DEFAULT
    }


def _kind(option: click.Option) -> type:
    """The type of an option's value in a file."""
    if isinstance(option, FieldOption):
        return option.rule.kind if option.rule.kind in _EXPECTED else str
    if option.is_flag:
        return bool
    return {click.INT: int, click.FLOAT: float}.get(option.type, str)


def _checked(path: Path, option: click.Option, value: Any, ctx: click.Context) -> Any:
    """The value of a key as click takes it."""
    kind = _kind(option)
    expected = _EXPECTED[kind]
    is_right = _is_a(kind, value)
    if is_right and isinstance(option, FieldOption) and kind is option.rule.kind:
        expected = option.rule.expected if kind not in (tuple, dict) else expected
        is_right = option.rule.holds(value)
    if not is_right:
        raise click.UsageError(f"{path}: {option.name}: expected {expected}, got {_shown(value)}")
    if kind is dict:
        value = tuple(value.items())
    elif kind is not tuple and option.multiple:
        value = (value,)
    try:
        option.process_value(ctx, value)
    except click.BadParameter as error:
        raise click.UsageError(f"{path}: {option.name}: {error.message}") from None
    return value


def _is_a(kind: type, value: object) -> bool:
    if kind is dict:
        return isinstance(value, dict) and all(isinstance(item, str) for item in value.values())
    if kind is tuple:
        return isinstance(value, list) and all(isinstance(item, str) for item in value)
    if isinstance(value, bool) or kind is bool:
        return isinstance(value, bool) and kind is bool
    return isinstance(value, (int, float) if kind is float else kind)


def _shown(value: object) -> str:
    return f"{value!r:.60}" if not isinstance(value, bool) else str(value).lower()


def _nearest(key: str, options: Mapping[str, click.Option]) -> str:
    """A hint at the option that is meant: the one with this flag, or the most similar name."""
    by_flag = {flag.lstrip("-"): name for name, option in options.items() for flag in option.opts}
    if key in by_flag:
        return f"write it as {by_flag[key]}"
    found = difflib.get_close_matches(key.replace("-", "_"), options, n=1, cutoff=0)
    return f"the nearest known name is {found[0]} (--print-config shows all)"


def _comments(*texts: str) -> list[str]:
    printable = ("".join(char if char.isprintable() else "�" for char in text) for text in texts)
    return [f"# {line}" for text in printable for line in textwrap.wrap(text, _WIDTH - 2, break_on_hyphens=False)]


def _toml(name: str, value: Any) -> str:
    if isinstance(value, Path):
        value = str(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        text = json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
        if any("\ud800" <= char <= "\udfff" for char in text):
            raise ConfigError(f"{name}: expected a text that a UTF-8 file can hold, got {value!r}; rename the file")
        return text
    if isinstance(value, Mapping):
        items = ", ".join(f"{_toml(name, key)} = {_toml(name, item)}" for key, item in value.items())
        return f"{{ {items} }}" if items else "{}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(_toml(name, item) for item in value)}]"
    return repr(value)
