"""Start a retraining if it is due, and record its outcome in the state of monitoring."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from textclf.drift.state import RetrainTry, read_state, update_state
from textclf.errors import ModelStoreError, TrainingError
from textclf.monitoring.retrain_policy import RetrainPolicy, why_not_retrain
from textclf.monitoring.subprocesses import run_retraining
from textclf.retrain_outcome import RetrainOutcome


def check_is_store(store: Path | None, model_path: Path) -> None:
    """Check that a model is in a store, which records windows and retrainings.

    Raises:
        ModelStoreError: if `store` is None.
    """
    if store is None:
        raise ModelStoreError(
            f"{model_path.absolute()}: expected a model store, which records windows and retrainings, found none; pass "
            f"one with --model-path"
        )


def retrain_if_due(
    store_path: Path, fingerprint: str, labels: int, command: Sequence[str], policy: RetrainPolicy, now: float
) -> None:
    """Run a retraining if the policy allows it; record and print its outcome, or print the reason against it.

    For the other arguments see why_not_retrain.

    Raises:
        TrainingError: if the retraining failed.
        ModelStoreError, OSError: if the state is damaged, or can't be written.
    """
    state = read_state(store_path)
    if why_not := why_not_retrain(state, fingerprint, labels, now, policy):
        click.echo(f"no retraining: {why_not}")
        return

    def record(last: RetrainTry | None, **changes: Any) -> None:
        update_state(store_path, lambda state: dataclasses.replace(state, last_retrain=last, **changes))

    before = state.last_retrain
    failed = dataclasses.replace(
        before or RetrainTry(now, RetrainOutcome.FAILED), time=now, outcome=RetrainOutcome.FAILED
    )
    record(failed)
    click.echo(f"retraining with {labels:,} different labelled texts")
    try:
        outcome = run_retraining(command)
    except BaseException:
        record(before)  # An interruption is not a failure.
        raise
    if outcome == RetrainOutcome.BUSY:
        record(before)
        click.echo(outcome.sentence)
        return
    if outcome == RetrainOutcome.FAILED:
        raise TrainingError(outcome.sentence)
    # A model that was held back may be promoted later. More labels may decide what these could not. With any other
    # outcome, the same labels would give the same.
    used = {
        RetrainOutcome.HELD: (failed.fingerprint, failed.labels),
        RetrainOutcome.INCONCLUSIVE: (fingerprint, failed.labels),
    }
    # The gate has decided about the evidence, so the CUSUM of the audits starts again.
    is_decided = outcome in (RetrainOutcome.PROMOTED, RetrainOutcome.REJECTED)
    restarts: dict[str, Any] = {"audit_runs": {}} if is_decided else {}
    record(RetrainTry(now, outcome, *used.get(outcome, (fingerprint, labels))), **restarts)
    click.echo(outcome.sentence)
