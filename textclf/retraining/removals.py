"""Records of new texts that combining leaves out, and the reasons."""

from dataclasses import dataclass
from enum import StrEnum

from textclf.data.labelled_reviews import LabelledReview


class Reason(StrEnum):
    """Why a new text is left out, in the order in which the rules are applied; "golden" means the test set."""

    UNKNOWN_LABEL = "unknown_label"
    COPY_OF_TEST = "copy_of_golden"
    NEAR_TEST = "near_golden"
    CONTRADICTORY_LABELS = "contradictory_labels"
    CONTRADICTS_OLD = "contradicts_old"
    COPY_OF_OLD = "copy_of_old"
    DUPLICATE = "duplicate"
    NEAR_OLD = "near_old"
    NEAR_DUPLICATE = "near_duplicate"
    CONTRADICTING_SOURCE = "contradicting_source"
    NEW_SHARE = "new_share"
    SOURCE_QUOTA = "source_quota"
    CLASS_QUOTA = "class_quota"


@dataclass(frozen=True)
class Removed:
    """A new text that is left out.

    Attributes:
        review: the labelled text as it was read.
        reason: the first rule that removes it.
        detail: for example the SHA-256 of the text that it resembles, or the quota that was full.
    """

    review: LabelledReview
    reason: Reason
    detail: str
