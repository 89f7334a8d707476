import pytest

from textclf.tuning.pruning import Curve, is_behind

GOOD = [Curve([0.5, 0.7, 0.8, 0.9], 4)] * 3


@pytest.mark.parametrize(
    ("values", "epochs", "expected"),
    [
        ([0.4], 4, True),
        ([0.5], 4, False),
        ([0.6, 0.5], 4, True),  # The best epoch counts, and 0.7 is the median of the others.
        ([0.71, 0.5], 4, False),
        # A third of the epochs: the others had one epoch, 0.5.
        ([0.51], 3, False),
        # No other had an epoch after a sixth of its schedule.
        ([0.1], 6, False),
        ([0.1, 0.1], 6, True),
        # At its end there is nothing to save.
        ([0.1, 0.1], 2, False),
        # One of two epochs is compared with two of four.
        ([0.69], 2, True),
    ],
)
def test_points_are_shares_of_the_epochs(values, epochs, expected):
    assert is_behind(Curve(values, epochs), GOOD, is_more_better=True) == expected


def test_a_loss_is_better_when_lower():
    others = [Curve([0.9, 0.5], 2)] * 3
    assert is_behind(Curve([1.0], 2), others, is_more_better=False)
    assert not is_behind(Curve([0.8], 2), others, is_more_better=False)


def test_two_others_are_too_few():
    assert not is_behind(Curve([0.0], 2), GOOD[:2], is_more_better=True)


def test_a_trial_that_stopped_early_counts_with_its_best_epoch():
    assert is_behind(Curve([0.1, 0.1, 0.1], 4), [Curve([0.5, 0.4], 4)] * 3, is_more_better=True)
