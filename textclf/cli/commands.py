"""Base classes of all command lines: one-line errors, and --verbose for logs and tracebacks."""

import logging
import os
import sys
import traceback
from typing import Any

import click

from textclf.cli.termination import ends_on_sigterm
from textclf.errors import TextClfError
from textclf.urls import public_text


class _OneLineErrors(click.Command):
    """A click command that prints user errors as one line on stderr, exits with status 1, and takes --verbose.

    Usage errors are one line, too, with click's exit status 2. User errors are TextClfError and OSError; any other
    exception is a bug and keeps its traceback. SIGTERM ends a command within ten seconds. Unfinished files
    are removed, except inside a long call of C: then they stay, as after a kill.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("context_settings", {"help_option_names": ["-h", "--help"], "show_default": True})
        super().__init__(*args, **kwargs)
        self.params.append(
            click.Option(
                ["--verbose"],
                is_flag=True,
                expose_value=False,  # The root context keeps it.
                is_eager=True,
                callback=_set_verbose,
                help="Show informational logs, and the traceback of an error.",
            )
        )

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run click.Command.main with one-line errors."""
        if not kwargs.pop("standalone_mode", True):
            return super().main(*args, **kwargs, standalone_mode=False)  # type: ignore[call-overload]
        try:
            status = super().main(*args, **kwargs, standalone_mode=False)  # type: ignore[call-overload]
        except click.Abort:
            click.echo("interrupted", err=True)
            sys.exit(130)
        except click.exceptions.NoArgsIsHelpError as error:
            error.show()
            sys.exit(error.exit_code)
        except click.UsageError as error:
            command = error.ctx.command_path if error.ctx else sys.argv[0]
            click.echo(
                f"error: {' '.join(public_text(error.format_message()).split())} (see {command} --help)", err=True
            )
            sys.exit(error.exit_code)
        sys.exit(status if isinstance(status, int) else 0)

    def invoke(self, context: click.Context) -> Any:
        """Run the command; a user error becomes one line and exit status 1."""
        try:
            with ends_on_sigterm():
                return super().invoke(context)
        except (TextClfError, OSError, KeyboardInterrupt) as error:
            if isinstance(error, BrokenPipeError):
                # The reader of our output has exited (`… | head`). 141 is the shell's status for SIGPIPE.
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
                sys.exit(141)
            if context.find_root().meta.get("textclf.verbose"):
                traceback.print_exc()
            if isinstance(error, KeyboardInterrupt):
                click.echo("interrupted", err=True)
                sys.exit(130)
            click.echo(f"error: {_one_line(_message(error))}", err=True)
            sys.exit(1)


class Command(_OneLineErrors):
    """A script with a single command, or a command of a Group."""


class Group(_OneLineErrors, click.Group):
    """A script with several commands, each a Command, so that --verbose may come last."""

    command_class = Command


def _set_verbose(context: click.Context, _parameter: click.Parameter, value: bool) -> None:
    root = context.find_root()
    root.meta["textclf.verbose"] = value or root.meta.get("textclf.verbose", False)
    if value:
        logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
        # TensorFlow reads this variable at its first import, which happens later.
        os.environ["TF_CPP_MIN_LOG_LEVEL"] = "0"


def _message(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        place = f"{error.filename}: " if error.filename else ""
        return f"{place}{error.strerror}; check the path, the rights and the free space"
    return str(error)


def _one_line(message: str) -> str:
    return " ".join(public_text(message).split())
