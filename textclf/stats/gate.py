"""Whether a retrained model may take the place of the one that serves: figures on the same texts, then the verdict.

The golden set (the test part of the champion's data, on which neither was trained) must not get worse by more than a
margin, and the new held-out texts not worse at all: a retraining is for these. Three verdicts, because "not shown to be
worse" is no reason to promote where few texts could show anything.
"""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from textclf.config import GateOptions
from textclf.errors import InputError
from textclf.stats.calibration import expected_calibration_error
from textclf.stats.holm import holm
from textclf.stats.paired_accuracy import (
    mcnemar_p,
    tango_lower_bound,
    texts_for_difference,
    texts_for_margin,
    upper_bound,
)

# Of figures that are sums of shares.
_ROUNDING = 1e-12


@dataclass(frozen=True, eq=False)
class PairedPredictions:
    """What the champion (which serves) and the challenger (newly trained) say of the same n labelled texts.

    Class ids are positions in one list of K classes, that of both.

    Attributes:
        labels: the true class ids, int [n].
        champion_probabilities, challenger_probabilities: float [n, K].
        champion_predicted, challenger_predicted: class ids, int [n]; a threshold may choose another than the likeliest.
        lengths: wordpieces before truncation, int [n].

    Raises:
        InputError: the arrays are not of the same n texts and K classes.
    """

    labels: NDArray[np.integer[Any]]
    champion_probabilities: NDArray[np.floating[Any]]
    challenger_probabilities: NDArray[np.floating[Any]]
    champion_predicted: NDArray[np.integer[Any]]
    challenger_predicted: NDArray[np.integer[Any]]
    lengths: NDArray[np.integer[Any]]

    def __post_init__(self) -> None:
        rows = (self.labels, self.champion_predicted, self.challenger_predicted, self.lengths)
        tables = (self.champion_probabilities, self.challenger_probabilities)
        if len({row.shape for row in rows}) > 1 or len({table.shape for table in tables}) > 1:
            raise InputError("expected the answers of two models to the same texts, got arrays of different shapes")
        if self.labels.ndim != 1 or tables[0].ndim != 2 or len(tables[0]) != len(self.labels):
            raise InputError(
                f"expected labels [texts] and probabilities [texts, classes], got {self.labels.shape} and "
                f"{tables[0].shape}"
            )

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def champion_is_right(self) -> NDArray[np.bool_]:
        """True where the champion gave the true class, bool [n]."""
        return np.asarray(self.champion_predicted == self.labels)

    @property
    def challenger_is_right(self) -> NDArray[np.bool_]:
        """True where the challenger gave the true class, bool [n]."""
        return np.asarray(self.challenger_predicted == self.labels)


@dataclass(frozen=True)
class GateDecision:
    """What the gate says of a challenger.

    Attributes:
        verdict: "promote", "reject" (it is worse somewhere) or "inconclusive" (it can't be told).
        reasons: a sentence each: what speaks against it, or for "promote" what holds.
        figures: every figure that was looked at, as JSON can hold it.
        texts_needed: "golden" or "holdout" to the number of texts that would tell; {} unless texts are too few.
    """

    verdict: str
    reasons: tuple[str, ...]
    figures: dict[str, Any]
    texts_needed: dict[str, int]


@dataclass(frozen=True)
class _Finding:
    """What one of the conditions came to.

    Attributes:
        figures: that it rests on.
        against: sentences that make the verdict "reject".
        doubts: sentences that make it "inconclusive".
        holds: what is said where there is neither.
        needed: texts that would tell.
    """

    figures: Any
    against: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()
    holds: str = ""
    needed: dict[str, int] = field(default_factory=dict)


def decide_promotion(
    golden: PairedPredictions,
    holdout: PairedPredictions | None,
    options: GateOptions,
    parity_failures: Sequence[str] = (),
    *,
    class_names: Sequence[str] = (),
) -> GateDecision:
    """Decide whether the challenger may be promoted.

    It is rejected where it is shown to be worse: the golden set's upper confidence bound is below -margin, fewer of the
    new texts are right (exact one-sided McNemar test), a class or a range of lengths is worse (the same test, Holm
    over all of them, and by more than options.slice_margin), its probabilities on the golden set are off by more, or
    its engine is not the model that was trained. It is promoted where the golden set's lower bound reaches -margin, and
    at least as many of the new texts are right. Between the two the verdict is "inconclusive".

    Args:
        golden: the champion's test part, on which neither was trained.
        holdout: new labelled texts that are never trained on; None without any.
        options: margins and levels.
        parity_failures: why the challenger's engine may not stand for the trained model
            (textclf.stats.parity.parity_failures); [] if it may.
        class_names: for the sentences, [K]; by default the class ids.

    Raises:
        InputError: there are no golden texts, or the answers do not fit together.
    """
    if not len(golden):
        raise InputError("expected golden texts to compare two models on, got none")
    names = tuple(class_names) or tuple(map(str, range(golden.champion_probabilities.shape[1])))
    holdout = holdout if holdout is not None and len(holdout) else None
    sets = {"golden": golden} if holdout is None else {"golden": golden, "holdout": holdout}
    findings = {
        "golden": _golden(golden, options),
        "holdout": _holdout(holdout, options),
        "slices": _slices(sets, names, options),
        "calibration": _calibration(sets, options),
        "parity": _Finding(list(parity_failures), tuple(f"the engine: {text}" for text in parity_failures)),
    }
    against = tuple(text for finding in findings.values() for text in finding.against)
    doubts = tuple(text for finding in findings.values() for text in finding.doubts)
    holds = tuple(finding.holds for finding in findings.values() if finding.holds)
    figures = {name: finding.figures for name, finding in findings.items()}
    return GateDecision(
        verdict="reject" if against else "inconclusive" if doubts else "promote",
        reasons=against + doubts or holds,
        figures={**figures, "options": options.to_dict()},
        texts_needed={} if against else {k: n for finding in findings.values() for k, n in finding.needed.items()},
    )


def _compared(answers: PairedPredictions, rows: Any = slice(None)) -> dict[str, Any]:
    """How often each is right on (some of) the texts, and on how many they differ."""
    champion, challenger = answers.champion_is_right[rows], answers.challenger_is_right[rows]
    losses, gains = int(np.sum(champion & ~challenger)), int(np.sum(~champion & challenger))
    return {
        "texts": len(champion),
        "champion_accuracy": float(champion.mean()),
        "challenger_accuracy": float(challenger.mean()),
        "difference": (gains - losses) / len(champion),
        "losses": losses,
        "gains": gains,
    }


def _golden(golden: PairedPredictions, options: GateOptions) -> _Finding:
    figures = _compared(golden)
    counts = figures["losses"], figures["gains"], figures["texts"]
    lower, upper = (bound(*counts, options.alpha) for bound in (tango_lower_bound, upper_bound))
    figures |= {"lower_bound": lower, "upper_bound": upper, "margin": options.margin}
    text = (
        f"golden set: accuracy {figures['champion_accuracy']:.2%} -> {figures['challenger_accuracy']:.2%} on "
        f"{figures['texts']:,} texts; with {1 - options.alpha:.0%} confidence"
    )
    if upper < -options.margin:
        return _Finding(figures, against=(f"{text} it loses {-upper:.2%} or more, {options.margin:.2%} is allowed",))
    if lower >= -options.margin:
        return _Finding(
            figures, holds=f"{text} the difference is {lower:+.2%} or better, {-options.margin:+.2%} is allowed"
        )
    text = f"{text} the difference lies between {lower:+.2%} and {upper:+.2%}, and {-options.margin:+.2%} is allowed"
    needed = texts_for_margin(*counts, options.margin, options.alpha, options.power)
    if needed is None:
        return _Finding(figures, doubts=(f"{text}; if what was seen is the truth, no number of texts would do",))
    return _Finding(figures, doubts=(f"{text}; about {needed:,} golden texts would tell",), needed={"golden": needed})


def _holdout(holdout: PairedPredictions | None, options: GateOptions) -> _Finding:
    least = options.min_holdout
    if holdout is None:
        text = f"there are no new held-out texts; {least:,} or more would tell"
        return _Finding(None, doubts=(text,), needed={"holdout": least})
    figures = _compared(holdout)
    losses, gains, n = figures["losses"], figures["gains"], figures["texts"]
    figures["p_worse"] = mcnemar_p(losses, gains)
    text = (
        f"new held-out texts: accuracy {figures['champion_accuracy']:.2%} -> {figures['challenger_accuracy']:.2%} on "
        f"{n:,} texts"
    )
    if figures["p_worse"] < options.alpha:
        return _Finding(figures, against=(f"{text}, which is worse (p {figures['p_worse']:.2g})",))
    if n < least:
        text = f"{text}; {least:,} or more would tell"
        return _Finding(figures, doubts=(text,), needed={"holdout": least})
    if figures["difference"] < 0:
        needed = texts_for_difference(losses, gains, n, options.alpha, options.power) or least
        text = f"{text}, which may be chance (p {figures['p_worse']:.2g}); about {needed:,} held-out texts would tell"
        return _Finding(figures, doubts=(text,), needed={"holdout": needed})
    return _Finding(figures, holds=text)


def _slices(sets: dict[str, PairedPredictions], class_names: Sequence[str], options: GateOptions) -> _Finding:
    # Quarters of the golden texts: these never change, so neither do the edges.
    edges = np.unique(np.quantile(sets["golden"].lengths, [0.25, 0.5, 0.75]).astype(np.int64)).tolist()
    slices = [
        {"set": name, "slice": label, **_compared(answers, rows)}
        for name, answers in sets.items()
        for label, rows in _slices_of(answers, class_names, edges)
        if rows.sum() >= options.min_slice
    ]
    p_values = [mcnemar_p(figures["losses"], figures["gains"]) for figures in slices]
    for figures, p, adjusted in zip(slices, p_values, holm(p_values).tolist(), strict=True):
        is_large = figures["difference"] < -options.slice_margin - _ROUNDING
        figures |= {"p_worse": p, "adjusted_p": adjusted, "is_worse": adjusted < options.alpha and is_large}
    return _Finding(
        slices,
        against=tuple(
            f"{figures['set']}, {figures['slice']}: accuracy {figures['champion_accuracy']:.2%} -> "
            f"{figures['challenger_accuracy']:.2%} on {figures['texts']:,} texts (adjusted p "
            f"{figures['adjusted_p']:.2g}), {options.slice_margin:.2%} may be lost"
            for figures in slices
            if figures["is_worse"]
        ),
        holds=f"none of {len(slices)} classes and ranges of lengths with {options.min_slice:,} or more texts is worse"
        if slices
        else "",
    )


def _slices_of(
    answers: PairedPredictions, class_names: Sequence[str], edges: Sequence[int]
) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    """The texts of each class, and of each range of lengths: what it is, and which texts, bool [n]."""
    for class_id, name in enumerate(class_names):
        yield f"class {name}", np.asarray(answers.labels == class_id)
    for low, high in itertools.pairwise([None, *edges, None]):
        words = f"up to {high}" if low is None else f"over {low}" if high is None else f"{low + 1} to {high}"
        over = True if low is None else answers.lengths > low
        within = True if high is None else answers.lengths <= high
        yield f"{words} tokens", np.broadcast_to(np.logical_and(over, within), len(answers))


def _calibration(sets: dict[str, PairedPredictions], options: GateOptions) -> _Finding:
    figures: dict[str, dict[str, float]] = {}
    for name, answers in sets.items():
        champion, challenger = (
            expected_calibration_error(probabilities, answers.labels)
            for probabilities in (answers.champion_probabilities, answers.challenger_probabilities)
        )
        figures[name] = {"champion": champion, "challenger": challenger}
    # The holdout is shown and not judged: on a few hundred texts the error of the bins is mostly chance.
    golden, texts = figures["golden"], len(sets["golden"])
    if golden["challenger"] - golden["champion"] <= options.calibration_margin + _ROUNDING:
        return _Finding(figures, holds="on the golden set calibration holds")
    text = (
        f"golden: the calibration error grew from {golden['champion']:.3f} to {golden['challenger']:.3f}, by "
        f"{options.calibration_margin:g} it may"
    )
    if texts >= options.min_slice:
        return _Finding(figures, against=(text,))
    doubt = f"{text}; {options.min_slice:,} texts would tell whether that is chance"
    return _Finding(figures, doubts=(doubt,), needed={"golden": options.min_slice})
