"""Compare the latest texts with the reference: test every kind of drift, corrected for the number of tests.

An alarm needs a difference that is significant and large enough to matter. With many texts, every difference is
significant; with few, chance alone causes large differences.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from textclf.config import DriftOptions
from textclf.drift.audit_run import AuditRun
from textclf.drift.features import TextFeatures
from textclf.errors import InputError
from textclf.stats.drift_tests.domain_classifier import classifier_two_sample_test
from textclf.stats.drift_tests.drift_results import (
    ClassMix,
    DriftResults,
    FamilyResult,
    Quantiles,
    TestResult,
    WordDrift,
)
from textclf.stats.drift_tests.error_cusum import cusum
from textclf.stats.drift_tests.error_rate_drift import AuditEvidence, error_rate_test, label_counts
from textclf.stats.drift_tests.mmd import mmd_test
from textclf.stats.drift_tests.two_sample import class_shares, class_test, ks_test, ks_test_of_columns, rate_test
from textclf.stats.holm import holm

QUANTILE_LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)


@dataclass(frozen=True)
class _Measured:
    """A test before the correction; see TestResult."""

    name: str
    statistic: float
    p: float
    effect: float
    min_effect: float
    class_id: int | None = None
    words: tuple[WordDrift, ...] = ()
    audit_run: AuditRun | None = None


@dataclass(frozen=True)
class _Samples:
    """The data of one comparison."""

    reference: TextFeatures
    latest: TextFeatures
    class_count: int
    audit: AuditEvidence | None


def compare(
    reference: TextFeatures,
    latest: TextFeatures,
    options: DriftOptions,
    rng: np.random.Generator,
    *,
    class_count: int,
    audit: AuditEvidence | None = None,
    clock: Callable[[], float] | None = None,
) -> DriftResults:
    """Test every family of drift that has data.

    | family    | test                                                     | effect                       |
    | --------- | -------------------------------------------------------- | ---------------------------- |
    | length    | KS of the token lengths                                  | KS distance                  |
    | form      | KS of unknown-token, continuation and non-letter rates   | KS distance                  |
    | score     | KS of each logit; chi-square of the predicted classes    | KS distance; total variation |
    | content   | classifier two-sample test of the words                  | AUC                          |
    | embedding | MMD of the embeddings                                    | relative MMD (mmd.py)        |
    | stages    | rate at which both stages of a cascade disagree (Fisher) | change of the rate           |
    | error     | error rate of random audits; CUSUM of them over time     | rise of the error rate       |

    Bonferroni combines the tests of a family, Holm the families. If both samples were drawn alike, the chance of any
    significant family is at most alpha. An alarm also needs an effect above the minimum.

    Args:
        reference: held-out texts of the version. Fit the projection of the embeddings on other texts: a sample varies
            more in directions that were fitted to it.
        latest: latest texts, none of them from the reference.
        options: alpha, minimum effects and numbers of permutations.
        rng: draws splits and permutations; each family has its own stream.
        class_count: number of classes K.
        audit: labels of predictions. Family "error" needs at least options.min_audits random audits among them.
        clock: returns seconds, to time the families; None times nothing.

    Raises:
        InputError: if the samples come from different models, or contain values that are not finite.
    """
    _check(reference, latest, class_count)
    enough = min(len(reference), len(latest)) >= options.min_texts
    measured: dict[str, Sequence[_Measured]] = {}
    seconds: dict[str, float | None] = {}
    if enough:
        for (family, measure), stream in zip(_FAMILIES.items(), rng.spawn(len(_FAMILIES)), strict=True):
            started = clock() if clock else 0.0
            if tests := measure(_Samples(reference, latest, class_count, audit), options, stream):
                measured[family] = tests
                seconds[family] = clock() - started if clock else None
    return DriftResults(
        enough=enough,
        reference_texts=len(reference),
        latest_texts=len(latest),
        families=_judged(measured, seconds, options.alpha),
        words=tuple(word for tests in measured.values() for test in tests for word in test.words),
        class_mix=_class_mix(reference, latest, class_count),
        lengths=_length_quantiles(reference, latest),
        labels=label_counts(audit) if audit else None,
        audit_run=next((test.audit_run for tests in measured.values() for test in tests if test.audit_run), None),
    )


def _length(samples: _Samples, options: DriftOptions, _: np.random.Generator) -> list[_Measured]:
    return [_ks("length", samples, "lengths", options.length_floor)]


def _form(samples: _Samples, options: DriftOptions, _: np.random.Generator) -> list[_Measured]:
    names = ("unknown", "continuation", "non_letter")
    return [_ks(name, samples, f"{name}_rates", options.form_floor) for name in names]


def _ks(name: str, samples: _Samples, column: str, min_effect: float) -> _Measured:
    found = ks_test(getattr(samples.reference, column), getattr(samples.latest, column))
    return _Measured(name, found.distance, found.p, found.distance, min_effect)


def _score(samples: _Samples, options: DriftOptions, rng: np.random.Generator) -> list[_Measured]:
    reference, latest, min_effect = samples.reference, samples.latest, options.score_floor
    logits = ks_test_of_columns(reference.logits, latest.logits)
    classes = class_test(reference.predicted, latest.predicted, samples.class_count, options.permutations, rng)
    return [
        _Measured("logits", logits.distance, logits.p, logits.distance, min_effect, class_id=logits.column),
        _Measured("classes", classes.statistic, classes.p, classes.variation, min_effect),
    ]


def _content(samples: _Samples, options: DriftOptions, rng: np.random.Generator) -> list[_Measured]:
    reference, latest = samples.reference.words, samples.latest.words
    found = classifier_two_sample_test(
        reference, latest, options.permutations, options.most_words, rng, min_texts=options.least_word_texts
    )
    return [_Measured("words", found.auc, found.p, found.auc, options.threshold, words=found.words)] if found else []


def _embedding(samples: _Samples, options: DriftOptions, rng: np.random.Generator) -> list[_Measured]:
    x, y = (embedded(sample) for sample in (samples.reference, samples.latest))
    if min(len(x), len(y)) < options.min_texts:
        return []
    x, y = (values[rng.permutation(len(values))[: options.mmd_most]] for values in (x, y))
    found = mmd_test(x, y, options.permutations, rng)
    return [_Measured("embeddings", found.squared, found.p, found.effect, options.embedding_floor)]


def _stages(samples: _Samples, options: DriftOptions, _: np.random.Generator) -> list[_Measured]:
    x, y = (compared_stages(sample) for sample in (samples.reference, samples.latest))
    if min(len(x), len(y)) < options.min_texts:
        return []
    found = rate_test(x, y)
    return [_Measured("disagreement", found.change, found.p, abs(found.change), options.disagreement_floor)]


def embedded(sample: TextFeatures) -> NDArray[np.float32]:
    """Embeddings of the texts that have one: float32 [texts, D]."""
    if sample.embeddings is None:
        return np.empty((0, 0), np.float32)
    return sample.embeddings[np.isfinite(sample.embeddings).all(axis=1)]


def compared_stages(sample: TextFeatures) -> NDArray[np.bool_]:
    """True for each text on which the stages disagree, without texts where that is unknown: bool [texts]."""
    if sample.disagreements is None:
        return np.empty(0, np.bool_)
    return sample.disagreements[np.isfinite(sample.disagreements)] > 0


def _error(samples: _Samples, options: DriftOptions, rng: np.random.Generator) -> list[_Measured]:
    if samples.audit is None or int(samples.audit.is_audit.sum()) < options.min_audits:
        return []
    held_out = samples.audit.held_out_errors, samples.audit.held_out_texts
    is_wrong = samples.audit.audited_errors()
    rate = error_rate_test(is_wrong, *held_out)
    over_time = cusum(is_wrong, samples.audit.run(options.cusum_shift), options.permutations, rng)
    return [
        _Measured("error_rate", float(is_wrong.sum()), rate.p, rate.rise, options.error_floor),
        _Measured("cusum", over_time.height, over_time.p, over_time.rise, options.error_floor, audit_run=over_time.run),
    ]


_FAMILIES: Mapping[str, Callable[[_Samples, DriftOptions, np.random.Generator], list[_Measured]]] = {
    "length": _length,
    "form": _form,
    "score": _score,
    "content": _content,
    "embedding": _embedding,
    "stages": _stages,
    "error": _error,
}


def _judged(
    measured: Mapping[str, Sequence[_Measured]], seconds: Mapping[str, float | None], alpha: float
) -> tuple[FamilyResult, ...]:
    """Correct the p-values of all families, and decide which are significant and which alarm."""
    p_values = {name: _bonferroni(tests, min(test.p for test in tests)) for name, tests in measured.items()}
    families = []
    for name, tests in measured.items():
        results = [_judged_test(test, _adjusted(p_values, name, _bonferroni(tests, test.p)), alpha) for test in tests]
        represents = max(results, key=lambda test: (test.is_alarm, -test.p, test.effect))
        adjusted = _adjusted(p_values, name, p_values[name])
        families.append(
            FamilyResult(
                name=name,
                test=represents.name,
                statistic=represents.statistic,
                p=p_values[name],
                adjusted_p=adjusted,
                effect=represents.effect,
                floor=represents.floor,
                is_significant=adjusted < alpha,
                is_alarm=represents.is_alarm,
                is_negligible=adjusted < alpha and not represents.is_alarm,
                tests=tuple(results),
                seconds=seconds[name],
            )
        )
    return tuple(families)


def _judged_test(test: _Measured, adjusted_p: float, alpha: float) -> TestResult:
    is_significant = adjusted_p < alpha
    return TestResult(
        name=test.name,
        statistic=test.statistic,
        p=test.p,
        adjusted_p=adjusted_p,
        effect=test.effect,
        floor=test.min_effect,
        is_significant=is_significant,
        is_alarm=is_significant and test.effect > test.min_effect,
        class_id=test.class_id,
    )


def _bonferroni(tests: Sequence[_Measured], p: float) -> float:
    return min(1.0, len(tests) * p)


def _adjusted(p_values: Mapping[str, float], name: str, p: float) -> float:
    """The adjusted p-value of a family by Holm, if its p-value were `p`."""
    changed = {**p_values, name: p}
    return float(holm(list(changed.values()))[list(changed).index(name)])


def _class_mix(reference: TextFeatures, latest: TextFeatures, class_count: int) -> ClassMix | None:
    if not len(reference) or not len(latest):
        return None
    return ClassMix(*(tuple(class_shares(each.predicted, class_count).tolist()) for each in (reference, latest)))


def _length_quantiles(reference: TextFeatures, latest: TextFeatures) -> Quantiles | None:
    if not len(reference) or not len(latest):
        return None
    found = (tuple(np.quantile(sample.lengths, QUANTILE_LEVELS).tolist()) for sample in (reference, latest))
    return Quantiles(QUANTILE_LEVELS, *found)


def _check(reference: TextFeatures, latest: TextFeatures, class_count: int) -> None:
    for name, sample in (("reference", reference), ("latest", latest)):
        if sample.logits.shape[1] != class_count:
            raise InputError(
                f"{name}: expected logits of {class_count} classes, got {sample.logits.shape[1]}; features and model "
                f"must be of one version"
            )
        if len(sample) and not 0 <= sample.predicted.min() <= sample.predicted.max() < class_count:
            raise InputError(
                f"{name}: expected predicted classes from 0 to {class_count - 1}, got ids from "
                f"{sample.predicted.min()} to {sample.predicted.max()}"
            )
        values = [sample.unknown_rates, sample.continuation_rates, sample.non_letter_rates, sample.logits]
        pooled = np.zeros((1, 1)) if sample.embeddings is None else sample.embeddings
        # A row of NaN is a text without an embedding.
        whole = np.isfinite(pooled).all(axis=1) | np.isnan(pooled).all(axis=1)
        if not (whole.all() and all(np.isfinite(value).all() for value in values)):
            raise InputError(f"{name}: expected finite rates, logits and embeddings, got values that are not")
    widths = {sample.embeddings.shape[1] for sample in (reference, latest) if sample.embeddings is not None}
    if len(widths) > 1:
        raise InputError(
            f"expected embeddings of one projection in both samples, got widths {sorted(widths)}; features and "
            f"reference must be of one version"
        )
