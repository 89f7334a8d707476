"""The command-line options that make a ModelOptions and a TrainingOptions, as decorators of click commands."""

import functools
from collections.abc import Callable
from typing import Any

import click

from textclf.config import (
    DEFAULT_MODEL_NAME,
    PRECISIONS,
    SELECTION_METRICS,
    TRUNCATIONS,
    ModelOptions,
    TrainingOptions,
)
from textclf.encoder_handles import EMBEDDED_ENCODER, handles_of


def encoder_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Decorate a click command: it gets the keyword argument `model_options`, a ModelOptions."""

    @functools.wraps(command)
    def with_options(*args: Any, encoder: str, preprocess: str, **kwargs: Any) -> Any:
        handles = handles_of(encoder, preprocess)
        options = {name: kwargs.pop(name) for name in ("max_length", "truncation", "head_fraction", "dropout")}
        model_options = ModelOptions(handles.model_name, handles.name_to_handle, handles.model_to_handle, **options)
        return command(*args, model_options=model_options, **kwargs)

    defaults = ModelOptions()
    for option in (
        click.option("--dropout", default=defaults.dropout, help="Rate before the classification layer."),
        click.option(
            "--head-fraction",
            default=defaults.head_fraction,
            help="Share of a truncated text taken from its beginning by --truncation head+tail.",
        ),
        click.option(
            "--truncation",
            type=click.Choice(TRUNCATIONS),
            default=defaults.truncation,
            help="What is kept of a long text: its beginning, or its beginning and end.",
        ),
        click.option(
            "--max-length",
            default=defaults.max_length,
            help="Wordpieces a text is cut to; longer is more accurate and slower.",
        ),
        click.option(
            "--preprocess",
            default="",
            show_default="by the encoder",
            help="Handle of the encoder's preprocessing, where it does not bring its own.",
        ),
        click.option(
            "--encoder",
            default=DEFAULT_MODEL_NAME,
            metavar="NAME_OR_HANDLE",
            help=f"A TF-Hub BERT by name or URL, a SavedModel folder or .tar.gz, a Hugging Face BERT folder, or "
            f"{EMBEDDED_ENCODER}, which needs no network.",
        ),
    ):
        with_options = option(with_options)
    return with_options


def training_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Decorate a click command: it gets the keyword argument `training_options`, a TrainingOptions."""
    defaults = TrainingOptions()
    names = tuple(defaults.to_dict())

    @functools.wraps(command)
    def with_options(*args: Any, **kwargs: Any) -> Any:
        options = TrainingOptions(**{name: kwargs.pop(name) for name in names})
        return command(*args, training_options=options, **kwargs)

    for option in reversed(
        (
            click.option("--epochs", default=defaults.epochs, help="Passes over the training texts."),
            click.option("--init-lr", default=defaults.init_lr, help="Learning rate after the warmup."),
            click.option(
                "--optimiser",
                default=defaults.optimiser,
                help="adamw, lamb, adam, adamax, adagrad, rmsprop or sgd.",
            ),
            click.option(
                "--warmup", default=defaults.warmup, help="Share of the steps during which the learning rate rises."
            ),
            click.option(
                "--tokens-per-batch",
                default=defaults.tokens_per_batch,
                help="Most tokens in a batch, padding included.",
            ),
            click.option("--batch-size", default=defaults.batch_size, help="Most texts in a batch."),
            click.option("--seed", default=defaults.seed, help="Of initial weights, order of batches and dropout."),
            click.option(
                "--precision",
                type=click.Choice(PRECISIONS),
                default=defaults.precision,
                help="Of matrix products in training; auto is bfloat16 where the CPU has it.",
            ),
            click.option(
                "--class-weights/--no-class-weights",
                default=defaults.class_weights,
                help="Weigh the loss by inverse class frequency.",
            ),
            click.option(
                "--metric",
                type=click.Choice(tuple(SELECTION_METRICS)),
                default=defaults.metric,
                help="Validation metric that picks the best epoch; of equal ones the log loss decides.",
            ),
            click.option(
                "--patience",
                default=defaults.patience,
                help="Stop after so many epochs without a better metric; 0 never stops early.",
            ),
            click.option(
                "--checkpoint-steps",
                default=defaults.checkpoint_steps,
                help="Write a checkpoint to resume from every so many steps.",
            ),
        )
    ):
        with_options = option(with_options)
    return with_options
