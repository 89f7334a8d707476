"""How `current` moves but by training: a promotion, a rollback, a hold; each is written into the decision log."""

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
    """A model store with its decision log and its hold. The constructor touches nothing.

    Args:
        store: the model store's folder.
        clock: seconds since the epoch.
    """

    def __init__(self, store: Path | str, clock: Callable[[], float] = time.time) -> None:
        self.store = ModelStore(store, clock)
        self.log = DecisionLog(store, clock)
        self.hold = PromotionHold(store, clock)

    def move(
        self, action: str, champion: str | None, challenger: str, *, unless_held: bool = False, **figures: Any
    ) -> None:
        """Make `challenger` current if `champion` still is, and write that down.

        Args:
            action: one of textclf.store.decision_log.MOVES.
            champion: the version that is current; None without one.
            challenger: the version that is to be.
            unless_held: whether it gives way to a hold, as what no person decided does.
            **figures: what it rests on.

        Raises:
            OvertakenError: another version has become current.
            HeldError: there is a hold.
            ModelStoreError: there is no such version, or it is damaged.
        """

        def write_down() -> None:
            # Under the store's lock, as a hold is put: it is seen here, or finds `current` moved already.
            if unless_held and (hold := self.hold.reason) is not None:
                raise HeldError(f"automatic promotion is on hold: {hold}")
            self.note(action, champion, challenger, **figures)

        self.store.promote(challenger, expected_current=champion, write_down=write_down)

    def note(self, action: str, champion: str | None, challenger: str, **figures: Any) -> None:
        """Write a decision down, with the SHA-256 of both manifests, which hold all other hashes of a version."""
        self.log.append(
            action,
            champion=champion,
            challenger=challenger,
            champion_manifest=self._manifest_hash(champion),
            challenger_manifest=self._manifest_hash(challenger),
            **figures,
        )

    def promote(self, version_id: str) -> str | None:
        """Make a version current because a person says so; returns the id of the one that was.

        Raises:
            ModelStoreError: there is no such version, it is damaged or current already, or `current` moved meanwhile.
        """
        current = self.store.current_id()
        version = self.store.open(version_id)
        if version.id == current:
            raise ModelStoreError(f"{self.store.path}: expected a version that is not current, got {current}, which is")
        self.move("promote_by_hand", current, version_id)
        return current

    def roll_back(self, to: str | None = None, reason: str = "") -> tuple[str, str]:
        """Make an earlier version current, and put automatic promotion on hold: (the id that was current, that now is).

        The hold comes first: a challenger that is being compared meanwhile must not undo this. It stays where the
        rollback then fails.

        Args:
            to: the version; by default the one that was current before, as the decision log has it, else the parent
                that the current one was retrained from.
            reason: a sentence for the log, and for who asks why nothing is promoted.

        Raises:
            OvertakenError: `current` moved meanwhile.
            ModelStoreError: there is no earlier version, or it is damaged.
        """
        current = self.store.current_id() or self.store.open().id  # Which says that there is none.
        target = to or version_before(current, self.log.entries()) or self._parent(current)
        place = self.store.path
        if target is None:
            raise ModelStoreError(
                f"{place}: no version is known to have been current before {current}; name one with --to: "
                f"{', '.join(self.store.version_ids())}"
            )
        if target == current:
            raise ModelStoreError(f"{place}: expected a version to go back to, got {target}, which is current")
        self.store.open(target).verify()
        why = reason or f"rolled back from {current} to {target}"
        with self.store.locked():
            self.hold.put(why)
        try:
            self.move("rollback", current, target, reasons=[why])
        except OvertakenError as error:
            raise OvertakenError(
                f"{place}: expected {current} to be current still, found {self.store.current_id()}, which became so "
                f"meanwhile: nothing was rolled back, but automatic promotion is on hold now; see retraining.py "
                f"history, then roll back again (rollback --to {target}), or go on (lift-hold)"
            ) from error
        return current, target

    def lift_hold(self) -> str | None:
        """Let challengers be promoted again; returns the reason of the hold, None if there was none."""
        reason = self.hold.reason
        if reason is not None and self.hold.lift():
            self.log.append("hold_lifted", reasons=[reason])
        return reason

    def _parent(self, version_id: str) -> str | None:
        """What a version was made from; None where either is not here."""
        here = self.store.version_ids()
        parent = self.store.open(version_id).manifest.parent if version_id in here else None
        return parent if parent in here else None

    def _manifest_hash(self, version_id: str | None) -> str | None:
        """None for a version that is not here any more."""
        path = self.store.path / "versions" / (version_id or "") / MANIFEST_FILE
        return sha256_of_file(path) if path.is_file() else None


def version_before(version_id: str, entries: Iterable[dict[str, Any]]) -> str | None:
    """The version that was current when `version_id` last took its place; None if the log does not say.

    Rollbacks do not count: the one before the version that was rolled back to is older still.
    """
    found = None
    for entry in entries:
        if entry["action"] in ("promote", "promote_by_hand") and entry.get("challenger") == version_id:
            found = entry.get("champion")
    return found
