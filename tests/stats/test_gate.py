"""The gate: bounds and tests of paired answers against known figures, and what each of its conditions decides."""

import dataclasses
import json
import math

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.stats import multinomial, norm

from textclf.errors import ConfigError, InputError
from textclf.retraining_options import GateOptions
from textclf.stats.gate import PairedPredictions, decide_promotion
from textclf.stats.holm import holm
from textclf.stats.paired_accuracy import (
    gains_for_margin,
    is_within_margin,
    mcnemar_p,
    p_worse,
    tango_lower_bound,
    texts_for_difference,
    texts_for_margin,
    upper_bound,
)

OPTIONS = GateOptions()


# --- two classifiers on the same texts


def test_the_score_interval_is_the_published_one():
    # The data of Bentur et al. 2009 (1, 1, 7, 12) in Fagerland, Lydersen and Laake, Statistics in Medicine 33 (2014).
    assert tango_lower_bound(7, 1, 21, 0.025) == pytest.approx(-0.517, abs=5e-4)
    assert upper_bound(7, 1, 21, 0.025) == pytest.approx(-0.026, abs=5e-4)


def log_likelihood(losses, gains, n, share_of_losses, delta):
    parts = (
        (losses, share_of_losses),
        (gains, share_of_losses + delta),
        (n - losses - gains, 1 - 2 * share_of_losses - delta),
    )
    return sum(count * math.log(max(share, 1e-300)) for count, share in parts if count)


@pytest.mark.parametrize(("losses", "gains", "n"), [(7, 1, 21), (3, 9, 400), (0, 4, 60), (60, 50, 2000), (1, 0, 44)])
@pytest.mark.parametrize("alpha", [0.05, 0.01])
def test_the_score_statistic_at_the_bound_is_the_quantile(losses, gains, n, alpha):
    """With the nuisance share found by maximising the likelihood numerically, instead of by the closed form."""
    bound = tango_lower_bound(losses, gains, n, alpha)
    low, high = max(0.0, -bound), (1 - bound) / 2
    found = minimize_scalar(
        lambda share: -log_likelihood(losses, gains, n, share, bound),
        bounds=(low, high),
        method="bounded",
        options={"xatol": 1e-12},
    )
    variance = (2 * found.x + bound - bound**2) / n
    assert ((gains - losses) / n - bound) / math.sqrt(variance) == pytest.approx(norm.ppf(1 - alpha), abs=2e-3)


def test_without_a_text_that_differs_the_bound_is_that_of_one_share():
    z = norm.ppf(0.95)
    assert tango_lower_bound(0, 0, 100) == pytest.approx(-(z**2) / (100 + z**2), abs=1e-7)
    assert upper_bound(0, 0, 100) == -tango_lower_bound(0, 0, 100)


def test_bounds_stay_in_their_range_and_around_the_difference():
    random = np.random.default_rng(0)
    for _ in range(500):
        n = int(random.integers(1, 500))
        losses = int(random.integers(0, n + 1))
        gains = int(random.integers(0, n - losses + 1))
        assert -1 <= tango_lower_bound(losses, gains, n) <= (gains - losses) / n <= upper_bound(losses, gains, n) <= 1


def test_the_bound_keeps_its_level():
    """Where the true difference is at the margin, the bound is above it in 5% of the cases."""
    random = np.random.default_rng(1)
    counts = random.multinomial(1000, [0.035, 0.025, 0.94], 4000)
    above = np.mean([tango_lower_bound(losses, gains, 1000) >= -0.01 for losses, gains, _ in counts])
    assert above == pytest.approx(0.05, abs=0.012)


def test_exact_one_sided_p():
    assert mcnemar_p(0, 0) == 1
    assert mcnemar_p(5, 0) == 1 / 32
    assert mcnemar_p(7, 1) == 9 / 256
    assert mcnemar_p(1, 7) == pytest.approx(255 / 256)


def test_as_many_texts_as_are_called_for_give_the_power():
    random = np.random.default_rng(2)
    needed = texts_for_margin(30, 30, 1000, 0.01, 0.05, 0.8)
    assert needed == pytest.approx(3710, rel=0.02)  # (1.645 + .842)^2 * .06 / .01^2
    counts = random.multinomial(needed, [0.03, 0.03, 0.94], 1000)
    assert np.mean([tango_lower_bound(b, c, needed) >= -0.01 for b, c, _ in counts]) == pytest.approx(0.8, abs=0.04)
    needed = texts_for_difference(60, 40, 1000, 0.05, 0.8)
    counts = random.multinomial(needed, [0.06, 0.04, 0.9], 1000)
    assert np.mean([mcnemar_p(b, c) < 0.05 for b, c, _ in counts]) == pytest.approx(0.8, abs=0.05)


def test_the_number_of_texts_at_its_edges():
    # If none differs, this is the smallest number of texts whose bound is above the margin.
    needed = texts_for_margin(0, 0, 50, 0.01, 0.05, 0.8)
    assert tango_lower_bound(0, 0, needed) >= -0.01 > tango_lower_bound(0, 0, needed - 1)
    assert texts_for_margin(20, 0, 1000, 0.01, 0.05, 0.8) is None
    assert texts_for_margin(5, 0, 1000, 0.01, 0.05, 0.8) > texts_for_margin(0, 5, 1000, 0.01, 0.05, 0.8)
    assert texts_for_difference(5, 5, 100, 0.05, 0.8) is None
    approximate = texts_for_margin(20, 11, 1000, 0.00901, 0.05, 0.8)
    assert approximate == math.ceil((norm.ppf(0.95) + norm.ppf(0.8)) ** 2 * (0.031 - 0.009**2) / 0.00001**2)


@pytest.mark.parametrize(("losses", "gains", "n"), [(8, 8, 400), (0, 1, 100), (3, 1, 1000)])
def test_the_number_of_texts_has_its_power_by_the_exact_decision(losses, gains, n):
    """Sums the multinomial probabilities of all outcomes whose bound is within the margin."""
    margin, needed = 0.01, texts_for_margin(losses, gains, n, 0.01, 0.05, 0.8)
    difference = min(0, gains - losses) / n
    shares = ((losses + gains) / n - difference) / 2, ((losses + gains) / n + difference) / 2

    lost, won = (counts.ravel() for counts in np.indices((120, 120)))

    def power(texts):
        outcomes = np.stack([lost, won, texts - lost - won], axis=1)
        passes = is_within_margin(lost, won, texts, margin, 0.05)
        return multinomial.pmf(outcomes[passes], texts, [*shares, 1 - sum(shares)]).sum()

    assert power(needed) >= 0.8
    assert power(round(0.95 * needed)) < 0.8


def test_the_smallest_gain_is_that_of_the_exact_decision():
    """Against every outcome of up to 300 texts: 200 texts with one gain and no loss pass, 268 without a gain."""
    assert [gains_for_margin(n, 0.01, 0.05) for n in (2, 3, 100, 200, 267, 268)] == [None, 3, 2, 1, 1, 0]
    assert tango_lower_bound(0, 1, 200) >= -0.01
    for n in (2, 3, 10, 63, 134, 200, 267, 268, 300):
        losses, gains = np.divmod(np.arange((n + 1) ** 2), n + 1)
        is_outcome = losses + gains <= n
        passes = is_within_margin(losses, gains, n, 0.01, 0.05) & is_outcome
        smallest = min((gains - losses)[passes], default=None)
        assert gains_for_margin(n, 0.01, 0.05) == smallest
        some = np.random.default_rng(n).choice(np.flatnonzero(is_outcome), min(40, is_outcome.sum()), replace=False)
        for at in some:
            assert passes[at] == (tango_lower_bound(int(losses[at]), int(gains[at]), n) >= -0.01)


def test_worse_by_more_than_a_margin():
    assert p_worse(7, 1, 600) == mcnemar_p(7, 1)
    # At the margin itself, chance decides.
    assert p_worse(12, 0, 600, 0.02) == pytest.approx(0.5)
    for losses, gains in ((60, 20), (30, 1), (45, 20)):
        p = p_worse(losses, gains, 1000, 0.02)
        assert upper_bound(losses, gains, 1000, p) == pytest.approx(-0.02, abs=1e-6)
    assert p_worse(0, 0, 600, 0.02) > 0.99


def test_holm():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.9]).tolist() == [1, 1]
    assert holm([]).tolist() == []


# --- the verdict


def mixed_lengths(n):
    """10 … 109, spread evenly over any stretch of the texts."""
    return np.arange(n) * 37 % 100 + 10


def answers(n, losses=0, gains=0, wrong=0, sure=0.9, challenger_sure=None, labels=None, lengths=None):
    """n texts, two classes by turns: first `losses`, then `gains`; the last `wrong` ones are wrong by both."""
    labels = np.arange(n) % 2 if labels is None else labels
    champion, challenger = labels.copy(), labels.copy()
    challenger[:losses] = 1 - labels[:losses]
    champion[losses : losses + gains] = 1 - labels[losses : losses + gains]
    both = slice(n - wrong, n)
    champion[both] = challenger[both] = 1 - labels[both]

    def probabilities(predicted, sure):
        values = np.full((n, 2), 1 - sure)
        values[np.arange(n), predicted] = sure
        return values

    return PairedPredictions(
        labels,
        probabilities(champion, sure),
        probabilities(challenger, challenger_sure or sure),
        champion,
        challenger,
        mixed_lengths(n) if lengths is None else lengths,
    )


GOLDEN = answers(4000, losses=40, gains=40, wrong=400)
HOLDOUT = answers(300, losses=5, gains=15, wrong=30)


def decided(golden=GOLDEN, holdout=HOLDOUT, parity=(), **options):
    return decide_promotion(golden, holdout, GateOptions(**options), parity, class_names=("neg", "pos"))


def test_promote_with_every_figure():
    decision = decided()
    assert (decision.verdict, decision.texts_needed) == ("promote", {})
    golden = decision.figures["golden"]
    assert (golden["texts"], golden["losses"], golden["gains"], golden["difference"]) == (4000, 40, 40, 0)
    assert golden["champion_accuracy"] == golden["challenger_accuracy"] == 1 - 440 / 4000
    assert golden["lower_bound"] == tango_lower_bound(40, 40, 4000) >= -0.01 == -golden["margin"]
    assert decision.figures["holdout"]["p_worse"] == mcnemar_p(5, 15)
    # 2 classes and 4 quarters of the golden texts; the holdout is too small for any.
    slices = decision.figures["slices"]
    assert [(figures["set"], figures["slice"]) for figures in slices] == [
        ("golden", name)
        for name in (
            "class neg",
            "class pos",
            "up to 34 tokens",
            "35 to 59 tokens",
            "60 to 84 tokens",
            "over 84 tokens",
        )
    ]
    assert sum(figures["texts"] for figures in slices[:2]) == sum(figures["texts"] for figures in slices[2:]) == 4000
    assert set(decision.figures["calibration"]) == {"golden", "holdout"}
    assert decision.figures["options"] == OPTIONS.to_dict()
    assert any("test set: accuracy 89.00% -> 89.00% on 4,000 texts" in reason for reason in decision.reasons)
    assert json.loads(json.dumps(dataclasses.asdict(decision)))["figures"] == decision.figures


def test_worse_test_set_rejects():
    decision = decided(answers(4000, losses=150, gains=20, wrong=300))
    assert decision.verdict == "reject"
    assert upper_bound(150, 20, 4000) < -0.01
    assert "test set: accuracy 92.00% -> 88.75%" in decision.reasons[0]
    assert "a loss of up to 1.00% is allowed" in decision.reasons[0]


def test_worse_within_the_margin_is_let_pass():
    golden = answers(25_000, losses=600, gains=500, wrong=2000)
    assert mcnemar_p(600, 500) < 0.01
    assert decided(golden).verdict == "promote"


@pytest.mark.parametrize(
    ("losses", "gains", "n", "needed"), [(8, 8, 400, 2535), (0, 0, 100, 268), (30, 25, 1500, 5205)]
)
def test_too_few_test_texts_are_inconclusive(losses, gains, n, needed):
    decision = decided(answers(n, losses, gains, wrong=20))
    assert decision.verdict == "inconclusive"
    assert decision.texts_needed == {"golden": needed}
    assert needed > n
    assert f"about {needed:,} test texts would decide" in decision.reasons[0]


def test_difference_at_the_margin_is_inconclusive_for_any_number_of_texts():
    decision = decided(answers(2000, losses=40, gains=20, wrong=100))
    assert (decision.verdict, decision.texts_needed) == ("inconclusive", {})
    assert "no number of texts would let it pass" in decision.reasons[0]


@pytest.mark.parametrize("holdout", [None, answers(0), answers(99)])
def test_without_enough_held_out_texts_it_is_inconclusive(holdout):
    decision = decided(holdout=holdout)
    assert (decision.verdict, decision.texts_needed) == ("inconclusive", {"holdout": 100})
    assert "at least 100 are needed" in decision.reasons[0]
    assert decided(holdout=answers(99), min_holdout=99).verdict == "promote"


def test_worse_holdout_rejects_even_if_small():
    decision = decided(holdout=answers(60, losses=8))
    assert decision.verdict == "reject"
    assert (
        "new held-out texts: accuracy 100.00% -> 86.67% on 60 texts, which is worse (adjusted p 0.027)"
        in decision.reasons
    )


def test_a_holdout_that_may_have_got_worse_is_inconclusive():
    decision = decided(holdout=answers(300, losses=6, gains=5))
    needed = texts_for_difference(6, 5, 300, 0.05, 0.8)
    assert (decision.verdict, decision.texts_needed) == ("inconclusive", {"holdout": needed})
    assert decided(holdout=answers(300, losses=6, gains=6)).verdict == "promote"


def one_bad_slice(n, lost, size=600, of_class=False):
    """The first `size` texts are a class, or the shortest, and lose `lost`; among the others as many are won."""
    labels = np.where(np.arange(n) < size, 0, 1) if of_class else np.arange(n) % 2
    lengths = mixed_lengths(n) if of_class else np.where(np.arange(n) < size, 8, 100)
    golden = answers(n, losses=lost, gains=0, labels=labels, lengths=lengths)
    champion = golden.champion_predicted.copy()
    champion[size : size + lost] = 1 - labels[size : size + lost]
    return dataclasses.replace(golden, champion_predicted=champion)


@pytest.mark.parametrize(("of_class", "name"), [(True, "class neg"), (False, "up to 8 tokens")])
def test_a_slice_that_got_worse_rejects_though_the_whole_did_not(of_class, name):
    n = 2000  # So that the shortest quarter ends within the slice.
    golden = one_bad_slice(n, lost=30, of_class=of_class)
    decision = decided(golden, margin=0.02)
    assert decision.figures["golden"]["difference"] == 0
    assert decision.verdict == "reject"
    assert decision.reasons[0].startswith(f"test set, {name}: accuracy 100.00% -> 95.00% on 600 texts")
    assert [figures["slice"] for figures in decision.figures["slices"] if figures["is_worse"]] == [name]


def test_slices_of_the_holdout_count_too():
    golden = answers(4000, wrong=400)
    holdout = one_bad_slice(2000, lost=30, of_class=True)
    decision = decided(golden, holdout)
    assert decision.verdict == "reject"
    assert decision.reasons[0].startswith("holdout, class neg")


def test_slice_is_worse_only_if_large_and_significant_and_over_its_margin():
    assert decided(one_bad_slice(2000, lost=30, size=499, of_class=True), margin=0.02).verdict == "promote"
    little = one_bad_slice(2000, lost=11, of_class=True)
    assert mcnemar_p(11, 0) * 6 < 0.05
    assert decided(little, margin=0.02, slice_margin=0.02).verdict == "promote"
    assert decided(little, margin=0.02).verdict == "reject"
    chance = answers(4000, losses=60, gains=60)  # In the first 120 texts; every slice has some of them.
    assert decided(chance).verdict == "promote"


def test_probabilities_that_are_off_by_more_reject():
    decision = decided(answers(4000, wrong=400, challenger_sure=0.999))
    assert decision.verdict == "reject"
    (reason,) = decision.reasons
    assert reason.startswith(
        "test set: calibration error 0.000 -> 0.099; with 95% confidence the calibration loss rose by at least 0.008"
    )
    assert reason.endswith("; 0.0016 is allowed")
    figures = decision.figures["calibration"]["golden"]
    # 90% of the texts are right: probabilities of 0.999 are wrong by 0.099.
    assert figures["loss_rise"] == pytest.approx(0.099**2, abs=1e-4)
    assert figures["lower_bound"] > OPTIONS.calibration_margin**2
    assert decided(answers(4000, wrong=400, challenger_sure=0.999), calibration_margin=0.11).verdict == "promote"
    assert decided(answers(4000, wrong=400, challenger_sure=0.915)).verdict == "promote"
    assert decided(answers(4000, wrong=400, sure=0.999, challenger_sure=0.9)).verdict == "promote"


def test_on_few_texts_the_calibration_may_be_chance():
    few = answers(60, wrong=6, challenger_sure=0.92)
    decision = decided(few, margin=0.1)
    assert decision.verdict == "inconclusive"
    assert "about" in decision.reasons[0]
    assert decision.texts_needed["golden"] > 60
    assert decided(few, margin=0.1, calibration_margin=0.2).verdict == "promote"
    worse = decided(answers(100, wrong=10, challenger_sure=0.95), margin=0.1, calibration_margin=0.04)
    assert (worse.verdict, worse.texts_needed) == ("inconclusive", {})
    assert "at this rise no number of texts would let it pass" in worse.reasons[0]


def test_calibration_is_judged_on_the_test_set_only():
    decision = decided(holdout=answers(3000, wrong=300, challenger_sure=0.999))
    assert decision.verdict == "promote"
    assert any(reason.endswith("rose by at most 0.0000; 0.0016 is allowed") for reason in decision.reasons)
    holdout = decision.figures["calibration"]["holdout"]
    assert holdout["challenger"] > holdout["champion"] + 0.02


def against_best(losses, gains=0, n=25_000, **more):
    """The champion is worse than the best version by 1 point, and the challenger by `losses` - `gains` texts."""
    return decided(
        answers(n, losses=gains, gains=gains, wrong=n // 10),
        **more,
    ), decide_promotion(
        answers(n, losses=100, gains=80, wrong=n // 10),
        HOLDOUT,
        GateOptions(),
        best=answers(n, losses=losses, gains=gains, wrong=n // 10),
    )


def test_a_small_loss_against_the_champion_and_a_large_one_against_the_best_version_rejects():
    without, decision = against_best(losses=500)
    assert without.verdict == "promote"
    assert decision.verdict == "reject"
    (reason,) = decision.reasons
    assert reason.startswith("test set, against the best version so far: accuracy 90.00% -> 88.00% on 25,000 texts")
    assert decision.figures["golden"]["difference"] == pytest.approx(-0.0008)
    assert decision.figures["best"]["difference"] == pytest.approx(-0.02)


def test_a_loss_at_the_margin_against_the_best_version_is_inconclusive():
    _, decision = against_best(losses=250)
    assert decision.verdict == "inconclusive"
    assert "against the best version so far" in decision.reasons[0]


def test_no_loss_against_the_best_version_is_promoted_and_shown():
    _, decision = against_best(losses=100, gains=100)
    assert decision.verdict == "promote"
    assert sum("against the best version so far" in reason for reason in decision.reasons) == 2
    assert set(decision.figures["calibration"]) == {"golden", "best", "holdout"}
    assert "best" not in decided().figures


def test_calibration_against_the_best_version_counts_too():
    golden = answers(4000, wrong=400, sure=0.95, challenger_sure=0.96)
    assert not any("-0.0000" in reason for reason in decided(answers(400), margin=0.1).reasons)
    assert decided(golden).verdict == "promote"
    best = answers(4000, wrong=400, sure=0.9, challenger_sure=0.96)
    decision = decide_promotion(golden, HOLDOUT, OPTIONS, best=best)
    assert decision.verdict == "reject"
    assert decision.reasons[0].startswith("test set, against the best version so far: calibration error 0.000 -> 0.060")


def test_an_engine_that_is_not_its_model_rejects():
    decision = decided(parity=["labels agree on 97.00% of 2000 texts"])
    assert decision.verdict == "reject"
    assert decision.reasons == ("the engine: labels agree on 97.00% of 2000 texts",)
    assert decision.figures["parity"] == ["labels agree on 97.00% of 2000 texts"]


def test_worse_somewhere_outweighs_too_few_texts():
    decision = decided(answers(100), holdout=answers(60, losses=10))
    assert (decision.verdict, decision.texts_needed) == ("reject", {})
    assert len(decision.reasons) == 2


def test_more_than_two_classes_and_class_ids_for_names():
    n = 3000
    labels = np.arange(n) % 3
    probabilities = np.full((n, 3), 0.05)
    probabilities[np.arange(n), labels] = 0.9
    same = PairedPredictions(labels, probabilities, probabilities, labels, labels, np.full(n, 7))
    decision = decide_promotion(same, same, OPTIONS)
    assert decision.verdict == "promote"
    names = [figures["slice"] for figures in decision.figures["slices"] if figures["set"] == "golden"]
    assert names == ["class 0", "class 1", "class 2", "up to 7 tokens"]


def test_what_can_not_be_compared_is_refused():
    with pytest.raises(InputError, match="got none"):
        decided(answers(0))
    with pytest.raises(InputError, match="different shapes"):
        dataclasses.replace(GOLDEN, labels=GOLDEN.labels[:-1])
    with pytest.raises(InputError, match=r"probabilities \[texts, classes\]"):
        dataclasses.replace(
            GOLDEN,
            champion_probabilities=GOLDEN.champion_probabilities[:9],
            challenger_probabilities=GOLDEN.challenger_probabilities[:9],
        )


@pytest.mark.parametrize(
    ("name", "value"),
    [("margin", 0), ("margin", True), ("alpha", 0.6), ("power", 0.4), ("min_holdout", 0), ("slice_margin", -0.1)],
)
def test_options_that_make_no_sense_are_refused(name, value):
    with pytest.raises(ConfigError, match=f"{name}: expected"):
        GateOptions(**{name: value})
