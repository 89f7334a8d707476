"""Follow the gate's decision: promote or keep the challenger, and record it in the decision log."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from textclf.errors import HeldError, OvertakenError

if TYPE_CHECKING:  # stats.gate imports scipy; rolling back must not wait for it.
    from textclf.stats.gate import GateDecision
    from textclf.store.model_store import ModelVersion
    from textclf.store.promotion import Promotions


@dataclass(frozen=True)
class Promotion:
    """The challenger became current.

    Attributes:
        champion, challenger: version ids.
        path: folder of the challenger.
        decision: the gate's decision.
    """

    champion: str
    challenger: str
    path: Path
    decision: GateDecision
    action: ClassVar[str] = "promote"

    @property
    def reasons(self) -> tuple[str, ...]:
        """The gate's reasons, a sentence each."""
        return self.decision.reasons


@dataclass(frozen=True)
class Rejection:
    """The challenger did not become current. It stays in the store, where a person may promote it.

    Attributes:
        champion, challenger, path, decision: as in Promotion.
        action: in the decision log: "reject", "inconclusive", "held" or "overtaken".
        reasons: why, a sentence each.
    """

    champion: str
    challenger: str
    path: Path
    decision: GateDecision
    action: str
    reasons: tuple[str, ...]


def follow_decision(
    promotions: Promotions, champion_id: str, challenger: ModelVersion, decision: GateDecision, data: dict[str, Any]
) -> Promotion | Rejection:
    """Record a decision, and make the challenger current if the verdict is "promote" and no hold prevents it.

    `data` has the fingerprints of the texts compared on, for the log.
    """
    versions = champion_id, challenger.id
    gate = dataclasses.asdict(decision)
    action, reasons = decision.verdict, decision.reasons
    if action == "promote":
        try:
            promotions.move(action, *versions, unless_held=True, reasons=list(reasons), data=data, gate=gate)
        except HeldError as error:
            action, reasons = "held", (str(error),)
        except OvertakenError as error:
            action, reasons = "overtaken", (str(error),)
        else:
            return Promotion(*versions, challenger.path, decision)
    promotions.note(action, *versions, reasons=list(reasons), data=data, gate=gate)
    return Rejection(*versions, challenger.path, decision, action, reasons)


def describe_outcome(outcome: Promotion | Rejection) -> str:
    """The outcome and its reasons, as lines to print."""
    if isinstance(outcome, Promotion):
        head = f"promoted:      {outcome.challenger} (instead of {outcome.champion})"
    else:
        head = f"not promoted:  {outcome.challenger} ({outcome.action}); it stays in the store"
    return "\n  ".join([head, *outcome.reasons])
