"""The gate with classes that the champion does not have: the old ones hold up, and the new ones are found."""

import numpy as np
import pytest

from textclf.config import GateOptions
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
