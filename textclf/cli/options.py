"""The command-line options behind DataOptions, ModelOptions and TrainingOptions, as decorators of click commands."""

import dataclasses
import functools
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import click
from click import option
from click.core import ParameterSource

from textclf.config import (
    DEFAULT_MODEL_NAME,
    PRECISIONS,
    SELECTION_METRICS,
    TRUNCATIONS,
    DataOptions,
    ModelOptions,
    TrainingOptions,
)
from textclf.encoder_handles import EMBEDDED_ENCODER, handles_of

_Command = Callable[..., Any]
_DATA, _MODEL, _TRAINING = DataOptions(), ModelOptions(), TrainingOptions()
# As click calls them.
_MODEL_NAMES = ("encoder", "preprocess", "max_length", "truncation", "head_fraction", "dropout")


def dataset_options(command: _Command) -> _Command:
    """Decorate a click command: it gets the keyword argument `data_options`, a DataOptions."""

    def make(rename_labels: Sequence[tuple[str, str]], **values: Any) -> DataOptions:
        return DataOptions(rename_labels=dict(rename_labels), **values)

    return _with_options(command, "data_options", make, _DATA.to_dict(), _DATA_OPTIONS)


def encoder_options(command: _Command) -> _Command:
    """Decorate a click command: it gets the keyword argument `model_options`, a ModelOptions."""

    def make(encoder: str, preprocess: str, **values: Any) -> ModelOptions:
        handles = handles_of(encoder, preprocess)
        return ModelOptions(handles.model_name, handles.name_to_handle, handles.model_to_handle, **values)

    return _with_options(command, "model_options", make, _MODEL_NAMES, _MODEL_OPTIONS)


def training_options(command: _Command) -> _Command:
    """Decorate a click command: it gets the keyword argument `training_options`, a TrainingOptions."""
    return _with_options(command, "training_options", TrainingOptions, _TRAINING.to_dict(), _TRAINING_OPTIONS)


def changed_options(command: _Command) -> _Command:
    """Decorate a click command: it gets the keyword argument `changes`, what the command line says and nothing else.

    That is a dict of fields of DataOptions, ModelOptions and TrainingOptions; the others are the current version's.
    """
    names = [*_DATA.to_dict(), *_MODEL_NAMES, *_TRAINING.to_dict()]
    names.remove("read_test")

    @functools.wraps(command)
    def with_changes(*args: Any, **kwargs: Any) -> Any:
        source_of = click.get_current_context().get_parameter_source
        values = {name: kwargs.pop(name) for name in names}
        changes = {name: value for name, value in values.items() if source_of(name) is not ParameterSource.DEFAULT}
        if "rename_labels" in changes:
            changes["rename_labels"] = dict(changes["rename_labels"])
        encoder, preprocess = changes.pop("encoder", None), changes.pop("preprocess", "")
        if encoder is None and preprocess:
            raise click.UsageError("--preprocess is of the encoder that --encoder names: give both")
        if encoder is not None:
            changes |= dataclasses.asdict(handles_of(encoder, preprocess))
        return command(*args, changes=changes, **kwargs)

    # Without --test/--no-test, which comes last: there is nothing to compare on without a test part.
    for decorate in reversed((*_DATA_OPTIONS[:-1], *_MODEL_OPTIONS, *_TRAINING_OPTIONS)):
        with_changes = decorate(with_changes)
    for parameter in with_changes.__click_params__:  # type: ignore[attr-defined]
        if parameter.name in names:
            parameter.show_default = False
    return with_changes


def _with_options(
    command: _Command, argument: str, make: _Command, names: Iterable[str], options: Sequence[_Command]
) -> _Command:
    """Add `options`, which click calls `names`; the command gets what `make` makes of their values as `argument`."""

    @functools.wraps(command)
    def with_options(*args: Any, **kwargs: Any) -> Any:
        made = make(**{name: kwargs.pop(name) for name in names})
        return command(*args, **{argument: made}, **kwargs)

    for decorate in reversed(options):  # --help lists the one last that decorates first.
        with_options = decorate(with_options)
    return with_options


def renames(
    _context: click.Context, _parameter: click.Parameter, values: tuple[str, ...]
) -> tuple[tuple[str, str], ...]:
    """Callback of an option whose values are OLD=NEW: pairs of both."""
    # The old name is whatever the data says, the new one holds no "=": so the last one parts them.
    pairs = [value.rpartition("=") for value in values]
    for value, (old, _, new) in zip(values, pairs, strict=True):
        if not old or not new:
            raise click.BadParameter(f"expected OLD=NEW, got {value!r}")
    found = {old: new for old, _, new in pairs}
    if len(found) < len(pairs):
        raise click.BadParameter("one label is renamed twice")
    return tuple(found.items())


_DATA_OPTIONS = (
    option("--val-split", default=_DATA.val_split, help="Share of the training texts kept for validation."),
    option("--test-split", default=_DATA.test_split, help="Share kept for test where the data has no test part."),
    option("--split-seed", default=_DATA.split_seed, help="Of the splits."),
    option("--text-column", default=_DATA.text_column, help="Column of the texts in a CSV, JSONL or Parquet file."),
    option("--label-column", default=_DATA.label_column, help="Column of the labels."),
    option(
        "--rename-label",
        "rename_labels",
        multiple=True,
        metavar="OLD=NEW",
        callback=renames,
        help="Replace a class name as it is read; may be repeated. Two names made one are merged.",
    ),
    option("--skip-undecodable", is_flag=True, help="Leave out texts that are not UTF-8, and count them."),
    option("--test/--no-test", "read_test", default=_DATA.read_test, help="Whether the test part is read."),
)

_MODEL_OPTIONS = (
    option(
        "--encoder",
        default=DEFAULT_MODEL_NAME,
        metavar="NAME_OR_HANDLE",
        help=f"A TF-Hub BERT by name or URL, a SavedModel folder or .tar.gz, a Hugging Face BERT folder, or "
        f"{EMBEDDED_ENCODER}, which needs no network.",
    ),
    option(
        "--preprocess",
        default="",
        show_default="by the encoder",
        help="Handle of the encoder's preprocessing, where it does not bring its own.",
    ),
    option(
        "--max-length",
        default=_MODEL.max_length,
        help="Wordpieces a text is cut to; longer is more accurate and slower.",
    ),
    option(
        "--truncation",
        type=click.Choice(TRUNCATIONS),
        default=_MODEL.truncation,
        help="What is kept of a long text: its beginning, or its beginning and end.",
    ),
    option(
        "--head-fraction",
        default=_MODEL.head_fraction,
        help="Share of a truncated text taken from its beginning by --truncation head+tail.",
    ),
    option("--dropout", default=_MODEL.dropout, help="Rate before the classification layer."),
)

_TRAINING_OPTIONS = (
    option("--epochs", default=_TRAINING.epochs, help="Passes over the training texts."),
    option("--init-lr", default=_TRAINING.init_lr, help="Learning rate that the warmup rises towards."),
    option(
        "--mlm-epochs",
        default=_TRAINING.mlm_epochs,
        help="Passes over the training texts before fitting, in which the encoder guesses hidden words of them.",
    ),
    option("--mlm-lr", default=_TRAINING.mlm_lr, help="Learning rate of these passes."),
    option(
        "--layer-decay",
        default=_TRAINING.layer_decay,
        help="Factor of the learning rate from each layer of the encoder to the one below; 1 has one rate for all.",
    ),
    option(
        "--r-drop",
        default=_TRAINING.r_drop,
        help="Weight of what two passes with other dropout differ by; 0 makes one, for half the time and memory.",
    ),
    option("--optimiser", default=_TRAINING.optimiser, help="adamw, lamb, adam, adamax, adagrad, rmsprop or sgd."),
    option("--warmup", default=_TRAINING.warmup, help="Share of the steps during which the learning rate rises."),
    option("--tokens-per-batch", default=_TRAINING.tokens_per_batch, help="Most tokens in a batch, padding included."),
    option("--batch-size", default=_TRAINING.batch_size, help="Most texts in a batch."),
    option("--seed", default=_TRAINING.seed, help="Of initial weights, order of batches and dropout."),
    option(
        "--precision",
        type=click.Choice(PRECISIONS),
        default=_TRAINING.precision,
        help="Of matrix products in training; auto is bfloat16 where the CPU has it.",
    ),
    option(
        "--class-weights/--no-class-weights",
        default=_TRAINING.class_weights,
        help="Weigh the loss by inverse class frequency.",
    ),
    option(
        "--metric",
        type=click.Choice(tuple(SELECTION_METRICS)),
        default=_TRAINING.metric,
        help="Validation metric that picks the best epoch; of equal ones the log loss decides.",
    ),
    option(
        "--patience",
        default=_TRAINING.patience,
        help="Stop after so many epochs without a better metric; 0 never stops early.",
    ),
    option(
        "--checkpoint-steps",
        default=_TRAINING.checkpoint_steps,
        help="Write a checkpoint to resume from every so many steps.",
    ),
)
