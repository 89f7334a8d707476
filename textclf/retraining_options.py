"""The options of a retraining: how new texts are combined with old ones, and when a new model replaces the old one."""

from dataclasses import dataclass

from textclf.config import Config
from textclf.fields import number, share, switch, texts, whole


@dataclass(frozen=True)
class GateOptions(Config):
    """Conditions under which a challenger replaces the champion (textclf.stats.gate)."""

    margin: float = number(
        0.01, "Accuracy that the challenger may lose on the reference test set, as a share.", above=0, below=1
    )
    alpha: float = number(0.05, "One-sided significance level of the gate's bounds and tests.", above=0, below=0.5)
    power: float = number(0.8, "Power for which the gate computes how many texts a decision needs.", above=0.5, below=1)
    min_holdout: int = whole(100, "Minimum number of new held-out texts for a promotion.", min=1)
    min_slice: int = whole(500, "Minimum number of texts for a separate test of a class or length range.", min=1)
    # Two trainings often trade a point of recall between two classes. With 10,000 texts that is significant.
    slice_margin: float = share(0.0, "Accuracy that a class or length range may lose, as a share.")
    # With half, a class is more often found than missed.
    new_class_recall: float = share(
        0.5, "Minimum recall that the held-out texts of each new class must show (--add-classes)."
    )
    # The gate compares its square with the rise of the calibration loss, which is a mean of squared errors.
    calibration_margin: float = share(
        0.04, "Error that the challenger's probabilities may add on the reference test set (root mean square)."
    )


@dataclass(frozen=True)
class CombineOptions(Config):
    """How old and new labelled texts become one data set (textclf.retraining.combining)."""

    holdout_share: float = number(
        0.2, "Share of the new texts that is never used for training, by content hash.", above=0, below=1
    )
    # At 30%, new texts that are all wrong stay a minority in every class that the old texts know well.
    new_share: float = number(0.3, "Maximum share of new texts in the combined training texts.", above=0, below=1)
    # With half, no source outweighs all others together. A single source may fill everything.
    source_share: float = number(
        0.5, "Maximum share of the new texts from one of several sources; small sources count as one.", above=0, max=1
    )
    # 1.5 lets a class mix of 50/50 become 75/25, and keeps a flood of one class from becoming the new mix.
    class_slack: float = number(
        1.5, "Maximum share of a class among the new texts, as a multiple of its old share.", min=1, below=1000
    )
    # The accuracy of two models on 1,000 texts can be compared to about two points.
    holdout_room: int = whole(1000, "Texts that the holdout can always take, even if its share is less.")
    shingle_words: int = whole(3, "Words in a row by which near duplicates are compared.", min=1)
    near_jaccard: float = number(
        0.8, "Minimum share of common word sequences that makes two texts near duplicates.", above=0.5, max=1
    )
    contradiction_alpha: float = number(
        0.01,
        "Significance level, over all sources, at which a source contradicts the champion more than the others.",
        above=0,
        below=1,
    )
    # Texts from elsewhere cost a champion a few points of accuracy; flipping three labels in ten costs over twenty.
    contradiction_margin: float = share(0.1, "Minimum excess of a source's contradiction rate over the others' rate.")
    contradiction_least: int = whole(20, "Minimum number of texts for a source to be judged separately.", min=1)
    trusted_sources: tuple[str, ...] = texts(
        "Source of labels that is never set aside; may be repeated.", flag="--trusted-source"
    )
    add_classes: bool = switch(
        False, "Train on new classes too: labels that the current version does not know.", flag="--add-classes"
    )
    # A fifth is held out: ten texts, of which eight must be found to show a recall of 0.5.
    min_class_texts: int = whole(50, "Minimum number of different texts of a new class (--add-classes).", min=10)

    def __post_init__(self) -> None:
        super().__post_init__()
        # JSON has no tuples.
        object.__setattr__(self, "trusted_sources", tuple(self.trusted_sources))
