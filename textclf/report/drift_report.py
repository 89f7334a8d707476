"""The report of a drift check: a record that is stored as JSON and rendered as text and as HTML."""

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from textclf.config import DriftOptions
from textclf.drift.features import TextFeatures
from textclf.drift.state import DRIFT, NO_DRIFT, NOT_ENOUGH_DATA, VERDICTS, CheckSummary
from textclf.errors import ConfigError, InputError
from textclf.report.drift_summary import Differences, verdict_sentence
from textclf.stats.calibration import softmax
from textclf.stats.drift_tests.drift_results import DriftResults, record_of
from textclf.stats.drift_tests.estimated_accuracy import AccuracyEstimate
from textclf.stats.drift_tests.label_shift import PriorEstimate
from textclf.stats.drift_tests.unsure_shares import UnsureShares

FORMAT = 1
_LENGTH_BARS = 16
_SCORE_BARS = 20


@dataclass(frozen=True)
class Compared:
    """The two samples.

    Attributes:
        model, version: name of the model, and id of its version.
        source: description of the latest texts.
        texts: number of latest texts that were compared.
        found: number of texts that the compared ones were drawn from at random.
        since, until: time span of the latest texts, ISO 8601 in UTC; None if unknown.
        reference: description of the reference.
        reference_texts, reference_found: the same numbers for the reference.
        other_versions: number of texts of other versions in the span, by version id; they were not compared.
        alpha: maximum chance of any false alarm.
        audits_since: time of the first random audit, ISO 8601 in UTC; None if unknown.
    """

    model: str
    version: str
    source: str
    texts: int
    found: int
    since: str | None
    until: str | None
    reference: str
    reference_texts: int
    reference_found: int
    other_versions: dict[str, int]
    alpha: float
    audits_since: str | None = None


@dataclass(frozen=True)
class Histogram:
    """Shares of two samples in the same bins.

    Attributes:
        edges: edges of the bins, ascending; n + 1 for n bins.
        reference, latest: share of the sample in each bin; the n shares add up to 1.
    """

    edges: tuple[float, ...]
    reference: tuple[float, ...]
    latest: tuple[float, ...]


@dataclass(frozen=True)
class DriftReport:
    """The report of a drift check; from_dict() reads what to_dict() returns.

    Attributes:
        verdict: "no drift", "drift" or "not enough data".
        sentence: the verdict in words, with all differences.
        time: time of the check, in seconds since the epoch.
        compared: the two samples.
        figures: results of all tests (textclf.stats.drift_tests.drift_results).
        words: wordpieces of figures.words. They come from the public vocabulary, not from the texts.
        class_names: class names; the position is the class id.
        rates: mean unknown, continuation and non-letter rates as (reference, latest); {} without texts.
        lengths: histogram of the lengths in tokens; None without texts.
        scores: histogram of P(second class) for two classes, or P(label) for more; None without texts.
        prior: estimated share of each class; None without enough texts.
        accuracy: accuracy estimated without labels; None without enough texts.
        notes: further sentences for the reader.
        unsure: shares of unsure predictions; None without thresholds or without enough texts.
        format: format of the JSON.
    """

    verdict: str
    sentence: str
    time: float
    compared: Compared
    figures: DriftResults
    words: tuple[str, ...]
    class_names: tuple[str, ...]
    rates: dict[str, tuple[float, float]]
    lengths: Histogram | None
    scores: Histogram | None
    prior: PriorEstimate | None
    accuracy: AccuracyEstimate | None
    notes: tuple[str, ...] = ()
    unsure: UnsureShares | None = None
    format: int = FORMAT

    def to_dict(self) -> dict[str, Any]:
        """The report as a dict for strict JSON; each item of figures.words also contains its wordpiece."""
        values = dataclasses.asdict(self)
        words = zip(self.words, values["figures"]["words"], strict=True)
        values["figures"]["words"] = tuple({"word": name, **word} for name, word in words)
        return values

    def to_json(self) -> str:
        """The report as JSON text with a final line break."""
        return json.dumps(self.to_dict(), ensure_ascii=False, indent=1, allow_nan=False) + "\n"

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """The report from the dict of to_dict(), or from its JSON.

        Raises:
            InputError: if a key is missing or unknown, or the format is another one.
        """
        try:
            if values["format"] != FORMAT:
                raise InputError(f"expected a drift report of format {FORMAT}, got {values['format']!r}")
            if values["verdict"] not in VERDICTS:
                raise InputError(f"expected one of {', '.join(VERDICTS)} as the verdict, got {values['verdict']!r}")
            words = values["figures"]["words"]
            unnamed = [{name: value for name, value in word.items() if name != "word"} for word in words]
            parts = {
                "compared": Compared(**values["compared"]),
                "figures": DriftResults.from_dict({**values["figures"], "words": unnamed}),
                "words": tuple(values["words"]),
                "class_names": tuple(values["class_names"]),
                "rates": {name: tuple(pair) for name, pair in values["rates"].items()},
                "lengths": record_of(Histogram, values["lengths"]),
                "scores": record_of(Histogram, values["scores"]),
                "prior": record_of(PriorEstimate, values["prior"]),
                "accuracy": record_of(AccuracyEstimate, values["accuracy"]),
                "notes": tuple(values["notes"]),
                "unsure": record_of(UnsureShares, values.get("unsure")),
            }
            return cls(**{**values, **parts})
        except (KeyError, TypeError, AttributeError) as error:
            raise InputError(f"expected a drift report as written by to_dict(): {error}") from error

    def summary(self) -> CheckSummary:
        """The part of the report that drift.json and /metrics contain."""
        families = self.figures.families
        return CheckSummary(
            time=self.time,
            version=self.compared.version,
            verdict=self.verdict,
            sentence=self.sentence,
            texts=self.compared.texts,
            effects={family.name: family.effect for family in families},
            floors={family.name: family.floor for family in families},
            adjusted_p={family.name: family.adjusted_p for family in families},
            alarms=tuple(family.name for family in families if family.is_alarm),
            unsure={} if self.unsure is None else {"reference": self.unsure.reference, "latest": self.unsure.latest},
        )


def drift_report(
    results: DriftResults,
    reference: TextFeatures,
    latest: TextFeatures,
    *,
    time: float,
    compared: Compared,
    options: DriftOptions,
    vocabulary: Sequence[str],
    class_names: Sequence[str],
    temperature: float,
    prior: PriorEstimate | None = None,
    accuracy: AccuracyEstimate | None = None,
    notes: Sequence[str] = (),
    unsure: UnsureShares | None = None,
) -> DriftReport:
    """Create the report of a comparison.

    Args:
        results, reference, latest, options: of compare().
        vocabulary: wordpieces; the position is the id.
        class_names, temperature: of the version.
        time, compared, prior, accuracy, notes, unsure: see DriftReport.

    Raises:
        ConfigError: if a wordpiece id is not in the vocabulary.
    """
    if any(word.id >= len(vocabulary) for word in results.words):
        raise ConfigError(f"expected a vocabulary with every wordpiece that was counted, got {len(vocabulary)} words")
    words = tuple(vocabulary[word.id] for word in results.words)
    has_texts = len(reference) > 0 and len(latest) > 0
    rates = _rates(reference, latest) if has_texts else {}
    differences = Differences(results, words, tuple(class_names), rates, options.min_texts)
    return DriftReport(
        verdict=NOT_ENOUGH_DATA if not results.enough else DRIFT if results.is_alarm else NO_DRIFT,
        sentence=verdict_sentence(differences),
        time=time,
        compared=compared,
        figures=results,
        words=words,
        class_names=tuple(class_names),
        rates=rates,
        lengths=_lengths(reference, latest) if has_texts else None,
        scores=_scores(reference, latest, temperature) if has_texts else None,
        prior=prior,
        accuracy=accuracy,
        notes=tuple(notes),
        unsure=unsure,
    )


def _rates(reference: TextFeatures, latest: TextFeatures) -> dict[str, tuple[float, float]]:
    names = ("unknown", "continuation", "non_letter")
    return {
        name: (float(getattr(reference, f"{name}_rates").mean()), float(getattr(latest, f"{name}_rates").mean()))
        for name in names
    }


def _lengths(reference: TextFeatures, latest: TextFeatures) -> Histogram:
    """Histogram of the lengths in bins that grow by a constant factor."""
    both = np.concatenate([reference.lengths, latest.lengths])
    edges = np.geomspace(max(1, both.min()), both.max() + 1, _LENGTH_BARS + 1)
    return _histogram(reference.lengths, latest.lengths, np.unique(np.round(edges)))


def _scores(reference: TextFeatures, latest: TextFeatures, temperature: float) -> Histogram:
    def scores(features: TextFeatures) -> NDArray[np.float64]:
        probabilities = softmax(features.logits, temperature)
        if probabilities.shape[1] == 2:
            return np.asarray(probabilities[:, 1], np.float64)
        return np.asarray(probabilities[np.arange(len(features)), features.predicted], np.float64)

    return _histogram(scores(reference), scores(latest), np.linspace(0, 1, _SCORE_BARS + 1))


def _histogram(reference: NDArray[Any], latest: NDArray[Any], edges: NDArray[np.float64]) -> Histogram:
    def shares(values: NDArray[Any]) -> tuple[float, ...]:
        # Rounding may put a value just outside the outer edges.
        counts, _ = np.histogram(np.clip(values, edges[0], edges[-1]), edges)
        return tuple((counts / len(values)).tolist())

    return Histogram(tuple(edges.tolist()), shares(reference), shares(latest))
