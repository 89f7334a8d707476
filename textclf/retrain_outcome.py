"""Outcome of a retraining: its name on disk, its exit status and a sentence about it."""

from enum import StrEnum
from typing import Self


class RetrainOutcome(StrEnum):
    """How a retraining ended. drift.json contains the values, except "busy", which records nothing.

    Attributes:
        exit_status: exit status of `textclf retrain`; 1 is an error and 2 a wrong option.
        sentence: what monitoring prints about it.
    """

    PROMOTED = "promoted", 0, "the retrained model was promoted"
    REJECTED = "rejected", 3, "the retrained model was rejected (see textclf versions history)"
    INCONCLUSIVE = (
        "inconclusive",
        4,
        "no model was promoted: too few texts to decide (see above, or textclf versions history)",
    )
    BUSY = "busy", 5, "no retraining: another one of this store is running"
    HELD = (
        "held",
        6,
        "the retrained model was not promoted: promotion is on hold, or another version became current meanwhile "
        "(see textclf versions history)",
    )
    NOTHING = "nothing", 7, "the retraining found nothing new to train on"
    FAILED = (
        "failed",
        1,
        "the retraining failed (see above); monitoring tries again after the cool-down, textclf retrain at once",
    )

    exit_status: int
    sentence: str

    def __new__(cls, value: str, exit_status: int, sentence: str) -> Self:
        """Make a member that equals its value as text."""
        member = str.__new__(cls, value)
        member._value_ = value
        member.exit_status = exit_status
        member.sentence = sentence
        return member

    @classmethod
    def of_exit_status(cls, status: int) -> "RetrainOutcome":
        """The outcome of an exit status; an unknown status is FAILED."""
        return next((outcome for outcome in cls if outcome.exit_status == status), cls.FAILED)

    @classmethod
    def of_action(cls, action: str) -> "RetrainOutcome":
        """The outcome of a challenger, from its action in the decision log: held and overtaken are both HELD."""
        decided = {"promote": cls.PROMOTED, "reject": cls.REJECTED, "inconclusive": cls.INCONCLUSIVE}
        return decided.get(action, cls.HELD)
