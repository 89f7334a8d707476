"""Earlier challengers of the same champion, data and recipe, and what was decided about them."""

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import click

from textclf.errors import ConfigError, ModelStoreError
from textclf.retraining.decisions import Rejection
from textclf.retraining.recipe import recipe_of_version
from textclf.retraining_options import GateOptions
from textclf.stats.gate import GateDecision
from textclf.store.decision_log import MOVES
from textclf.store.model_store import ModelStore, ModelVersion
from textclf.store.promotion import Promotions


def equal_trainings(
    store: ModelStore, champion_id: str, fingerprints: Mapping[str, str], recipe: Mapping[str, Any]
) -> Iterator[ModelVersion]:
    """The versions made from this champion, data and recipe, newest first; damaged versions are skipped."""
    for version_id in reversed(store.version_ids()):
        with contextlib.suppress(ModelStoreError):
            version = store.open(version_id)
            manifest = version.manifest
            if (
                manifest.parent == champion_id
                and manifest.data.get("fingerprint") == fingerprints
                and recipe_of_version(manifest) == recipe
            ):
                yield version


def earlier_challenger(
    promotions: Promotions,
    champion_id: str,
    fingerprints: Mapping[str, str],
    recipe: Mapping[str, Any],
    *,
    again: bool = False,
) -> tuple[ModelVersion | None, dict[str, Any] | None]:
    """The version that an equal training saved before, and its last decision if it has one; prints what is found.

    With `again`, a version with a decision does not count.
    """
    entries = promotions.log.entries()
    versions = list(equal_trainings(promotions.store, champion_id, fingerprints, recipe))
    if (version := undecided_challenger(entries, champion_id, versions)) is not None:
        click.echo(f"saved before:  {version.path}, which was not compared or promoted yet")
        return version, None
    if again or (found := compared_challenger(entries, champion_id, versions)) is None:
        return None, None
    version, entry = found
    click.echo(
        f"not trained:   the same data and recipe gave {version.id} on {entry['time'][:10]} "
        f"({entry['action']}); --again trains anyway"
    )
    return version, entry


def undecided_challenger(
    entries: Sequence[dict[str, Any]], champion_id: str, versions: Iterable[ModelVersion]
) -> ModelVersion | None:
    """The first version without a decision that took effect: a killed run saved it; None without one.

    `entries` is the decision log, oldest first; for `versions` see equal_trainings.
    """
    decided = {entry.get("challenger") for entry in entries}
    last: dict[str, Any] = next((entry for entry in reversed(entries) if entry["action"] in MOVES), {})
    # The log records a move before it is made. The champion is still current, so this move was not made.
    if last.get("champion") == champion_id:
        decided.discard(last.get("challenger"))
    return next((version for version in versions if version.id not in decided), None)


def compared_challenger(
    entries: Sequence[dict[str, Any]], champion_id: str, versions: Iterable[ModelVersion]
) -> tuple[ModelVersion, dict[str, Any]] | None:
    """The first version that was compared with the champion and not promoted, with its last decision; None if none."""
    last = {entry.get("challenger"): entry for entry in entries if entry.get("champion") == champion_id}
    for version in versions:
        entry = last.get(version.id)
        if entry is not None and entry["action"] not in MOVES:
            return version, entry
    return None


def last_inconclusive(
    promotions: Promotions, champion_id: str, recipe: Mapping[str, Any], options: GateOptions
) -> dict[str, Any] | None:
    """The last comparison with this champion, if it was inconclusive with the same recipe and gate; None otherwise."""
    entries = reversed(promotions.log.entries())
    entry = next((entry for entry in entries if entry.get("champion") == champion_id), None)
    if entry is None or entry["action"] != "inconclusive":
        return None
    with contextlib.suppress(
        ModelStoreError, ConfigError, KeyError, TypeError
    ):  # Without its version, its recipe is unknown.
        version = promotions.store.open(entry["challenger"])
        is_same = _options_in(entry) == options
        return entry if is_same and recipe_of_version(version.manifest) == recipe else None
    return None


def repeated_rejection(
    version: ModelVersion, entry: Mapping[str, Any], holdout: str, best_id: str, options: GateOptions
) -> Rejection | None:
    """The outcome in a log entry, if the gate would decide the same today; None if it must be asked again.

    `entry` is the last decision about `version`. `holdout` is the fingerprint of the holdout today, and `best_id` the
    version that the gate would compare with next to the champion.
    """
    try:
        gate = entry["gate"]
        # Earlier versions of this program compared with the champion only.
        best = entry["data"].get("best", entry["champion"])
        asked = entry["data"]["holdout"], best, _options_in(entry)
        decision = GateDecision(gate["verdict"], tuple(gate["reasons"]), gate["figures"], gate["texts_needed"])
    except (KeyError, TypeError, ConfigError):  # The entry is of a person, or of other software.
        return None
    # A hold may have ended, and an overtaken challenger may have a chance by now.
    if entry["action"] != decision.verdict or asked != (holdout, best_id, options):
        return None
    return Rejection(entry["champion"], version.id, version.path, decision, entry["action"], decision.reasons)


def _options_in(entry: Mapping[str, Any]) -> GateOptions:
    """The options of the gate in a log entry; an option newer than the entry has its default."""
    return GateOptions.from_dict(entry["gate"]["figures"]["options"])
