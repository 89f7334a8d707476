"""Promotion, rollback and hold: how `current` changes other than by saving a version. The decision log records each."""

import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from textclf.errors import HeldError, ModelStoreError, OvertakenError
from textclf.files import sha256_of_file
from textclf.store.decision_log import DecisionLog
from textclf.store.manifest import MANIFEST_FILE
from textclf.store.model_store import ModelStore
from textclf.store.promotion_hold import PromotionHold


class Promotions:
    """A model store with its decision log and its hold; the constructor only stores the folder and the clock."""

    def __init__(self, store: Path | str, clock: Callable[[], float] = time.time) -> None:
        self.store = ModelStore(store, clock)
        self.log = DecisionLog(store, clock)
        self.hold = PromotionHold(store, clock)

    def move(
        self, action: str, champion: str | None, challenger: str, *, unless_held: bool = False, **details: Any
    ) -> None:
        """Record a move of `current`, and make it if `champion` is still current.

        Args:
            action: one of textclf.store.decision_log.MOVES.
            champion, challenger: ids of the current version (None without one) and of the one to make current.
            unless_held: refuse while there is a hold, for decisions of no person.
            **details: reasons and results for the log.

        Raises:
            OvertakenError: if another version has become current.
            HeldError: if there is a hold and `unless_held` is set.
            ModelStoreError: if the version is missing or damaged.
        """

        def record() -> None:
            # Setting a hold takes the same lock: the hold is seen here, or it finds `current` moved already.
            if unless_held and (hold := self.hold.reason) is not None:
                raise HeldError(f"automatic promotion is on hold: {hold}")
            self.note(action, champion, challenger, **details)

        self.store.promote(challenger, expected_current=champion, record=record)

    def note(self, action: str, champion: str | None, challenger: str, **details: Any) -> None:
        """Record a decision, with the SHA-256 of both manifests, which contain all other hashes of a version."""
        self.log.append(
            action,
            champion=champion,
            challenger=challenger,
            champion_manifest=self._manifest_hash(champion),
            challenger_manifest=self._manifest_hash(challenger),
            **details,
        )

    def promote(self, version_id: str) -> str | None:
        """Make a version current by hand; returns the id of the version that was current.

        Raises:
            ModelStoreError: if the version is missing, damaged or current, or `current` moved meanwhile.
        """
        current = self.store.current_id()
        version = self.store.open(version_id)
        if version.id == current:
            raise ModelStoreError(f"{self.store.path}: expected a version that is not current, got {current}, which is")
        self.move("promote_by_hand", current, version_id)
        return current

    def roll_back(self, to: str | None = None, reason: str = "") -> tuple[str, str]:
        """Make an earlier version current and set a hold; returns the ids that were and are current.

        The hold is set first, so that a challenger being compared can't undo the rollback. It stays if the rollback
        fails.

        Args:
            to: version id; by default the previously current version in the decision log, or else the parent of the
                current one.
            reason: a sentence for the log and the hold.

        Raises:
            OvertakenError: if `current` moved meanwhile.
            ModelStoreError: if there is no earlier version, or it is damaged.
        """
        current = self.store.current_id() or self.store.open().id  # Raises if there is none.
        target = to or version_before(current, self.log.entries()) or self._parent(current)
        place = self.store.path
        if target is None:
            others = [version_id for version_id in self.store.version_ids() if version_id != current]
            remedy = f"name one with --to: {', '.join(others)}" if others else "it is the only one here"
            raise ModelStoreError(f"{place}: no version is known to have been current before {current}; {remedy}")
        if target == current:
            raise ModelStoreError(f"{place}: expected a version to go back to, got {target}, which is current")
        self.store.open(target).verify()
        why = reason or f"rolled back from {current} to {target}"
        with self.store.locked():
            self.hold.set(why)
        try:
            self.move("rollback", current, target, reasons=[why])
        except OvertakenError as error:
            raise OvertakenError(
                f"{place}: expected {current} to be current still, found {self.store.current_id()}, which became "
                f"current meanwhile: nothing was rolled back, but automatic promotion is on hold now; see "
                f"textclf versions history {self.store.option}, then roll back again (textclf versions rollback --to "
                f"{target} {self.store.option}), or clear the hold (textclf versions lift-hold {self.store.option})"
            ) from error
        return current, target

    def lift_hold(self) -> str | None:
        """Clear the hold; returns its reason, None without one."""
        reason = self.hold.reason
        if reason is not None and self.hold.clear():
            self.log.append("hold_lifted", reasons=[reason])
        return reason

    def _parent(self, version_id: str) -> str | None:
        here = self.store.version_ids()
        parent = self.store.open(version_id).manifest.parent if version_id in here else None
        return parent if parent in here else None

    def _manifest_hash(self, version_id: str | None) -> str | None:
        """SHA-256 of a version's manifest; None if the store lacks the version."""
        path = self.store.path / "versions" / (version_id or "") / MANIFEST_FILE
        return sha256_of_file(path) if path.is_file() else None


def version_before(version_id: str, entries: Iterable[dict[str, Any]]) -> str | None:
    """The version that `version_id` last replaced as current; None if the log does not contain it.

    Rollbacks do not count: the version before a rollback's target is older still.
    """
    found = None
    for entry in entries:
        if entry["action"] in ("promote", "promote_by_hand") and entry.get("challenger") == version_id:
            found = entry.get("champion")
    return found
