"""Fits a cascade to held-out texts: whether combining both stages helps, and how many texts may leave early."""

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from textclf.errors import InputError
from textclf.stats.calibration import expected_calibration_error, fit_temperature, softmax
from textclf.stats.cascade_rules import (
    MAX_WEIGHT,
    CascadeSettings,
    Floats,
    StageOutputs,
    exit_confidences,
    exits,
    final_logits,
)

FOLDS = 5
SHARES = tuple(share / 100 for share in range(5, 100, 5))
# Accuracy that texts which leave early may cost, as a share of all texts.
MAX_LOST = 0.001
# Fewer early answers save less than they are worth being explained.
MIN_EXIT_SHARE = 0.1
# Added to the losses that are to be expected, as Jeffreys' prior adds half a one to those that were counted: a half C
# of under 500 texts can't show that so little is lost, however well it goes there.
_UNSEEN_LOSS = 0.5
# Counted with labels, from where on chance is not to be believed in: probabilities may be wrong themselves.
_MAX_COUNTED = 2 * MAX_LOST
# Of fewer texts hardly one is answered wrongly, and what a wrong one would cost the combination is not seen.
MIN_TEXTS_TO_COMBINE = 200
# Of the held-out texts; shorter ones than these are the encoder's alone.
_SHORT_SHARE = 0.01
# One-sided level of the test that combining makes the labels likelier.
_Z = 1.645
# Deviation of the normal prior of both weights, around those of the encoder alone.
_PRIOR = 1.0
# Of the encoder: where both stages are worse than chance, weights of 0 would be no answer at all.
_MIN_WEIGHT = 1e-3


@dataclass(frozen=True)
class CascadeFit:
    """What held-out texts say of a cascade.

    Attributes:
        settings: that it is to run with; None where it brings nothing.
        why_off: a sentence, where something of it stays off; "" where both early answers and combining are on.
        figures: as cascade_figures gives them, cross-fitted: each text by what the others say. And "curve": for every
            share that was tried, the share that left early, and what is then lost of accuracy against combining
            everywhere, as is to be expected and as the labels say.
    """

    settings: CascadeSettings | None
    why_off: str
    figures: dict[str, Any]


def cascade_figures(
    settings: CascadeSettings, answers: StageOutputs, labels: NDArray[np.integer[Any]]
) -> dict[str, Any]:
    """What a cascade is worth on n labelled texts, as JSON can hold it.

    "texts"; "exit_share" of them that the linear stage answers; "accuracy" of the encoder alone, of the linear stage
    alone, of the combination everywhere (with the weights of the cascade, which are fitted to the texts that reach the
    encoder), and of the cascade; "accuracy_on_exits" of linear stage and encoder on the texts that the linear stage
    answers; "expected_calibration_error" of the encoder alone, of the cascade, and of the cascade on each stage's texts
    ("linear_stage", "encoder_stage"). What is of no text is None.

    Raises:
        InputError: there are no texts.
    """
    return _figures(answers, _decided(settings, answers), labels)


def fit_cascade(answers: StageOutputs, labels: NDArray[np.integer[Any]], seed: int = 0) -> CascadeFit:
    """Choose temperature, weights and the confidence of early answers on held-out labelled texts.

    Combining stays off unless it makes the labels likelier than the encoder does with a weight of its own, so that
    what a better temperature would do as well is not counted (one-sided paired test at .05 of the log-likelihoods,
    from MIN_TEXTS_TO_COMBINE texts on).

    The share of early answers is the largest, in steps of five points, at which no more than MAX_LOST of accuracy is
    lost against combining everywhere: on the same texts, cross-fitted in FOLDS folds (temperature, weights and
    threshold come from the other folds), and half a loss added. What is lost is what the combination's own
    probabilities say where its label is another than that of a text that leaves early. Labels would say the same with
    far more chance, because both differ on a handful of texts: on halves of 4,974 film reviews, counted with labels,
    the share came out as 81 % with a deviation of 9, and cost more than .2 points on the other half in 22 % of 300
    tries; with probabilities as 80 % with a deviation of 1.3, and in 1 % of them. Labels that say twice MAX_LOST end
    it all the same. Under MIN_EXIT_SHARE there are none.

    Args:
        answers: to texts that neither stage was fitted to; half C.
        labels: class ids, int [n].
        seed: of the folds.

    Raises:
        InputError: there are no texts.
    """
    if not len(answers):
        raise InputError("expected held-out texts to fit a cascade to, got none")
    ids: NDArray[np.int64] = np.asarray(labels, np.int64)
    folds = _folds(ids, seed)
    # Of each fold the others; their temperature does not depend on what is tried.
    others = [_Fitted.to(answers.take(~is_in), ids[~is_in]) for is_in in folds]

    def joined(settings: list[CascadeSettings]) -> _Decided:
        """Each text decided by what the other folds say."""
        return _joined(
            [_decided(each, answers.take(is_in)) for each, is_in in zip(settings, folds, strict=True)], folds
        )

    def cross_fitted(combines: bool, share: float) -> _Decided:
        return joined([fitted.settings(combines, share) for fitted in others])

    everywhere = cross_fitted(True, 0.0)
    rescaled = joined([fitted.encoder_rescaled() for fitted in others])
    combines = len(ids) >= MIN_TEXTS_TO_COMBINE and _is_likelier(everywhere, rescaled, ids)
    if not combines:
        everywhere = cross_fitted(False, 0.0)
    best, share, curve = everywhere, 0.0, []
    for tried in SHARES:
        found = cross_fitted(combines, tried)
        expected = float(_expected_losses(everywhere, found.is_exit).sum()) / len(ids)
        counted = int(np.sum(everywhere.is_right(ids))) - int(np.sum(found.is_right(ids)))
        exit_share = float(found.is_exit.mean())
        curve.append({"exit_share": exit_share, "expected_loss": expected, "accuracy_lost": counted / len(ids)})
        if expected + _UNSEEN_LOSS / len(ids) > MAX_LOST or counted / len(ids) > _MAX_COUNTED:
            break
        best, share = found, tried
    if share < MIN_EXIT_SHARE:
        best, share = everywhere, 0.0
    return CascadeFit(
        _Fitted.to(answers, ids).settings(combines, share) if combines or share else None,
        _why_off(len(ids), combines, share),
        {**_figures(answers, best, ids), "curve": curve},
    )


@dataclass(frozen=True, eq=False)
class _Decided:
    """What a cascade makes of n texts.

    Attributes:
        is_exit: bool [n].
        linear, everywhere, cascade: probabilities of the linear stage, of combining on all texts, and of the
            cascade, float [n, K].
    """

    is_exit: NDArray[np.bool_]
    linear: Floats
    everywhere: Floats
    cascade: Floats

    def is_right(self, labels: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Where the cascade gives the label, bool [n]."""
        return np.asarray(self.cascade.argmax(axis=1) == labels)


def _decided(settings: CascadeSettings, answers: StageOutputs) -> _Decided:
    is_exit = exits(settings, answers.linear_logits, answers.lengths)
    linear, everywhere = (
        softmax(final_logits(settings, answers, np.full(len(answers), left)), answers.encoder_temperature)
        for left in (True, False)
    )
    return _Decided(is_exit, linear, everywhere, np.where(is_exit[:, None], linear, everywhere))


def _expected_losses(everywhere: _Decided, is_exit: NDArray[np.bool_]) -> Floats:
    """How much less likely to be right the linear stage's label is than the combination's, of texts that exit: [exits].

    Both by the combination, which knows more.
    """
    combined, linear = everywhere.everywhere[is_exit], everywhere.linear[is_exit]
    rows = np.arange(len(combined))
    return np.asarray(combined.max(axis=1, initial=0.0) - combined[rows, linear.argmax(axis=1)])


def _joined(parts: list[_Decided], folds: list[NDArray[np.bool_]]) -> _Decided:
    """The parts at the places of their folds."""
    order = np.argsort(np.concatenate([np.flatnonzero(fold) for fold in folds]))
    names = ("is_exit", "linear", "everywhere", "cascade")
    return _Decided(*(np.concatenate([getattr(part, name) for part in parts])[order] for name in names))


def _folds(labels: NDArray[np.int64], seed: int) -> list[NDArray[np.bool_]]:
    """Which texts are in which fold, each class spread over all of them; a fold without any is left out."""
    chance = np.random.default_rng(seed).permutation(len(labels))
    by_class = chance[np.argsort(labels[chance], kind="stable")]
    of_text = np.empty(len(labels), np.int64)
    of_text[by_class] = np.arange(len(labels)) % FOLDS
    return [of_text == fold for fold in range(FOLDS) if (of_text == fold).any()]


@dataclass(frozen=True, eq=False)
class _Fitted:
    """Texts to fit settings to, and the linear stage's temperature on them.

    Attributes:
        answers: of n texts.
        labels: class ids, int [n].
        temperature: of the linear stage.
    """

    answers: StageOutputs
    labels: NDArray[np.int64]
    temperature: float

    @classmethod
    def to(cls, answers: StageOutputs, labels: NDArray[np.int64]) -> "_Fitted":
        """To these texts."""
        return cls(answers, labels, fit_temperature(answers.linear_logits, labels))

    def settings(self, combines: bool, share: float) -> CascadeSettings:
        """Settings under which a share of the texts leaves early."""
        alone = CascadeSettings(self.temperature, 1.0, 0.0, exit_confidence=None, least_length=self.least_length)
        confidence, stays = None, np.ones(len(self.labels), np.bool_)
        if share and len(self.labels):
            confidences = exit_confidences(alone, self.answers.linear_logits)
            confidence = float(np.quantile(confidences, 1 - share, method="higher"))
            stays = confidences < confidence
        if not combines:
            return dataclasses.replace(alone, exit_confidence=confidence)
        weights = _weights(self.answers.take(stays), self.labels[stays], self.temperature)
        return CascadeSettings(self.temperature, *weights, confidence, self.least_length)

    @property
    def least_length(self) -> int:
        """Of all but a few of the texts."""
        lengths = self.answers.lengths
        return 0 if lengths is None or not len(lengths) else int(np.quantile(lengths, _SHORT_SHARE))

    def encoder_rescaled(self) -> CascadeSettings:
        """The encoder with a weight of its own, and nothing of the linear stage."""
        weights = _weights(self.answers, self.labels, self.temperature, max_linear=0.0)
        return CascadeSettings(self.temperature, *weights, exit_confidence=None)


def _weights(
    answers: StageOutputs, labels: NDArray[np.int64], linear_temperature: float, max_linear: float = MAX_WEIGHT
) -> tuple[float, float]:
    """Weights of both stages under which the labels are likeliest, near (1, 0) where few texts say so."""
    stacked = np.stack(
        [answers.encoder_logits / answers.encoder_temperature, answers.linear_logits / linear_temperature]
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

    # L-BFGS-B finds the same, but calls BLAS for its two numbers, whose threads wait for each other on a busy machine.
    found = minimize(
        negative_log_posterior,
        before,
        jac=True,
        method="TNC",
        bounds=[(_MIN_WEIGHT, MAX_WEIGHT), (0.0, max_linear)],
    )
    encoder, linear = found.x
    return float(encoder), float(linear)


def _is_likelier(combined: _Decided, alone: _Decided, labels: NDArray[np.int64]) -> bool:
    """Whether combining makes the labels likelier than the encoder alone does."""
    rows, tiny = np.arange(len(labels)), np.finfo(np.float64).tiny
    after, before = (np.log(np.maximum(each.everywhere[rows, labels], tiny)) for each in (combined, alone))
    gains = after - before
    error = gains.std(ddof=1) / math.sqrt(len(gains)) if len(gains) > 1 else math.inf
    return bool(gains.mean() > _Z * error)


def _why_off(texts: int, combines: bool, share: float) -> str:
    on = f"of {texts:,} held-out texts"
    early = (
        f"too few {on} could be answered by the linear stage alone: at {MIN_EXIT_SHARE:.0%} of them more than "
        f"{MAX_LOST:.1%} of accuracy may be lost"
    )
    combining = f"combining both stages does not make the labels {on} likelier"
    if texts < MIN_TEXTS_TO_COMBINE:
        combining = f"combining both stages is judged on {MIN_TEXTS_TO_COMBINE} held-out texts at least"
    return "; ".join(([] if share else [early]) + ([] if combines else [combining]))


def _figures(answers: StageOutputs, decided: _Decided, labels: NDArray[np.integer[Any]]) -> dict[str, Any]:
    if not len(answers):
        raise InputError("expected labelled texts, got none")
    encoder = softmax(answers.encoder_logits, answers.encoder_temperature)
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
