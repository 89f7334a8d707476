"""The command-line options that make a DataOptions, the same for every stage that reads a data set."""

import functools
from collections.abc import Callable
from typing import Any

import click

from textclf.config import DataOptions

_DEFAULTS = DataOptions()


def dataset_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Decorate a click command: it gets the keyword argument `data_options`, a DataOptions."""

    @functools.wraps(command)
    def with_options(*args: Any, **kwargs: Any) -> Any:
        options = {name: kwargs.pop(name) for name in _NAMES}
        options["rename_labels"] = dict(options["rename_labels"])
        return command(*args, data_options=DataOptions(**options), **kwargs)

    for option in reversed(_OPTIONS):
        with_options = option(with_options)
    return with_options


def _renames(
    _context: click.Context, _parameter: click.Parameter, values: tuple[str, ...]
) -> tuple[tuple[str, str], ...]:
    # The old name is whatever the data says, the new one holds no "=": so the last one parts them.
    pairs = [value.rpartition("=") for value in values]
    for value, (old, _, new) in zip(values, pairs, strict=True):
        if not old or not new:
            raise click.BadParameter(f"expected OLD=NEW, got {value!r}")
    renames = {old: new for old, _, new in pairs}
    if len(renames) < len(pairs):
        raise click.BadParameter("one label is renamed twice")
    return tuple(renames.items())


_OPTIONS = (
    click.option(
        "--val-split", type=float, default=_DEFAULTS.val_split, help="Share of the training texts kept for validation."
    ),
    click.option(
        "--test-split",
        type=float,
        default=_DEFAULTS.test_split,
        help="Share kept for test where the data has no test part.",
    ),
    click.option("--split-seed", type=int, default=_DEFAULTS.split_seed, help="Of the splits."),
    click.option(
        "--text-column", default=_DEFAULTS.text_column, help="Column of the texts in a CSV, JSONL or Parquet file."
    ),
    click.option("--label-column", default=_DEFAULTS.label_column, help="Column of the labels."),
    click.option(
        "--rename-label",
        "rename_labels",
        multiple=True,
        metavar="OLD=NEW",
        callback=_renames,
        help="Replace a class name as it is read; may be repeated. Two names made one are merged.",
    ),
    click.option("--skip-undecodable", is_flag=True, help="Leave out texts that are not UTF-8, and count them."),
    click.option("--test/--no-test", "read_test", default=_DEFAULTS.read_test, help="Whether the test part is read."),
)
_NAMES = (
    "val_split",
    "test_split",
    "split_seed",
    "text_column",
    "label_column",
    "rename_labels",
    "skip_undecodable",
    "read_test",
)
