"""Reads the versions of the model store and the last drift check, for GET /drift.json and /evaluation."""

import dataclasses
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from textclf.drift.state import CheckSummary, DriftState, read_state
from textclf.errors import ModelStoreError
from textclf.report.drift_terms import TITLES
from textclf.report.evaluation_html import evaluation_page
from textclf.store.decision_log import MOVES, DecisionLog
from textclf.store.evaluation import EVALUATION_FILE, Evaluation
from textclf.store.manifest import Manifest
from textclf.store.model_store import ModelStore, ModelVersion

# Versions and windows that are shown, newest first.
MAX_SHOWN = 50
METRICS = ("n", "accuracy", "macro_f1", "log_loss", "expected_calibration_error")

_LOG = logging.getLogger(__name__)


def store_report(path: Path, served: str | None) -> dict[str, Any]:
    """Return the body of GET /drift.json.

    Args:
        path: MODEL_PATH, which may also be one version or a plain SavedModel.
        served: id of the version that this worker serves; None if no model is loaded.
    """
    store = ModelStore(path)
    ids = store.version_ids()
    report: dict[str, Any] = {
        "store": bool(ids), "served": served, "current": None, "problems": [], "versions": [], "check": None,
        "windows": [], "failed_runs": 0, "retraining": None,
    }  # fmt: skip
    if not ids:
        return report
    problems: list[str] = report["problems"]
    try:
        report["current"] = store.current_id()
    except ModelStoreError as error:
        problems.append(_problem("the pointer `current` of the store can't be read", error))
    try:
        moves = _last_moves(DecisionLog(path))
    except OSError as error:
        moves = {}
        problems.append(_problem("the decision log can't be read", error))
    for version_id in ids[::-1][:MAX_SHOWN]:
        try:
            version = store.open(version_id)
        except ModelStoreError as error:
            problems.append(_problem(f"version {version_id} is damaged", error))
        else:
            report["versions"].append(_version(version, report["current"], moves))
    try:
        report |= _monitoring(read_state(path))
    except (ModelStoreError, OSError) as error:
        problems.append(_problem("the state of monitoring can't be read", error))
    return report


def evaluation_of(path: Path, version_id: str) -> str | None:
    """Return the evaluation page of a version as HTML; None if there is no such version.

    Raises:
        ModelStoreError: if the version is damaged.
    """
    store = ModelStore(path)
    if version_id not in store.version_ids():
        return None
    version = store.open(version_id)
    evaluation = None
    if version.has(EVALUATION_FILE):
        version.verify([EVALUATION_FILE])
        evaluation = Evaluation.load(version.part(EVALUATION_FILE), len(version.manifest.class_names))
    return evaluation_page(version.manifest, evaluation)


def _last_moves(log: DecisionLog) -> dict[str, str]:
    """The time at which each version last became current by a decision, by version id."""
    return {str(entry.get("challenger")): entry["time"] for entry in log.entries() if entry["action"] in MOVES}


def _version(version: ModelVersion, current: str | None, moves: Mapping[str, str]) -> dict[str, Any]:
    manifest, is_current = version.manifest, version.id == current
    since = moves.get(version.id, manifest.created if is_current else None)
    return {
        "id": version.id,
        "name": manifest.name,
        "created": manifest.created,
        "parent": manifest.parent,
        "current": is_current,
        "since": since,
        "metrics": _metrics(manifest),
    }


def _metrics(manifest: Manifest) -> dict[str, dict[str, float | None]]:
    """By split, the metrics that a table has room for; null where a version does not have one."""
    found = {}
    for split, values in manifest.metrics.items():
        numbers = {name: values.get(name) for name in METRICS}
        found[split] = {name: value if isinstance(value, int | float) else None for name, value in numbers.items()}
    return found


def _monitoring(state: DriftState) -> dict[str, Any]:
    retraining = state.last_retrain
    return {
        "check": None if state.last_check is None else _check(state.last_check),
        "windows": [dataclasses.asdict(window) for window in state.windows[::-1][:MAX_SHOWN]],
        "failed_runs": state.failed_runs,
        "retraining": None if retraining is None else {"time": retraining.time, "outcome": retraining.outcome},
    }


def _check(check: CheckSummary) -> dict[str, Any]:
    families = [
        {
            "family": family,
            "title": TITLES.get(family, family),
            "effect": check.effects.get(family),
            "minimum": check.floors.get(family),
            "p": check.adjusted_p.get(family),
            "alarm": family in check.alarms,
        }
        for family in {**check.effects, **dict.fromkeys(check.alarms)}
    ]
    facts = {"time": check.time, "version": check.version, "verdict": check.verdict, "sentence": check.sentence}
    return {**facts, "texts": check.texts, "families": families, "unsure": check.unsure or None}


def _problem(sentence: str, error: Exception) -> str:
    """The sentence for the client; the reason names paths of this machine, so the log has it."""
    _LOG.error("%s: %s", sentence, error)
    return f"{sentence}; the server's log has the reason"
