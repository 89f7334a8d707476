"""Windows of `monitoring.py check --windows`: their spans, their verdicts in the state, and when they retrain."""

import dataclasses
from datetime import datetime
from pathlib import Path

import click

from textclf.config import DriftOptions
from textclf.drift.state import DAMAGED_FILE, DRIFT, NOT_ENOUGH_DATA, DriftState, Window, update_state
from textclf.errors import ModelStoreError
from textclf.monitoring.retrain_policy import WindowRule
from textclf.report.drift_report import DriftReport

# The server logs a prediction within a second, or up to 30 s later after an outage of its database. A window ends
# this long before the check, so that its last rows are in the log.
SETTLED_SECONDS = 60.0


def window_end(state: DriftState, now: float) -> float:
    """End of the window that begins at the end of the last one, in seconds since the epoch."""
    return max(now - SETTLED_SECONDS, state.edge or 0.0)


def window_of(report: DriftReport, before: DriftState, until: float) -> Window | None:
    """The window of a report; None if there were not enough texts."""
    if report.verdict == NOT_ENOUGH_DATA:
        return None
    first = report.compared.since
    start = until if first is None else datetime.fromisoformat(first).timestamp()
    return Window(
        start if before.edge is None else before.edge,
        until,
        report.compared.version,
        report.verdict,
        report.compared.texts,
    )


def extension_sentence(report: DriftReport, options: DriftOptions) -> str:
    """The sentence about a window with too few texts; the last verdict stays."""
    count = "1 text" if report.compared.texts == 1 else f"{report.compared.texts:,} texts"
    return (
        f"{count} so far, fewer than {options.min_texts:,}: the next check extends this window; the last verdict stays"
    )


def calls_for_retraining(report: DriftReport, state: DriftState, windows: WindowRule | None) -> bool:
    """Whether this check, or enough of the last windows, found drift; prints how many if too few did."""
    if windows is None:
        return report.verdict == DRIFT
    alarms = windows.alarms(state.windows, report.compared.version)
    if 0 < alarms < windows.needed:
        click.echo(f"drift in {alarms} of the last {windows.last} windows; {windows.needed} call for a retraining")
    return alarms >= windows.needed


def save_report(store_path: Path, report: DriftReport, before: DriftState, until: float | None) -> DriftState:
    """Save a check of the log; return the new state.

    Without a window, a failed write is only a warning, because the verdict has been printed; a damaged state is set
    aside, because everything that needs it would fail anyway. A window with too few texts leaves the last verdict.

    Args:
        store_path, report: the store, and the report of the check.
        before: state before the check.
        until: end of the window, in seconds since the epoch; None if the check belongs to no window.

    Raises:
        ModelStoreError: if there is a window and the state is damaged.
        OSError: if there is a window and the state can't be written.
    """
    summary = report.summary()

    def with_check(state: DriftState) -> DriftState:
        return dataclasses.replace(state, last_check=summary)

    def with_window(state: DriftState) -> DriftState:
        window = window_of(report, before, until or 0.0)
        if window is None:
            return state if state.last_check else with_check(state)
        # Another process may have saved this window meanwhile.
        if state.edge != before.edge:
            return with_check(state)
        return with_check(state).with_window(window, report.figures.audit_run)

    if until is not None:
        return update_state(store_path, with_window)
    try:
        try:
            return update_state(store_path, with_check)
        except ModelStoreError as error:
            click.echo(f"warning: {error}; it was renamed to {DAMAGED_FILE}, and a new state begins", err=True)
            return update_state(store_path, with_check, sets_damaged_aside=True)
    except OSError as error:
        click.echo(f"warning: the state of monitoring could not be written: {error}", err=True)
    return before
