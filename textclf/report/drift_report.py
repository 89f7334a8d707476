"""What a check of drift found, as a record: JSON round trip, and all that the page and the sentence are made of."""

from __future__ import annotations

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

FORMAT = 1
_LENGTH_BARS = 16
_SCORE_BARS = 20


@dataclass(frozen=True)
class Compared:
    """What was compared with what.

    Attributes:
        model, version: of the model; the version's id.
        source: where the latest texts come from, for people.
        texts: of them, how many were compared.
        found: how many there were; where these are more, the compared ones were drawn from them at random.
        since, until: from when to when these are, ISO 8601 in UTC; None where not known.
        reference: what they were compared with, for people.
        reference_texts, reference_found: of it, as above.
        other_versions: texts in the same span of time that other versions answered, by id; they were not compared.
        alpha: chance of any false alarm that was allowed.
        audits_since: from when on the random audits are, ISO 8601 in UTC; None where not known.
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
        edges: of the bins, ascending, one more than bins.
        reference, latest: the share in each bin; each adds up to 1.
    """

    edges: tuple[float, ...]
    reference: tuple[float, ...]
    latest: tuple[float, ...]


@dataclass(frozen=True)
class DriftReport:
    """What a check found; to_dict() and from_dict() are each other's inverse.

    Attributes:
        verdict: "no drift", "drift" or "not enough data".
        sentence: the verdict in words, with what drifted.
        time: of the check, in seconds since the epoch.
        compared: what with what, how many, from when to when.
        figures: every test, and what tells the samples apart (textclf.stats.drift_tests.drift_results).
        words: the names of figures.words, one each; of the vocabulary, which is public.
        class_names: position is the class id.
        rates: mean of the unknown, continuation and non-letter rates, as (reference, latest); {} without texts.
        lengths: of tokens; None without texts.
        scores: P(second class) for two classes, P(label) for more; None without texts.
        prior: share of each class, estimated; None without enough texts.
        accuracy: estimated without labels; None without enough texts. It means nothing where the meaning of the
            classes has drifted.
        notes: what else a reader should know, a sentence each.
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
    format: int = FORMAT

    def to_dict(self) -> dict[str, Any]:
        """The report as a dict that strict JSON can hold; each of its figures.words has its name beside the id."""
        values = dataclasses.asdict(self)
        words = zip(self.words, values["figures"]["words"], strict=True)
        values["figures"]["words"] = tuple({"word": name, **word} for name, word in words)
        return values

    def to_json(self) -> str:
        """The report as JSON text that ends with a line break."""
        return json.dumps(self.to_dict(), ensure_ascii=False, indent=1, allow_nan=False) + "\n"

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """The report from to_dict()'s dict, or from its JSON.

        Raises:
            InputError: it is none, or of a newer format.
        """
        try:
            if values["format"] != FORMAT:
                raise InputError(f"expected a drift report of format {FORMAT}, got {values['format']!r}")
            if values["verdict"] not in VERDICTS:
                raise InputError(f"expected one of {', '.join(VERDICTS)} as the verdict, got {values['verdict']!r}")
            parts = {
                "compared": Compared(**values["compared"]),
                "figures": DriftResults.from_dict({**values["figures"], "words": _unnamed(values["figures"]["words"])}),
                "words": tuple(values["words"]),
                "class_names": tuple(values["class_names"]),
                "rates": {name: tuple(pair) for name, pair in values["rates"].items()},
                "lengths": record_of(Histogram, values["lengths"]),
                "scores": record_of(Histogram, values["scores"]),
                "prior": record_of(PriorEstimate, values["prior"]),
                "accuracy": record_of(AccuracyEstimate, values["accuracy"]),
                "notes": tuple(values["notes"]),
            }
            return cls(**{**values, **parts})
        except (KeyError, TypeError, AttributeError) as error:
            raise InputError(f"expected the drift report that to_dict() gives, got something else: {error}") from error

    def summary(self) -> CheckSummary:
        """What the state file and /metrics keep of it."""
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
        )


def drift_report(
    figures: DriftResults,
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
) -> DriftReport:
    """The report of a comparison.

    Args:
        figures: what compare() found of the two samples.
        reference, latest: the samples.
        time: of the check, in seconds since the epoch.
        compared, prior, accuracy, notes: see DriftReport.
        options: that the samples were compared with.
        vocabulary: wordpieces; position is the id.
        class_names: position is the class id.
        temperature: of the version, for the scores.

    Raises:
        ConfigError: the vocabulary is not that of the ids.
    """
    if any(word.id >= len(vocabulary) for word in figures.words):
        raise ConfigError(f"expected a vocabulary with every wordpiece that was counted, got {len(vocabulary)} words")
    words = tuple(vocabulary[word.id] for word in figures.words)
    has_texts = len(reference) > 0 and len(latest) > 0
    rates = _rates(reference, latest) if has_texts else {}
    differences = Differences(figures, words, tuple(class_names), rates, options.min_texts)
    return DriftReport(
        verdict=NOT_ENOUGH_DATA if not figures.enough else DRIFT if figures.is_alarm else NO_DRIFT,
        sentence=verdict_sentence(differences),
        time=time,
        compared=compared,
        figures=figures,
        words=words,
        class_names=tuple(class_names),
        rates=rates,
        lengths=_lengths(reference, latest) if has_texts else None,
        scores=_scores(reference, latest, temperature) if has_texts else None,
        prior=prior,
        accuracy=accuracy,
        notes=tuple(notes),
    )


def _unnamed(words: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{name: value for name, value in word.items() if name != "word"} for word in words]


def _rates(reference: TextFeatures, latest: TextFeatures) -> dict[str, tuple[float, float]]:
    names = ("unknown", "continuation", "non_letter")
    return {
        name: (float(getattr(reference, f"{name}_rates").mean()), float(getattr(latest, f"{name}_rates").mean()))
        for name in names
    }


def _lengths(reference: TextFeatures, latest: TextFeatures) -> Histogram:
    """In bins that grow by a constant factor: texts of 20 and 40 tokens differ as those of 200 and 400 do."""
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
        # Rounding may put a value a hair beyond the outer edges.
        counts, _ = np.histogram(np.clip(values, edges[0], edges[-1]), edges)
        return tuple((counts / len(values)).tolist())

    return Histogram(tuple(edges.tolist()), shares(reference), shares(latest))
