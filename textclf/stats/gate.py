"""The promotion gate: whether a retrained model may replace the model that serves.

Accuracy on the reference test set (the test part of the champion's data) may fall by at most a margin, and calibration
may get worse by at most a margin: against the champion, and against the best version so far. Otherwise many small
losses would add up to a large one. Accuracy on the new held-out texts must not fall. Classes that the champion does not
have must be found often enough, and must not take the texts of old classes. With too few texts to decide, the verdict
is "inconclusive".

Results keep the name "golden" for the reference test set, which decisions.jsonl contains.
"""

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from textclf.errors import InputError
from textclf.retraining_options import GateOptions
from textclf.stats.calibration import expected_calibration_error
from textclf.stats.calibration_loss import calibration_losses, mean_bounds, texts_for_mean
from textclf.stats.class_recall import recall_bounds, texts_for_recall
from textclf.stats.holm import holm
from textclf.stats.lost_to_new import lost_to_new
from textclf.stats.paired_accuracy import (
    p_worse,
    tango_lower_bound,
    texts_for_difference,
    texts_for_margin,
    upper_bound,
)
from textclf.stats.slices import length_slices, quartile_edges

_SET_NAMES = {"golden": "test set", "holdout": "holdout", "best": "test set, against the best version so far"}


@dataclass(frozen=True, eq=False)
class PairedPredictions:
    """Predictions of the champion (current model) and the challenger (new model) for the same n labelled texts.

    Class ids are positions in the challenger's list of K classes. A class that the champion does not have has the
    probability 0 there.

    Attributes:
        labels: true class ids, int [n].
        champion_probabilities, challenger_probabilities: float [n, K].
        champion_predicted, challenger_predicted: class ids, int [n]; a threshold may choose a less likely class.
        lengths: wordpieces before truncation, int [n].

    Raises:
        InputError: if the arrays differ in n or K.
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
            raise InputError("expected two models' predictions for the same texts, got arrays of different shapes")
        if self.labels.ndim != 1 or tables[0].ndim != 2 or len(tables[0]) != len(self.labels):
            raise InputError(
                f"expected labels [texts] and probabilities [texts, classes], got {self.labels.shape} and "
                f"{tables[0].shape}"
            )

    def __len__(self) -> int:
        return len(self.labels)

    def rows(self, chosen: NDArray[np.bool_]) -> Self:
        """The predictions for some of the texts, bool [n]."""
        return dataclasses.replace(
            self, **{item.name: getattr(self, item.name)[chosen] for item in dataclasses.fields(self)}
        )

    @property
    def champion_is_right(self) -> NDArray[np.bool_]:
        """Whether the champion predicts the true class, bool [n]."""
        return np.asarray(self.champion_predicted == self.labels)

    @property
    def challenger_is_right(self) -> NDArray[np.bool_]:
        """Whether the challenger predicts the true class, bool [n]."""
        return np.asarray(self.challenger_predicted == self.labels)


@dataclass(frozen=True)
class GateDecision:
    """The gate's decision about a challenger.

    Attributes:
        verdict: "promote", "reject" (the challenger is worse somewhere) or "inconclusive" (too few texts to decide).
        reasons: a sentence each: why not to promote, or for "promote" the conditions that hold.
        figures: all results by condition, for JSON.
        texts_needed: "golden" (test set) or "holdout" to the number of texts that would decide; {} unless too few.
    """

    verdict: str
    reasons: tuple[str, ...]
    figures: dict[str, Any]
    texts_needed: dict[str, int]


@dataclass(frozen=True)
class _Finding:
    """The result of one condition: numbers for JSON, sentences, and the number of texts that would decide."""

    result: Any
    against: tuple[str, ...] = ()  # Make the verdict "reject".
    doubts: tuple[str, ...] = ()  # Make the verdict "inconclusive".
    holds: tuple[str, ...] = ()
    needed: dict[str, int] = field(default_factory=dict)


def decide_promotion(
    test_set: PairedPredictions,
    holdout: PairedPredictions | None,
    options: GateOptions,
    parity_failures: Sequence[str] = (),
    *,
    class_names: Sequence[str] = (),
    new_classes: Sequence[str] = (),
    best: PairedPredictions | None = None,
) -> GateDecision:
    """Decide whether the challenger may be promoted.

    "reject", if one of these is shown: accuracy on the test set falls by more than options.margin; the calibration loss
    there rises by more than the square of options.calibration_margin; fewer of the new texts are correct, or a class or
    a range of lengths loses more than options.slice_margin (one-sided tests with Holm's correction over all of them);
    the engine differs from the trained model. "promote", if confidence bounds show that accuracy and calibration on the
    test set are within their margins, and at least as many of the new texts are correct. Otherwise "inconclusive".

    Args:
        test_set: the champion's test part, on which neither model was trained.
        holdout: new labelled texts that are never trained on; None without any.
        options: margins and levels.
        parity_failures: reasons why the challenger's engine can't replace the trained model
            (textclf.stats.parity.parity_failures); [] if it can.
        class_names: names for the sentences, [K]; by default the class ids.
        new_classes: those that the champion does not have. Its accuracy on the holdout is compared without their texts,
            of which the challenger must predict a share of options.new_class_recall correctly. A text of an old class
            that the challenger gives a new one is wrong. With new classes, each old class is tested, also below
            options.min_slice, and so are its texts that new classes take (textclf.stats.lost_to_new).
        best: the test set with the best version so far in place of the champion; None if that is the champion.

    Raises:
        InputError: if the test set is empty, or the predictions have different shapes.
    """
    if not len(test_set):
        raise InputError("expected test texts to compare two models on, got none")
    names = tuple(class_names) or tuple(map(str, range(test_set.champion_probabilities.shape[1])))
    new_ids = [names.index(name) for name in new_classes]
    of_new = None if holdout is None else holdout.rows(np.isin(holdout.labels, new_ids))
    holdout = None if holdout is None else holdout.rows(~np.isin(holdout.labels, new_ids))
    sets = {"golden": test_set} if holdout is None or not len(holdout) else {"golden": test_set, "holdout": holdout}
    references = {"golden": test_set} if best is None else {"golden": test_set, "best": best}
    new_texts, slices, lost = _tested_parts(sets, names, new_ids, options)
    findings = {
        **{name: _on_test_set(pairs, _SET_NAMES[name], options) for name, pairs in references.items()},
        "holdout": _on_holdout(new_texts, 0 if of_new is None else len(of_new), options),
        "new_classes": _on_new_classes(of_new, dict(zip(new_classes, new_ids, strict=True)), options),
        "slices": _on_slices(slices, bool(new_ids), options),
        "lost_to_new": _on_lost_to_new(lost, options),
        "calibration": _on_calibration(references, sets.get("holdout"), options),
        "parity": _Finding(list(parity_failures), tuple(f"the engine: {text}" for text in parity_failures)),
    }
    against = tuple(text for finding in findings.values() for text in finding.against)
    doubts = tuple(text for finding in findings.values() for text in finding.doubts)
    holds = tuple(text for finding in findings.values() for text in finding.holds)
    results = {name: finding.result for name, finding in findings.items()}
    return GateDecision(
        verdict="reject" if against else "inconclusive" if doubts else "promote",
        reasons=against + doubts or holds,
        figures={**results, "options": options.to_dict()},
        texts_needed={} if against else _texts_needed(findings.values()),
    )


def _texts_needed(findings: Iterable[_Finding]) -> dict[str, int]:
    needed: dict[str, int] = {}
    for finding in findings:
        for name, texts in finding.needed.items():
            needed[name] = max(texts, needed.get(name, 0))
    return needed


def _compared(pairs: PairedPredictions, rows: Any = slice(None)) -> dict[str, Any]:
    """Both accuracies on the texts of some rows, and the number of texts that only one model has right."""
    champion, challenger = pairs.champion_is_right[rows], pairs.challenger_is_right[rows]
    losses, gains = int(np.sum(champion & ~challenger)), int(np.sum(~champion & challenger))
    return {
        "texts": len(champion),
        "champion_accuracy": float(champion.mean()),
        "challenger_accuracy": float(challenger.mean()),
        "difference": (gains - losses) / len(champion),
        "losses": losses,
        "gains": gains,
    }


def _tested_parts(
    sets: Mapping[str, PairedPredictions], class_names: Sequence[str], new_ids: Sequence[int], options: GateOptions
) -> tuple[dict[str, Any] | None, list[dict[str, Any]], list[dict[str, Any]]]:
    """Results of the new held-out texts (None without any), of all slices, and of the texts that new classes take.

    Their p-values are adjusted together.
    """
    golden = sets["golden"]
    edges = quartile_edges(golden.lengths)  # The test set never changes: so the edges do not change either.
    slices = [
        {"set": name, "slice": label, **_compared(pairs, rows)}
        for name, pairs in sets.items()
        for label, is_class, rows in _slices_of(pairs, class_names, edges)
        if rows.sum() >= (1 if is_class and new_ids and name == "golden" else options.min_slice)
    ]
    for result in slices:
        counts = result["losses"], result["gains"], result["texts"]
        # The test with a margin is for hundreds of texts.
        margins = {options.slice_margin, options.slice_margin if result["texts"] >= options.min_slice else 0.0}
        result["p_worse"] = max(p_worse(*counts, margin) for margin in margins)
    new_texts = _compared(sets["holdout"]) if "holdout" in sets else None
    if new_texts is not None:
        new_texts["p_worse"] = p_worse(new_texts["losses"], new_texts["gains"], new_texts["texts"])
    is_lost = golden.champion_is_right & np.isin(golden.challenger_predicted, new_ids)
    lost = lost_to_new(golden.labels, is_lost, class_names, options.margin, options.slice_margin) if new_ids else []
    tested = [*slices, *lost, *([] if new_texts is None else [new_texts])]
    for result, p in zip(tested, holm([result["p_worse"] for result in tested]).tolist(), strict=True):
        result["adjusted_p"] = p
    for result in (*slices, *lost):
        result["is_worse"] = result["adjusted_p"] < options.alpha
    return new_texts, slices, lost


def _on_test_set(pairs: PairedPredictions, name: str, options: GateOptions) -> _Finding:
    result = _compared(pairs)
    counts = result["losses"], result["gains"], result["texts"]
    lower, upper = (bound(*counts, options.alpha) for bound in (tango_lower_bound, upper_bound))
    result |= {"lower_bound": lower, "upper_bound": upper, "margin": options.margin}
    text = (
        f"{name}: accuracy {result['champion_accuracy']:.2%} -> {result['challenger_accuracy']:.2%} on "
        f"{result['texts']:,} texts; with {1 - options.alpha:.0%} confidence the"
    )
    allowed = f"a loss of up to {options.margin:.2%} is allowed"
    if upper < -options.margin:
        return _Finding(result, against=(f"{text} loss is at least {-upper:.2%}; {allowed}",))
    if lower >= -options.margin:
        return _Finding(result, holds=(f"{text} difference is at least {lower:+.2%}; {allowed}",))
    text = f"{text} difference is between {lower:+.2%} and {upper:+.2%}; {allowed}"
    needed = texts_for_margin(*counts, options.margin, options.alpha, options.power)
    if needed is None:
        return _Finding(result, doubts=(f"{text}; at this difference no number of texts would let it pass",))
    return _Finding(result, doubts=(f"{text}; about {needed:,} test texts would decide",), needed={"golden": needed})


def _on_holdout(result: dict[str, Any] | None, of_new_classes: int, options: GateOptions) -> _Finding:
    """The old classes on the holdout; its texts of new classes count among those that are needed."""
    min_texts = options.min_holdout
    if result is None and of_new_classes >= min_texts:
        return _Finding(None, holds=(f"all {of_new_classes:,} new held-out texts are of new classes",))
    if result is None:
        text = f"there are no new held-out texts; at least {min_texts:,} are needed"
        return _Finding(None, doubts=(text,), needed={"holdout": min_texts})
    losses, gains, n, p = (result[key] for key in ("losses", "gains", "texts", "adjusted_p"))
    text = (
        f"new held-out texts: accuracy {result['champion_accuracy']:.2%} -> {result['challenger_accuracy']:.2%} on "
        f"{n:,} texts"
    )
    if p < options.alpha:
        return _Finding(result, against=(f"{text}, which is worse (adjusted p {p:.2g})",))
    if n + of_new_classes < min_texts:
        text = f"{text}; at least {min_texts:,} are needed"
        return _Finding(result, doubts=(text,), needed={"holdout": min_texts})
    if result["difference"] < 0:
        needed = texts_for_difference(losses, gains, n, options.alpha, options.power) or min_texts
        text = f"{text}, which may be chance (adjusted p {p:.2g}); about {needed:,} held-out texts would decide"
        return _Finding(result, doubts=(text,), needed={"holdout": needed})
    return _Finding(result, holds=(text,))


def _on_new_classes(pairs: PairedPredictions | None, ids: Mapping[str, int], options: GateOptions) -> _Finding:
    """The recall of each new class on its held-out texts."""
    results, against, doubts, holds = [], [], [], []
    minimum = options.new_class_recall
    for name, class_id in ids.items():
        is_right = pairs.challenger_is_right[pairs.labels == class_id] if pairs is not None else np.zeros(0, bool)
        texts, right = len(is_right), int(np.sum(is_right))
        lower, upper = recall_bounds(right, texts, options.alpha)
        results.append({"class": name, "texts": texts, "right": right, "lower_bound": lower, "upper_bound": upper})
        text = (
            f"new class {name}: {right:,} of {texts:,} held-out texts are found; with {1 - options.alpha:.0%} "
            f"confidence the recall is"
        )
        if upper < minimum:
            against.append(f"{text} at most {upper:.1%}; {minimum:.1%} is needed")
        elif lower >= minimum:
            holds.append(f"{text} at least {lower:.1%}; {minimum:.1%} is needed")
        else:
            needed = texts_for_recall(right / texts, minimum, options.alpha, options.power) if texts else None
            more = "more texts of it are needed" if needed is None else f"about {needed:,} of its texts would decide"
            doubts.append(f"{text} between {lower:.1%} and {upper:.1%}; {minimum:.1%} is needed; {more}")
    return _Finding(results, tuple(against), tuple(doubts), tuple(holds))


def _on_slices(slices: Sequence[dict[str, Any]], all_classes: bool, options: GateOptions) -> _Finding:
    large = "" if all_classes else f" with at least {options.min_slice:,} texts"
    none_worse = f"none of {len(slices)} classes and ranges of lengths{large} is worse"
    return _Finding(
        slices,
        against=tuple(
            f"{_SET_NAMES[result['set']]}, {result['slice']}: accuracy {result['champion_accuracy']:.2%} -> "
            f"{result['challenger_accuracy']:.2%} on {result['texts']:,} texts (adjusted p "
            f"{result['adjusted_p']:.2g}); a loss of up to {options.slice_margin:.2%} is allowed"
            for result in slices
            if result["is_worse"]
        ),
        holds=(none_worse,) if slices else (),
    )


def _on_lost_to_new(results: Sequence[dict[str, Any]], options: GateOptions) -> _Finding:
    """The texts of old classes in the test set that the challenger gives a new class."""
    total = (f"new classes take {result['lost']:,} of {result['texts']:,} test texts" for result in results[:1])
    return _Finding(
        results,
        against=tuple(
            f"{_SET_NAMES['golden']}, {result['slice']}: new classes take {result['lost']:,} of {result['texts']:,} "
            f"texts that were right (adjusted p {result['adjusted_p']:.2g}); a share of up to {result['margin']:.2%} "
            f"is allowed"
            for result in results
            if result["is_worse"]
        ),
        holds=tuple(total),
    )


def _slices_of(
    pairs: PairedPredictions, class_names: Sequence[str], edges: Sequence[int]
) -> Iterator[tuple[str, bool, NDArray[np.bool_]]]:
    """The name of each class and of each range of lengths, whether it is a class, and its texts, bool [n]."""
    for class_id, name in enumerate(class_names):
        yield f"class {name}", True, np.asarray(pairs.labels == class_id)
    for name, rows in length_slices(pairs.lengths, edges):
        yield name, False, rows


def _on_calibration(
    references: Mapping[str, PairedPredictions], holdout: PairedPredictions | None, options: GateOptions
) -> _Finding:
    results, sides = {}, []
    for name, pairs in references.items():
        results[name], side = _calibration_of(pairs, _SET_NAMES[name], options)
        sides.append(side)
    # The holdout is reported and not judged: with a few hundred texts its calibration error is mostly chance.
    if holdout is not None:
        results["holdout"] = _calibration_errors(holdout)
    return _Finding(
        results,
        against=tuple(text for side in sides for text in side.against),
        doubts=tuple(text for side in sides for text in side.doubts),
        holds=tuple(text for side in sides for text in side.holds),
        needed=_texts_needed(sides),
    )


def _calibration_errors(pairs: PairedPredictions) -> dict[str, float]:
    tables = {"champion": pairs.champion_probabilities, "challenger": pairs.challenger_probabilities}
    return {name: expected_calibration_error(table, pairs.labels) for name, table in tables.items()}


def _calibration_of(pairs: PairedPredictions, name: str, options: GateOptions) -> tuple[dict[str, float], _Finding]:
    """Calibration on the test set: the results, and what they say for and against the challenger."""
    errors, limit = _calibration_errors(pairs), options.calibration_margin**2
    before, after = (
        calibration_losses(table, pairs.labels)
        for table in (pairs.champion_probabilities, pairs.challenger_probabilities)
    )
    bounds = mean_bounds(after - before, options.alpha)
    result = {**errors, "loss_rise": bounds.mean, "lower_bound": bounds.lower, "upper_bound": bounds.upper}
    text = (
        f"{name}: calibration error {errors['champion']:.3f} -> {errors['challenger']:.3f}; with "
        f"{1 - options.alpha:.0%} confidence the calibration loss rose by"
    )
    allowed = f"{limit:.4f} is allowed"
    if bounds.lower > limit:
        return result, _Finding(None, against=(f"{text} at least {bounds.lower:z.4f}; {allowed}",))
    if bounds.upper <= limit:
        return result, _Finding(None, holds=(f"{text} at most {bounds.upper:z.4f}; {allowed}",))
    text = f"{text} {bounds.lower:z.4f} to {bounds.upper:z.4f}; {allowed}"
    needed = texts_for_mean(bounds, limit, options.alpha, options.power)
    if needed is None:
        return result, _Finding(None, doubts=(f"{text}; at this rise no number of texts would let it pass",))
    doubt = f"{text}; about {needed:,} test texts would decide"
    return result, _Finding(None, doubts=(doubt,), needed={"golden": needed})
