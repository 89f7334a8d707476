"""The prompt of `live`: scores each review and stores it if its true label is given.

A person is asked again after a label that is not one. Piped input can't be asked: there the error names the line,
because going on would read the label as the next review, and shift all lines after it.
"""

import contextlib
import sys
from collections.abc import Callable
from pathlib import Path

import click

from textclf.errors import InputError

EXIT = "exit"


def run_live_prompt(
    score: Callable[[str], str], store: Callable[[str, str], Path], labels: str, is_piped: bool | None = None
) -> None:
    """Prompt for reviews and their labels until `exit`, the end of the input or Ctrl-C.

    Args:
        score: returns the line to print for a review; raises InputError if the review can't be scored.
        store: stores a review with its label and returns its path; raises InputError if the label is not one.
        labels: the labels to choose from, as text.
        is_piped: whether nobody can be asked again; None: unless standard input is a terminal.

    Raises:
        InputError: if a line of piped input is no review or no label, or its review can't be stored.
    """
    lines = _Lines(not sys.stdin.isatty() if is_piped is None else is_piped)
    with contextlib.suppress(EOFError, KeyboardInterrupt):
        while (text := lines.ask(f"Review ({EXIT} to stop): ")).lower() != EXIT:
            if not text:
                continue
            try:
                click.echo(f"  {score(text)}")
            except InputError as error:
                lines.refuse(str(error))
                continue
            if not _ask_for_label(lines, text, store, labels):
                break
        return
    click.echo()


def _ask_for_label(lines: "_Lines", text: str, store: Callable[[str, str], Path], labels: str) -> bool:
    """Prompt until the input is a label or empty; False if it is `exit`."""
    while answer := lines.ask(f"  Its true label ({labels}; empty to skip): "):
        try:
            path = store(text, answer)
        except InputError as error:
            if answer.lower() == EXIT:
                return False
            lines.refuse(str(error))
            continue
        except OSError as error:
            lines.refuse(f"not stored: {error.filename}: {error.strerror}; choose another --save-dir")
            break
        click.echo(f"  stored as {path}")
        break
    return True


class _Lines:
    """Lines of standard input, counted from 1."""

    def __init__(self, is_piped: bool) -> None:
        self.is_piped = is_piped
        self.number = 0

    def ask(self, prompt: str) -> str:
        line = input(prompt)
        self.number += 1
        return line.strip()

    def refuse(self, reason: str) -> None:
        """Print the reason to a person; raise InputError for piped input."""
        if not self.is_piped:
            click.echo(f"  {reason}")
            return
        click.echo()
        raise InputError(
            f"standard input, line {self.number}: {reason}; the reviews before it are done; "
            f"correct the line and give the rest again"
        )
