"""What a check of the log leaves beside the store: its verdict for /metrics, and its window for the checks to come."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import click

from textclf.drift_state import DAMAGED_FILE, CheckSummary, DriftState, Window, update_state
from textclf.errors import ModelStoreError


def keep_check(store_path: Path, check: CheckSummary) -> None:
    """Keep a check that is of no window. Its verdict stands without: what hinders it is a line on stderr.

    A damaged state is set aside, because what depends on it would stop at it anyway.
    """

    def change(state: DriftState) -> DriftState:
        return dataclasses.replace(state, last_check=check)

    try:
        try:
            update_state(store_path, change)
        except ModelStoreError as error:
            click.echo(f"warning: {error}; it is kept as {DAMAGED_FILE}, and a new one is begun", err=True)
            update_state(store_path, change, sets_damaged_aside=True)
    except OSError as error:
        click.echo(f"warning: the state beside the store could not be written: {error}", err=True)


def keep_window(
    store_path: Path, check: CheckSummary, window: Window | None, before: DriftState, *, tests_audits: bool
) -> DriftState:
    """Keep a check of a window: the new state.

    One without a verdict, because its texts are too few, leaves the last verdict as it is: the window goes on.

    Args:
        store_path: of the store.
        check: in figures.
        window: that was judged; None if there were not enough texts.
        before: the state that the window was laid out by.
        tests_audits: whether the audits that waited were tested with it.

    Raises:
        ModelStoreError: the state is damaged.
        OSError: it can't be written.
    """

    def change(state: DriftState) -> DriftState:
        if window is None:
            return state if state.last_check else dataclasses.replace(state, last_check=check)
        state = dataclasses.replace(state, last_check=check)
        # Another process may have judged this window meanwhile.
        if state.edge != before.edge:
            return state
        return state.with_window(window, tests_audits=tests_audits)

    return update_state(store_path, change)
