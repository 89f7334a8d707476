"""Champion and challenger on the same labelled texts: predictions of both, and the gate's decision."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from textclf.data.splits import Split
from textclf.phases import announce_scoring
from textclf.retraining_options import GateOptions
from textclf.runtime.loading import predictor_of_version
from textclf.runtime.predictor import Predictor
from textclf.stats.calibration import softmax
from textclf.stats.gate import GateDecision, PairedPredictions, decide_promotion
from textclf.stats.paired_accuracy import gains_for_margin, texts_for_margin
from textclf.stats.parity import Parity, parity_failures
from textclf.stats.unsure import is_unsure
from textclf.store.manifest import Manifest
from textclf.store.model_store import ModelVersion


@dataclass(frozen=True, eq=False)
class ModelPredictions:
    """One model's predictions for n texts.

    Attributes:
        probabilities: float64 [n, K].
        predicted: class ids, int64 [n].
        lengths: wordpieces before truncation, int64 [n].
        is_sure: whether each prediction is above its threshold, bool [n]; None without thresholds.
    """

    probabilities: NDArray[np.float64]
    predicted: NDArray[np.int64]
    lengths: NDArray[np.int64]
    is_sure: NDArray[np.bool_] | None = None


def model_predictions(predictor: Predictor, texts: Sequence[str], class_names: Sequence[str]) -> ModelPredictions:
    """Score texts and bring the model's classes into the order of `class_names` [K].

    A class that the model does not have gets the probability 0.

    Raises:
        ValueError: if the model has a class that is not in `class_names`.
    """
    batch = predictor.predict_batch(list(texts))
    encoded = batch.encoded
    own = softmax(batch.outputs.logits, predictor.temperature)  # [n, K] in the model's order
    ids = np.array([class_names.index(name) for name in predictor.class_names])
    probabilities = np.zeros((len(own), len(class_names)))
    probabilities[:, ids] = own
    lengths = encoded.lengths if encoded.token_counts is None else encoded.token_counts
    thresholds = predictor.unsure_below
    is_sure = ~np.array(is_unsure(batch.predicted, own, thresholds), np.bool_) if thresholds else None
    return ModelPredictions(probabilities, ids[batch.predicted], lengths, is_sure)


def pair_predictions(
    labels: NDArray[np.integer[Any]], champion: ModelPredictions, challenger: ModelPredictions
) -> PairedPredictions:
    """Pair two models' predictions for the same texts, whose class ids are `labels` [n]."""
    return PairedPredictions(
        np.asarray(labels, np.int64),
        champion.probabilities,
        challenger.probabilities,
        champion.predicted,
        challenger.predicted,
        champion.lengths,
    )


def compare_with_champion(
    champion: ModelVersion,
    challenger: ModelVersion,
    test_set: Split,
    holdout: Split,
    options: GateOptions,
    best: ModelVersion | None = None,
) -> GateDecision:
    """Score the versions with the engines that serve, and let the gate decide.

    The challenger has all classes of the others, and may have new ones; the class ids of test set and holdout are in
    its order. `best` is the best version so far, None if that is the champion.

    All texts count in every condition, whether their predictions are sure or not. Coverage and precision of the sure
    ones are reported, and decide nothing.

    Raises:
        ModelStoreError: if a version can't be loaded.
    """
    names = challenger.manifest.class_names

    def predictions(version: ModelVersion, *splits: Split) -> list[ModelPredictions]:
        predictor = predictor_of_version(version)
        texts = [text for split in splits for text in split.texts]
        announce_scoring(texts, version.manifest.max_wordpieces, f"{len(texts):,} texts with {version.id}")
        return [model_predictions(predictor, split.texts, names) for split in splits]

    # One after the other, so that one model is in memory.
    test_old, holdout_old = predictions(champion, test_set, holdout)
    test_new, holdout_new = predictions(challenger, test_set, holdout)
    test_best = None if best is None else predictions(best, test_set)[0]
    decision = decide_promotion(
        pair_predictions(test_set.labels, test_old, test_new),
        pair_predictions(holdout.labels, holdout_old, holdout_new),
        options,
        parity_failures_of(challenger.manifest),
        class_names=names,
        new_classes=[name for name in names if name not in champion.manifest.class_names],
        best=None if test_best is None else pair_predictions(test_set.labels, test_best, test_new),
    )
    labels = np.asarray(test_set.labels)
    sure = {"champion": sure_counts(labels, test_old), "challenger": sure_counts(labels, test_new)}
    return with_sure_counts(decision, sure)


def sure_counts(labels: NDArray[np.integer[Any]], found: ModelPredictions) -> dict[str, int] | None:
    """Number of texts, of sure predictions and of wrong ones among these; None without thresholds."""
    if found.is_sure is None:
        return None
    is_wrong = found.is_sure & (found.predicted != labels)
    return {"texts": len(labels), "sure": int(found.is_sure.sum()), "errors": int(is_wrong.sum())}


def with_sure_counts(decision: GateDecision, counts: Mapping[str, dict[str, int] | None]) -> GateDecision:
    """The decision with these counts by model, and with a sentence about them; unchanged without thresholds."""
    if not any(counts.values()):
        return decision
    sentence = "; ".join(f"{name} {_sure_in_words(found)}" for name, found in counts.items())
    return dataclasses.replace(
        decision,
        reasons=(*decision.reasons, f"not part of the gate: {sentence}"),
        figures={**decision.figures, "unsure": dict(counts)},
    )


def _sure_in_words(found: dict[str, int] | None) -> str:
    if found is None:
        return "has no thresholds of unsure predictions"
    sure, texts, errors = found["sure"], found["texts"], found["errors"]
    share = f"is sure of {sure:,} of {texts:,} test texts ({sure / texts:.1%})"
    return f"{share}, {1 - errors / sure:.1%} of them right" if sure else share


def parity_failures_of(manifest: Manifest) -> list[str]:
    """Reasons why a version's engine or cascade may not replace the trained model, a sentence each."""
    parts = ["engine", *(["cascade"] if manifest.cascade.get("settings") else [])]
    found = [manifest.parity.get(part) for part in parts]
    if None in found:
        return ["no results of its comparison with the trained model"]
    return [text for part in found if part is not None for text in parity_failures(Parity.from_dict(part))]


def predicted_labels(version: ModelVersion, texts: Sequence[str]) -> list[str]:
    """The label that a version predicts for each text, [len(texts)]; equal texts are scored once."""
    distinct = list(dict.fromkeys(texts))
    announce_scoring(distinct, version.manifest.max_wordpieces, f"{len(distinct):,} new texts with {version.id}")
    predictions = predictor_of_version(version).predict(distinct)
    label_of = {prediction.text: prediction.label for prediction in predictions}
    return [label_of[text] for text in texts]


def too_few_test_texts(texts: int, options: GateOptions) -> str | None:
    """A warning if so small a test set needs a better challenger; None if it can show that two models are equal."""
    gains = gains_for_margin(texts, options.margin, options.alpha)
    if gains == 0:
        return None
    enough = texts_for_margin(0, 0, 1, options.margin, options.alpha, options.power)
    needed = f"{enough:,} test texts are enough if no prediction differs"
    if gains is None:
        return f"with {texts:,} test texts nothing can be promoted; {needed}"
    return (
        f"with {texts:,} test texts a model can be promoted only if it predicts at least {gains:,} more of them "
        f"correctly; {needed}"
    )
