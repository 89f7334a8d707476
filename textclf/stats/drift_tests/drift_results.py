"""Results of comparing two samples of texts, as records of plain values that JSON can hold."""

import dataclasses
from dataclasses import dataclass
from typing import Any, Self, TypeVar

from textclf.drift.audit_run import AuditRun
from textclf.errors import InputError

Record = TypeVar("Record")


@dataclass(frozen=True)
class TestResult:
    """One test of "both samples were drawn alike" in a family of tests.

    Attributes:
        name: "length", "unknown", "continuation", "non_letter", "logits", "classes", "words", "embeddings",
            "disagreement", "error_rate" or "cusum".
        statistic: KS D, chi-square, AUC, squared MMD, change of the rate, errors among the audits, or CUSUM height.
        p: p-value of this test alone; for "logits" that of the clearest class, times the number of classes.
        adjusted_p: p times the number of tests in the family, then corrected by Holm over the families.
        effect: size of the difference, in the unit of `floor`.
        floor: minimum effect; an effect up to this is negligible.
        is_significant: True if adjusted_p < alpha.
        is_alarm: True if significant and the effect is above the minimum.
        class_id: class whose logits differ most clearly, for "logits"; otherwise None.
    """

    # Otherwise pytest would collect it as a test.
    __test__ = False

    name: str
    statistic: float
    p: float
    adjusted_p: float
    effect: float
    floor: float
    is_significant: bool
    is_alarm: bool
    class_id: int | None = None


@dataclass(frozen=True)
class FamilyResult:
    """Result for one kind of drift.

    Attributes:
        name: "length", "form", "score", "content", "embedding", "stages" or "error".
        test: name of the test that represents the family: the one with the smallest p among those that alarm, or
            among all if none does. `statistic`, `effect` and `floor` are of this test.
        p: p-value corrected by Bonferroni over the tests of the family.
        adjusted_p: p-value corrected by Holm over the families.
        is_significant: True if adjusted_p < alpha.
        is_alarm: True if significant and the effect is above the minimum.
        is_negligible: True if significant and the effect is not above the minimum.
        tests: tests of the family, at least one.
        seconds: computing time of the family; None without a clock.
    """

    name: str
    test: str
    statistic: float
    p: float
    adjusted_p: float
    effect: float
    floor: float
    is_significant: bool
    is_alarm: bool
    is_negligible: bool
    tests: tuple[TestResult, ...]
    seconds: float | None


@dataclass(frozen=True)
class WordDrift:
    """A wordpiece that separates the latest texts from the reference.

    Attributes:
        id: id of the wordpiece in the vocabulary.
        weight: weight of log(1 + count) in the domain classifier; above 0 it points to the latest texts.
        contribution: weight times the difference of the means of log(1 + count) between the held-out halves. All
            contributions add up to the difference of the mean scores.
        reference_texts, latest_texts: number of texts with the wordpiece in each whole sample.
        reference_share, latest_share: share of texts with the wordpiece in each whole sample.
    """

    id: int
    weight: float
    contribution: float
    reference_texts: int
    latest_texts: int
    reference_share: float
    latest_share: float


@dataclass(frozen=True)
class Quantiles:
    """Quantiles of the token lengths.

    Attributes:
        levels: levels in (0, 1), ascending.
        reference, latest: the quantile at each level.
    """

    levels: tuple[float, ...]
    reference: tuple[float, ...]
    latest: tuple[float, ...]


@dataclass(frozen=True)
class ClassMix:
    """Share of each predicted class in both samples; the position is the class id."""

    reference: tuple[float, ...]
    latest: tuple[float, ...]


@dataclass(frozen=True)
class LabelCounts:
    """Numbers of labelled texts and of wrong predictions among them.

    Attributes:
        held_out_texts, held_out_errors: numbers of the reference.
        audit_texts, audit_errors: numbers of the random audits.
        audit_interval: 95% interval of the audits' error rate (Wilson 1927); None without audits.
        other_texts, other_errors: numbers of the other labels. People mostly correct mistakes, so these do not
            estimate the error rate.
        audit_unknown, other_unknown: numbers of audits and of other labels that are not a class of the model. They are
            among the errors.
    """

    held_out_texts: int
    held_out_errors: int
    audit_texts: int
    audit_errors: int
    audit_interval: tuple[float, float] | None
    other_texts: int
    other_errors: int
    audit_unknown: int = 0
    other_unknown: int = 0


@dataclass(frozen=True)
class DriftResults:
    """All results of compare().

    Attributes:
        enough: False if a sample has fewer than options.min_texts texts; then nothing was tested.
        reference_texts, latest_texts: sizes of both samples.
        families: tested families in a fixed order, without those that had no data.
        words: words that separate the samples most, largest contribution first. They are due to chance unless
            "content" is significant.
        class_mix, lengths: None if a sample is empty.
        labels: None without labels.
        audit_run: CUSUM after these audits, which the next window continues; None if they were not tested.
    """

    enough: bool
    reference_texts: int
    latest_texts: int
    families: tuple[FamilyResult, ...]
    words: tuple[WordDrift, ...]
    class_mix: ClassMix | None
    lengths: Quantiles | None
    labels: LabelCounts | None
    audit_run: AuditRun | None = None

    @property
    def is_alarm(self) -> bool:
        """True if any family alarms."""
        return any(family.is_alarm for family in self.families)

    @property
    def is_significant(self) -> bool:
        """True if any family is significant, whatever its effect."""
        return any(family.is_significant for family in self.families)

    @property
    def tests_audits(self) -> bool:
        """True if there were enough random audits for a test."""
        return any(family.name == "error" for family in self.families)

    def to_dict(self) -> dict[str, Any]:
        """The results as a dict for strict JSON."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """The results from the dict of to_dict(), or from its JSON.

        Raises:
            InputError: if a key is missing or unknown.
        """
        try:
            parts = {
                "families": tuple(
                    FamilyResult(**{**family, "tests": tuple(TestResult(**test) for test in family["tests"])})
                    for family in values["families"]
                ),
                "words": tuple(WordDrift(**word) for word in values["words"]),
                "class_mix": record_of(ClassMix, values["class_mix"]),
                "lengths": record_of(Quantiles, values["lengths"]),
                "labels": record_of(LabelCounts, values["labels"]),
                "audit_run": record_of(AuditRun, values.get("audit_run")),
            }
            return cls(**{**values, **parts})
        except (KeyError, TypeError) as error:
            raise InputError(f"expected drift results as written by to_dict(): {error}") from error


def record_of(kind: type[Record], values: dict[str, Any] | None) -> Record | None:
    """Create a dataclass from JSON values, with tuples for lists; None stays None."""
    if values is None:
        return None
    return kind(**{name: tuple(value) if isinstance(value, list) else value for name, value in values.items()})
