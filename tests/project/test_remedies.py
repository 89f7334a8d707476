"""Every message that recommends an option: the option exists, and a test follows the recommendation."""

import ast
import functools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import click
import pytest
from remedy_table import NAMED, OTHER_PROGRAMS, RECOMMENDED

import textclf.__main__ as console

ROOT = Path(__file__).resolve().parents[2]
_FLAG = re.compile(r"(?<![\w-])--[a-z][a-z-]*[a-z]")
# `textclf versions promote ID --model-dir X`: the words of the command, and what follows up to a punctuation mark.
_COMMAND = re.compile(
    r"(?<!install )\btextclf ((?:(?:data|versions|model|labels) )?[a-z][a-z-]*)((?: (?!and |or |saves )[^\s,;()`]+)*)"
)
# Calls whose texts are help, not messages.
_HELP = {"option", "Option", "field_option", "whole", "number", "share", "switch", "text", "path", "choice", "mapping"}


class Mention(NamedTuple):
    """A string of a module; `{}` stands for each part that the program fills in."""

    module: str
    line: int
    text: str
    is_help: bool


@functools.cache
def mentions() -> tuple[Mention, ...]:
    """The strings of the product that name an option or a command of textclf, without docstrings."""
    paths = [path for part in ("*.py", "textclf/**/*.py", "serving/**/*.py") for path in ROOT.glob(part)]
    return tuple(mention for path in sorted(paths) for mention in _mentions(path))


def _mentions(path: Path) -> Iterator[Mention]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    parents = {child: node for node in ast.walk(tree) for child in ast.iter_child_nodes(node)}
    for node in ast.walk(tree):
        text = _text(node)
        if text is None or isinstance(parents[node], ast.Expr | ast.JoinedStr | ast.FormattedValue):
            continue  # No string, a docstring, or a part of a string.
        if not _FLAG.search(text) and not _COMMAND.search(text):
            continue
        # A flag alone is one that the program takes or passes on, unless a message fills it in.
        if " " not in text.strip() and isinstance(parents[node], ast.Call | ast.keyword | ast.List | ast.Set):
            continue
        if isinstance(parents[node], ast.Dict) and node in parents[node].keys:
            continue
        yield Mention(str(path.relative_to(ROOT)), node.lineno, text, _is_help(node, parents))


def _text(node: ast.AST) -> str | None:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values)
    return None


def _is_help(node: ast.AST, parents: dict[ast.AST, ast.AST]) -> bool:
    while node in parents:
        node = parents[node]
        if isinstance(node, ast.Call):
            called = node.func
            return getattr(called, "attr", getattr(called, "id", "")) in _HELP
    return False


@functools.cache
def commands() -> dict[str, click.Command]:
    """All commands of `textclf` by their words, such as "versions promote"."""
    return dict(_commands(console.main, ()))


def _commands(group: Any, words: tuple[str, ...]) -> Iterator[tuple[str, click.Command]]:
    for name, command in group.commands.items():
        loaded = command.load() if hasattr(command, "load") else command
        if isinstance(loaded, click.Group):
            yield from _commands(loaded, (*words, name))
        else:
            yield " ".join((*words, name)), loaded


def flags_of(command: click.Command) -> set[str]:
    return {flag for option in command.params for flag in (*option.opts, *option.secondary_opts)}


def pairs(*, of_help: bool) -> set[tuple[str, str]]:
    return {
        (mention.module, flag)
        for mention in mentions()
        if mention.is_help == of_help
        for flag in _FLAG.findall(mention.text)
    }


# --- options


def test_the_table_has_every_option_that_a_message_names():
    found = pairs(of_help=False)
    known = {(module, flag) for module, flags in [*RECOMMENDED.items(), *NAMED.items()] for flag in flags}
    assert found - known == set(), "a test must follow each recommendation: tests/helpers/remedy_table.py"
    assert known - found == set()


@pytest.mark.parametrize("module", RECOMMENDED)
def test_the_commands_that_print_a_message_have_its_option(module):
    for flag, (printed_by, _) in RECOMMENDED[module].items():
        for name in filter(None, printed_by.split(", ")):
            assert flag in flags_of(commands()[name]), f"{module} recommends {flag}, which textclf {name} lacks"
        assert printed_by or flag in OTHER_PROGRAMS


def test_help_names_options_that_exist():
    existing = {"--help"}.union(*map(flags_of, commands().values()))
    assert {flag for _, flag in pairs(of_help=True)} <= existing
    assert {flag for flags in NAMED.values() for flag in flags} <= existing


def test_named_tests_exist_and_use_the_option():
    for module, flags in RECOMMENDED.items():
        for flag, (_, test) in flags.items():
            name, _, function = test.partition("::")
            source = _function(ROOT / name, function)
            field = flag.strip("-").replace("-", "_")
            # command_in() takes the whole command from the message.
            spellings = (flag, field, _FIELDS.get(flag, field), "command_in(")
            assert any(one in source for one in spellings), f"{test} does not use {flag} ({module})"


_FIELDS = {"--rename-label": "rename", "--no-validation-part": "IGNORED", "--no-embeddings": "with_embeddings"}


@functools.cache
def _functions(path: Path) -> dict[str, str]:
    """The source of each test with its decorators, by its name."""
    source = path.read_text(encoding="utf-8")
    lines = source.splitlines()
    return {
        node.name: "\n".join(lines[min([node, *node.decorator_list], key=_line).lineno - 1 : node.end_lineno])
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.FunctionDef)
    }


def _line(node: Any) -> int:
    return int(node.lineno)


def _function(path: Path, name: str) -> str:
    assert name in _functions(path), f"{path.relative_to(ROOT)} has no {name}"
    return _functions(path)[name]


# --- commands


def test_recommended_commands_exist_with_their_options():
    found = 0
    for mention in mentions():
        for words, rest in _COMMAND.findall(mention.text):
            if (command := commands().get(words)) is None:
                place = f"{mention.module}:{mention.line}"
                assert words in {"data", "labels", "model", "versions"}, f"{place}: no command textclf {words}"
                continue
            found += 1
            for flag in _FLAG.findall(rest):
                assert flag in flags_of(command), f"{mention.module}:{mention.line}: textclf {words} lacks {flag}"
    assert found > 10


def test_a_recommended_command_is_complete():
    """A command that a message shows with options has all that it requires."""
    for mention in mentions():
        for words, rest in _COMMAND.findall(mention.text):
            command = commands().get(words)
            if mention.is_help or command is None or not _FLAG.search(rest) or "--config" in rest:
                continue
            required = [option for option in command.params if option.required and isinstance(option, click.Option)]
            for option in required:
                place = f"{mention.module}:{mention.line}"
                assert set(option.opts) & set(rest.split()), f"{place}: textclf {words} also needs {option.opts[0]}"
