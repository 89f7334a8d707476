"""A retraining that monitoring starts by itself: whether it is due, how it ended, and what it has used up."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import click

from textclf.drift.state import RetrainTry, read_state, update_state
from textclf.errors import TrainingError
from textclf.monitoring.retrain_policy import RetrainPolicy, why_not_retrain
from textclf.monitoring.subprocesses import run_retraining
from textclf.retrain_outcome import RetrainOutcome


def retrain_if_due(
    store_path: Path, fingerprint: str, labels: int, command: Sequence[str], policy: RetrainPolicy, now: float
) -> None:
    """Run the command if the policy allows it, and write down beside the store how it ended; say so, or why not.

    Args:
        store_path: of the store.
        fingerprint: of the labelled texts as they are.
        labels: how many different ones these are.
        command: that retrains.
        policy: see RetrainPolicy.
        now: in seconds since the epoch.

    Raises:
        TrainingError: it failed.
        ModelStoreError, OSError: the state is damaged, or can't be written.
    """
    state = read_state(store_path)
    if why_not := why_not_retrain(state, fingerprint, labels, now, policy):
        click.echo(f"no retraining: {why_not}")
        return

    def write_down(last: RetrainTry | None) -> None:
        update_state(store_path, lambda state: dataclasses.replace(state, last_retrain=last))

    before = state.last_retrain
    failed = dataclasses.replace(
        before or RetrainTry(now, RetrainOutcome.FAILED), time=now, outcome=RetrainOutcome.FAILED
    )
    write_down(failed)
    click.echo(f"retraining with {labels:,} different labelled texts")
    try:
        outcome = run_retraining(command)
    except BaseException:
        write_down(before)  # Nothing was learned, and nothing went wrong.
        raise
    if outcome == RetrainOutcome.BUSY:
        write_down(before)
        click.echo(outcome.sentence)
        return
    if outcome == RetrainOutcome.FAILED:
        raise TrainingError(outcome.sentence)
    # What was held back may be promoted another time; all else would end in the same way with the same labels.
    uses_up = outcome != RetrainOutcome.HELD
    write_down(
        RetrainTry(now, outcome, fingerprint, labels) if uses_up else dataclasses.replace(failed, outcome=outcome)
    )
    click.echo(outcome.sentence)
