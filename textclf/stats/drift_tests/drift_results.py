"""What a comparison of two samples of texts found, in plain values that JSON can hold; no decision is made here."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Self, TypeVar

from textclf.errors import InputError

Record = TypeVar("Record")


@dataclass(frozen=True)
class TestResult:
    """One test of "both samples were drawn alike", inside a family.

    Attributes:
        name: "length", "unknown", "continuation", "non_letter", "logits", "classes", "words", "embeddings",
            "error_rate" or "cusum".
        statistic: the test's own: KS D, chi-square, AUC, squared MMD, errors among the audits, the CUSUM's height.
        p: of this test alone ("logits": times the number of classes, of which the clearest is taken).
        adjusted_p: p times the tests of the family, and then as Holm's over the families.
        effect: how large the difference is, in the unit of the floor.
        floor: effects up to this are negligible.
        is_significant: adjusted_p < alpha.
        is_alarm: significant, and the effect is above the floor.
        class_id: the class whose logits differ most clearly, for "logits"; None for the others.
    """

    # pytest would otherwise take it for a test.
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
    """What one kind of drift comes to.

    Attributes:
        name: "length", "form", "score", "content", "embedding", "stages" or "error".
        test: name of the test in `tests` that speaks for the family: of those that alarm, or else of all, the one
            with the smallest p. `statistic`, `effect` and `floor` are that test's.
        p: Bonferroni over the tests of the family.
        adjusted_p: Holm over the families.
        is_significant: adjusted_p < alpha.
        is_alarm: significant, and the effect is above the floor.
        is_negligible: significant, and the effect is not above the floor.
        tests: one at least.
        seconds: the family took, by the clock that was passed in; None without one.
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
    """A wordpiece that tells the latest texts from the reference, or the other way round.

    Attributes:
        id: of the wordpiece in the vocabulary.
        weight: the domain classifier's for log(1 + count); above 0 it speaks for the latest texts.
        contribution: of this word to the difference of the mean scores of both samples (held-out halves):
            weight times the difference of the means of log(1 + count). All words' together are the whole difference.
        reference_texts, latest_texts: how many texts of each whole sample have it.
        reference_share, latest_share: the same, as shares.
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
        levels: in (0, 1), ascending.
        reference, latest: the quantile at each level.
    """

    levels: tuple[float, ...]
    reference: tuple[float, ...]
    latest: tuple[float, ...]


@dataclass(frozen=True)
class ClassMix:
    """Share of each predicted class: position is the class id, each adds up to 1."""

    reference: tuple[float, ...]
    latest: tuple[float, ...]


@dataclass(frozen=True)
class LabelFigures:
    """What people's labels say of the model's answers: counts only, no verdict.

    Attributes:
        held_out_texts, held_out_errors: of the reference, that the version was measured on.
        audit_texts, audit_errors: labels that are a random audit.
        audit_interval: 95 % of the audits' error rate (Wilson 1927); None without audits.
        other_texts, other_errors: labels that came otherwise. People correct what is wrong, so that their error
            rate is evidence of what goes wrong, and no estimate of how often.
    """

    held_out_texts: int
    held_out_errors: int
    audit_texts: int
    audit_errors: int
    audit_interval: tuple[float, float] | None
    other_texts: int
    other_errors: int


@dataclass(frozen=True)
class DriftResults:
    """Everything compare() found.

    Attributes:
        enough: False where a sample is under options.min_texts: then nothing was tested.
        reference_texts, latest_texts: the sizes of both samples.
        families: what was tested, in a fixed order; a family without data is not among them.
        words: what tells the samples apart most, largest contribution first. Where "content" is not significant
            they are chance.
        class_mix, lengths: None for an empty sample.
        labels: None without labels.
    """

    enough: bool
    reference_texts: int
    latest_texts: int
    families: tuple[FamilyResult, ...]
    words: tuple[WordDrift, ...]
    class_mix: ClassMix | None
    lengths: Quantiles | None
    labels: LabelFigures | None

    @property
    def is_alarm(self) -> bool:
        """True where any family alarms."""
        return any(family.is_alarm for family in self.families)

    @property
    def is_significant(self) -> bool:
        """True where any family is significant, however small its effect."""
        return any(family.is_significant for family in self.families)

    @property
    def tests_audits(self) -> bool:
        """True where there were enough random audits to be tested."""
        return any(family.name == "error" for family in self.families)

    def to_dict(self) -> dict[str, Any]:
        """The figures, for strict JSON."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """The figures from to_dict()'s dict, or from its JSON.

        Raises:
            InputError: a key is missing or unknown.
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
                "labels": record_of(LabelFigures, values["labels"]),
            }
            return cls(**{**values, **parts})
        except (KeyError, TypeError) as error:
            raise InputError(f"expected the drift figures that to_dict() gives, got others: {error}") from error


def record_of(kind: type[Record], values: dict[str, Any] | None) -> Record | None:
    """A dataclass of `values`, None of None; JSON has lists where the records have tuples."""
    if values is None:
        return None
    return kind(**{name: tuple(value) if isinstance(value, list) else value for name, value in values.items()})
