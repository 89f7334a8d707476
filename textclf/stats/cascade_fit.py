"""Fits a cascade to held-out texts: whether combining both stages helps, and what share of texts may exit early."""

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from textclf.errors import InputError
from textclf.stats.calibration import expected_calibration_error, fit_temperature, softmax
from textclf.stats.cascade_objective import Objective
from textclf.stats.cascade_rules import (
    MAX_WEIGHT,
    CascadeSettings,
    Floats,
    StageOutputs,
    exit_confidences,
    exits,
    final_logits,
)
from textclf.stats.class_weights import inverse_frequencies
from textclf.stats.folds import stratified_folds

SHARES = tuple(share / 100 for share in range(5, 100, 5))
# Maximum loss of early exits in each value of the objective; for accuracy it is a share of all texts.
MAX_LOST = 0.001
# A smaller share of early exits saves too little time to justify a second stage.
MIN_EXIT_SHARE = 0.1
# Texts added to the expected losses, as Jeffreys' prior adds a half to a count: a calibration set of fewer than 500
# texts can't show a loss this small.
_UNSEEN_LOSS = 0.5
# Maximum loss counted with labels. A higher count is not chance: the probabilities may be wrong.
_MAX_COUNTED = 2 * MAX_LOST
# With fewer texts hardly any prediction is wrong, so the cost of a wrong combination does not show.
MIN_TEXTS_TO_COMBINE = 200
# Share of the shortest held-out texts; only the encoder predicts shorter texts.
_SHORT_SHARE = 0.01
_ACCURACY = Objective()
# One-sided critical value (level 0.05) of the test that combining makes the labels likelier.
_Z = 1.645
# Standard deviation of the normal prior of both weights, around (1, 0).
_PRIOR = 1.0
# Minimum weight of the encoder: if both stages are worse than chance, two weights of 0 would give no prediction.
_MIN_WEIGHT = 1e-3


@dataclass(frozen=True)
class CascadeFit:
    """Result of fitting a cascade.

    Attributes:
        settings: settings of the cascade; None if it brings no benefit.
        why_off: why early exits or combining stay off; "" if both are on.
        results: cross-fitted results as from cascade_results, and "curve": for each share tried, the share of early
            exits, the largest expected loss in a value of the objective against combining everywhere, and the accuracy
            lost, counted with labels.
    """

    settings: CascadeSettings | None
    why_off: str
    results: dict[str, Any]


def cascade_results(
    settings: CascadeSettings, outputs: StageOutputs, labels: NDArray[np.integer[Any]]
) -> dict[str, Any]:
    """Results of a cascade on n labelled texts, as a dict for JSON.

    "texts": n. "exit_share": share of early exits. "accuracy": of the encoder alone, the linear stage alone, the
    combination on all texts (with the weights of the cascade, which were fitted to the texts that reach the encoder),
    and the cascade. "accuracy_on_exits": of linear stage and encoder on the early exits. "expected_calibration_error":
    of the encoder alone, the cascade, and the cascade on each stage's texts ("linear_stage", "encoder_stage"). A value
    is None if there are no texts for it.

    Raises:
        InputError: if there are no texts.
    """
    return _results(outputs, _decided(settings, outputs), labels)


def fit_cascade(
    outputs: StageOutputs, labels: NDArray[np.integer[Any]], seed: int = 0, objective: Objective = _ACCURACY
) -> CascadeFit:
    """Choose temperature, weights and the confidence for early exits on held-out labelled texts.

    Combining stays off unless it makes the labels likelier than a rescaled encoder does; so an effect that a better
    temperature would have, too, does not count. The test is one-sided and paired, on log-likelihoods, at level 0.05,
    and needs at least MIN_TEXTS_TO_COMBINE texts. If the training had class weights, each class weighs the same. If it
    had class weights or another metric than accuracy, combining must not lose in these, either.

    The share of early exits is the largest, in steps of 5 points, that loses at most MAX_LOST against combining
    everywhere, in each value of the objective. Losses are cross-fitted in FOLDS folds (temperature, weights and
    threshold come from the other folds), with half a text added: one of the rarest class, if the objective weighs
    classes the same. The expected loss uses the probabilities of the combination as labels. Counting with labels is far
    noisier, because the labels of a few texts decide. On halves of 4,974 film reviews, counting gave a share of 81%
    with a deviation of 9, and cost more than 0.2 points on the other half in 22% of 300 trials; probabilities gave 80%
    with a deviation of 1.3, and 1% of the trials. A counted loss above twice MAX_LOST ends the search, too. A share
    below MIN_EXIT_SHARE turns early exits off.

    Neither stage was fitted to the texts of `outputs`; `labels` are their class ids, int [n].

    Raises:
        InputError: if there are no texts.
    """
    if not len(outputs):
        raise InputError("expected held-out texts to fit a cascade to, got none")
    ids: NDArray[np.int64] = np.asarray(labels, np.int64)
    folds = stratified_folds(ids, seed)
    # For each fold, fit on the other folds once: the temperature does not depend on the exit share tried.
    others = [_Fitted.to(outputs.take(~is_in), ids[~is_in]) for is_in in folds]

    def joined(settings: list[CascadeSettings]) -> _Decided:
        return _joined(
            [_decided(each, outputs.take(is_in)) for each, is_in in zip(settings, folds, strict=True)], folds
        )

    def cross_fitted(combines: bool, share: float) -> _Decided:
        return joined([fitted.settings(combines, share) for fitted in others])

    everywhere = cross_fitted(True, 0.0)
    rescaled = joined([fitted.encoder_rescaled() for fitted in others])
    classes = everywhere.cascade.shape[1]
    truth = np.eye(classes)[ids]

    def counted(decided: _Decided) -> NDArray[np.float64]:
        return objective.values(decided.cascade, truth)

    weights = inverse_frequencies(ids, classes)[ids] if objective.class_weights else np.ones(len(ids))
    combines = len(ids) >= MIN_TEXTS_TO_COMBINE and _is_likelier(everywhere, rescaled, ids, weights)
    if combines and objective != _ACCURACY:
        combines = bool((counted(rescaled) - counted(everywhere)).max() <= _MAX_COUNTED)
    if not combines:
        everywhere = cross_fitted(False, 0.0)
    believed, unseen = everywhere.everywhere, _UNSEEN_LOSS * objective.largest_weight(ids, classes) / len(ids)
    best, share, curve = everywhere, 0.0, []
    expected_before, counted_before = objective.values(everywhere.cascade, believed), counted(everywhere)
    for tried in SHARES:
        found = cross_fitted(combines, tried)
        expected_losses = expected_before - objective.values(found.cascade, believed)
        counted_losses = counted_before - counted(found)
        curve.append(
            {
                "exit_share": float(found.is_exit.mean()),
                "expected_loss": float(expected_losses.max()),
                "accuracy_lost": float(counted_losses[0]),
            }
        )
        if expected_losses.max() + unseen > MAX_LOST or counted_losses.max() > _MAX_COUNTED:
            break
        best, share = found, tried
    if share < MIN_EXIT_SHARE:
        best, share = everywhere, 0.0
    return CascadeFit(
        _Fitted.to(outputs, ids).settings(combines, share) if combines or share else None,
        _why_off(len(ids), combines, share, objective),
        {**_results(outputs, best, ids), "curve": curve},
    )


@dataclass(frozen=True, eq=False)
class _Decided:
    """Early exits, bool [n], and probabilities [n, K] of the linear stage, of combining everywhere, of the cascade."""

    is_exit: NDArray[np.bool_]
    linear: Floats
    everywhere: Floats
    cascade: Floats


def _decided(settings: CascadeSettings, outputs: StageOutputs) -> _Decided:
    is_exit = exits(settings, outputs.linear_logits, outputs.lengths)
    linear, everywhere = (
        softmax(final_logits(settings, outputs, np.full(len(outputs), left)), outputs.encoder_temperature)
        for left in (True, False)
    )
    return _Decided(is_exit, linear, everywhere, np.where(is_exit[:, None], linear, everywhere))


def _joined(parts: list[_Decided], folds: list[NDArray[np.bool_]]) -> _Decided:
    order = np.argsort(np.concatenate([np.flatnonzero(fold) for fold in folds]))
    names = ("is_exit", "linear", "everywhere", "cascade")
    return _Decided(*(np.concatenate([getattr(part, name) for part in parts])[order] for name in names))


@dataclass(frozen=True, eq=False)
class _Fitted:
    """Texts to fit settings to, and the linear stage's temperature on them."""

    outputs: StageOutputs
    labels: NDArray[np.int64]
    temperature: float

    @classmethod
    def to(cls, outputs: StageOutputs, labels: NDArray[np.int64]) -> "_Fitted":
        return cls(outputs, labels, fit_temperature(outputs.linear_logits, labels))

    def settings(self, combines: bool, share: float) -> CascadeSettings:
        """Settings with which this share of the texts exits early."""
        alone = CascadeSettings(self.temperature, 1.0, 0.0, exit_confidence=None, least_length=self.least_length)
        confidence, stays = None, np.ones(len(self.labels), np.bool_)
        if share and len(self.labels):
            confidences = exit_confidences(alone, self.outputs.linear_logits)
            confidence = float(np.quantile(confidences, 1 - share, method="higher"))
            stays = confidences < confidence
        if not combines:
            return dataclasses.replace(alone, exit_confidence=confidence)
        weights = _weights(self.outputs.take(stays), self.labels[stays], self.temperature)
        return CascadeSettings(self.temperature, *weights, confidence, self.least_length)

    @property
    def least_length(self) -> int:
        lengths = self.outputs.lengths
        return 0 if lengths is None or not len(lengths) else int(np.quantile(lengths, _SHORT_SHARE))

    def encoder_rescaled(self) -> CascadeSettings:
        weights = _weights(self.outputs, self.labels, self.temperature, max_linear=0.0)
        return CascadeSettings(self.temperature, *weights, exit_confidence=None)


def _weights(
    outputs: StageOutputs, labels: NDArray[np.int64], linear_temperature: float, max_linear: float = MAX_WEIGHT
) -> tuple[float, float]:
    """Weights of both stages that make the labels likeliest, with a prior around (1, 0)."""
    stacked = np.stack(
        [outputs.encoder_logits / outputs.encoder_temperature, outputs.linear_logits / linear_temperature]
    ).astype(np.float64)  # [2, n, K]
    rows, before = np.arange(len(labels)), np.array([1.0, 0.0])

    def negative_log_posterior(weights: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        logits = np.tensordot(weights, stacked, axes=1)  # [n, K]
        probabilities = softmax(logits)
        residuals = probabilities.copy()
        residuals[rows, labels] -= 1
        loss = -np.log(np.maximum(probabilities[rows, labels], np.finfo(np.float64).tiny)).sum()
        off = (weights - before) / _PRIOR
        return float(loss + off @ off / 2), (stacked * residuals).sum(axis=(1, 2)) + off / _PRIOR

    # L-BFGS-B gives the same weights, but its BLAS threads wait for each other on a busy machine.
    found = minimize(
        negative_log_posterior, before, jac=True, method="TNC", bounds=[(_MIN_WEIGHT, MAX_WEIGHT), (0.0, max_linear)]
    )
    encoder, linear = found.x
    return float(encoder), float(linear)


def _is_likelier(combined: _Decided, alone: _Decided, labels: NDArray[np.int64], weights: Floats) -> bool:
    """Whether combining makes the labels, which have weights, significantly likelier than the encoder alone."""
    rows, tiny = np.arange(len(labels)), np.finfo(np.float64).tiny
    after, before = (np.log(np.maximum(each.everywhere[rows, labels], tiny)) for each in (combined, alone))
    gains = weights * (after - before)
    error = gains.std(ddof=1) / math.sqrt(len(gains)) if len(gains) > 1 else math.inf
    return bool(gains.mean() > _Z * error)


def _why_off(texts: int, combines: bool, share: float, objective: Objective) -> str:
    on = f"of {texts:,} held-out texts"
    early = (
        f"the linear stage alone can predict too few {on}: at {MIN_EXIT_SHARE:.0%} of them it may lose more than "
        f"{MAX_LOST:.1%} of {' or '.join(objective.names)}"
    )
    combining = f"combining both stages does not make the labels {on} likelier"
    if objective != _ACCURACY:
        combining += f", or it loses {' or '.join(objective.names)}"
    if texts < MIN_TEXTS_TO_COMBINE:
        combining = f"combining both stages needs at least {MIN_TEXTS_TO_COMBINE} held-out texts"
    return "; ".join(([] if share else [early]) + ([] if combines else [combining]))


def _results(outputs: StageOutputs, decided: _Decided, labels: NDArray[np.integer[Any]]) -> dict[str, Any]:
    if not len(outputs):
        raise InputError("expected labelled texts, got none")
    encoder = softmax(outputs.encoder_logits, outputs.encoder_temperature)
    is_exit = decided.is_exit

    def accuracy(probabilities: Floats, rows: NDArray[np.bool_] | None = None) -> float | None:
        is_right = probabilities.argmax(axis=1) == labels
        chosen = is_right if rows is None else is_right[rows]
        return float(chosen.mean()) if len(chosen) else None

    def error(probabilities: Floats, rows: NDArray[np.bool_] | None = None) -> float | None:
        rows = np.ones(len(labels), np.bool_) if rows is None else rows
        return expected_calibration_error(probabilities[rows], labels[rows]) if rows.any() else None

    return {
        "texts": len(labels),
        "exit_share": float(is_exit.mean()),
        "accuracy": {
            "encoder": accuracy(encoder),
            "linear": accuracy(decided.linear),
            "combination": accuracy(decided.everywhere),
            "cascade": accuracy(decided.cascade),
        },
        "accuracy_on_exits": {"linear": accuracy(decided.linear, is_exit), "encoder": accuracy(encoder, is_exit)},
        "expected_calibration_error": {
            "encoder": error(encoder),
            "cascade": error(decided.cascade),
            "linear_stage": error(decided.cascade, is_exit),
            "encoder_stage": error(decided.cascade, ~is_exit),
        },
    }
