"""The gate with classes that the champion does not have: the old ones hold up, and the new ones are found."""

import dataclasses

import numpy as np
import pytest

from textclf.retraining_options import GateOptions
from textclf.stats.gate import PairedPredictions, decide_promotion

NAMES = ("neg", "pos", "refund")
NEG, POS, REFUND = range(3)


def pairs(labels, champion, challenger, sure=0.9) -> PairedPredictions:
    """Predictions of both models; the champion gives `refund` no probability."""
    labels, champion, challenger = (np.asarray(ids, np.int64) for ids in (labels, champion, challenger))
    n = len(labels)
    of_champion, of_challenger = np.zeros((n, 3)), np.full((n, 3), (1 - sure) / 2)
    of_champion[:, :2] = 1 - sure
    of_champion[np.arange(n), champion] = sure
    of_challenger[np.arange(n), challenger] = sure
    return PairedPredictions(labels, of_champion, of_challenger, champion, challenger, np.full(n, 10))


def old_classes(n, lost=0):
    """Texts of old classes; nine in ten are right, and the challenger gives `lost` of these the new class."""
    labels = np.arange(n) % 2
    champion = np.where(np.arange(n) % 10 == 0, 1 - labels, labels)
    challenger = champion.copy()
    challenger[np.flatnonzero(champion == labels)[:lost]] = REFUND
    return labels, champion, challenger


def joined(*parts):
    return pairs(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


def of_new_class(n, found):
    """Texts of the new class, of which the challenger finds some; the champion finds none."""
    return np.full(n, REFUND), np.zeros(n, int), np.where(np.arange(n) < found, REFUND, NEG)


def decided(golden, holdout, **options):
    return decide_promotion(golden, holdout, GateOptions(**options), class_names=NAMES, new_classes=["refund"])


GOLDEN = pairs(*old_classes(3000))


def test_a_class_that_is_found_is_added():
    decision = decided(GOLDEN, joined(old_classes(300), of_new_class(40, 36)))
    assert decision.verdict == "promote", decision.reasons
    (result,) = decision.figures["new_classes"]
    assert (result["class"], result["texts"], result["right"]) == ("refund", 40, 36)
    assert 0.5 < result["lower_bound"] < 0.9 < result["upper_bound"] < 1
    assert any(
        reason.startswith("new class refund: 36 of 40 held-out texts are found; with 95% confidence the recall is at ")
        for reason in decision.reasons
    )
    # The old classes are compared without the texts that the champion cannot know.
    assert decision.figures["holdout"]["texts"] == 300
    assert decision.figures["holdout"]["gains"] == 0


def test_texts_of_the_new_class_hide_no_loss_of_the_old_ones():
    decision = decided(GOLDEN, joined(old_classes(300, lost=20), of_new_class(100, 100)))
    assert decision.verdict == "reject"
    assert any(reason.startswith("new held-out texts: accuracy 90.00% -> 83.33%") for reason in decision.reasons)


def test_old_texts_that_get_the_new_class_are_losses():
    decision = decided(pairs(*old_classes(3000, lost=60)), joined(old_classes(300), of_new_class(40, 40)))
    assert decision.verdict == "reject"
    assert decision.reasons[0].startswith("test set: accuracy 90.00% -> 88.00%")


@pytest.mark.parametrize(
    ("texts", "found", "verdict", "words"),
    [
        (40, 5, "reject", "the recall is at most"),
        (8, 6, "inconclusive", "about 2"),
        (8, 4, "inconclusive", "more texts of it are needed"),
        (0, 0, "inconclusive", "0 of 0 held-out texts"),
    ],
)
def test_a_class_that_is_not_found_is_not_added(texts, found, verdict, words):
    decision = decided(GOLDEN, joined(old_classes(300), of_new_class(texts, found)))
    assert decision.verdict == verdict
    assert len(decision.reasons) == 1
    assert words in decision.reasons[0]
    assert (
        decided(GOLDEN, joined(old_classes(300), of_new_class(texts, found)), new_class_recall=0).verdict == "promote"
    )


def test_held_out_texts_of_the_new_class_count_among_those_that_are_needed():
    assert decided(GOLDEN, joined(old_classes(80), of_new_class(30, 30))).verdict == "promote"
    assert decided(GOLDEN, joined(old_classes(60), of_new_class(30, 30))).verdict == "inconclusive"
    only_new = decided(GOLDEN, pairs(*of_new_class(120, 120)))
    assert only_new.verdict == "promote"
    assert "all 120 new held-out texts are of new classes" in only_new.reasons


def test_without_new_classes_nothing_is_said_about_them():
    decision = decide_promotion(GOLDEN, pairs(*old_classes(300)), GateOptions(), class_names=NAMES)
    assert decision.verdict == "promote"
    assert decision.figures["new_classes"] == []
    assert "class refund" not in " ".join(decision.reasons)


MANY = 30


def many_classes(n, swallowed=None, lost=0.0, seed=0):
    """Texts of many small classes; one may be swallowed by the new class, with as many gains in other classes.

    `lost` is a share of the texts that the new class takes, with as many gains.
    """
    random = np.random.default_rng(seed)
    labels = np.arange(n) % MANY
    champion = np.where(random.random(n) < 0.1, (labels + 1) % MANY, labels)
    is_lost = (champion == labels) & ((labels == swallowed) | (random.random(n) < lost))
    gains = np.flatnonzero((champion != labels) & (labels != swallowed))[: is_lost.sum()]
    challenger = np.where(is_lost, MANY, champion)
    challenger[gains] = labels[gains]
    probabilities = np.full((2, n, MANY + 1), 0.05 / MANY)
    probabilities[[[0], [1]], np.arange(n), [champion, challenger]] = 0.95
    return PairedPredictions(labels, *probabilities, champion, challenger, np.full(n, 10))


def decided_many(golden, **options):
    names = [*(f"old {i}" for i in range(MANY)), "new"]
    of_new = np.full(30, MANY)
    sure = np.eye(MANY + 1)
    holdout = PairedPredictions(of_new, sure[of_new * 0], sure[of_new], of_new * 0, of_new, np.full(30, 10))
    gate = GateOptions(min_holdout=30, **options)
    return decide_promotion(golden, holdout, gate, class_names=names, new_classes=["new"])


@pytest.mark.parametrize("of_each", [6, 12, 60])
def test_a_small_class_that_a_new_one_swallows_is_no_promotion(of_each):
    decision = decided_many(many_classes(of_each * MANY, swallowed=3))
    assert decision.figures["golden"]["difference"] == 0
    assert decision.verdict == "reject"
    assert any(reason.startswith("test set, class old 3: new classes take") for reason in decision.reasons)
    assert {row["slice"] for row in decision.figures["lost_to_new"] if row["is_worse"]} <= {
        "all old classes",
        "class old 3",
    }


def test_a_loss_of_a_small_class_to_another_old_one_counts_too():
    golden = many_classes(60 * MANY)
    challenger = np.where((golden.labels == 3) & golden.champion_is_right, 4, golden.champion_predicted)
    golden = dataclasses.replace(golden, challenger_predicted=challenger)
    decision = decided_many(golden, margin=0.1)
    classes = {row["slice"] for row in decision.figures["slices"] if row["is_worse"] and row["texts"] == 60}
    assert (decision.verdict, classes) == ("reject", {"class old 3"})


def test_a_new_class_that_takes_a_few_texts_of_each_class_is_no_promotion():
    decision = decided_many(many_classes(3000, lost=0.03))
    assert decision.reasons[0].startswith("test set, all old classes: new classes take")
    assert [row["slice"] for row in decision.figures["lost_to_new"] if row["is_worse"]] == ["all old classes"]


def test_harmless_challengers_are_promoted():
    verdicts = [decided_many(many_classes(3000, lost=0.004, seed=seed)).verdict for seed in range(10)]
    assert verdicts.count("promote") >= 9


def test_the_margin_of_slices_covers_the_texts_that_new_classes_take():
    golden = many_classes(6 * MANY, swallowed=3)
    (strict, mild) = (decided_many(golden, margin=0.1, slice_margin=margin) for margin in (0.0, 0.9))
    assert (strict.verdict, mild.verdict) == ("reject", "promote")
