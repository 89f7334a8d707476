"""Sources that contradict a model far more often than others: found, one behind another too. Honest ones are not."""

import numpy as np
import pytest
from scipy.stats import fisher_exact

from textclf.stats.label_sources import contradicting_sources

OPTIONS = {"alpha": 0.01, "margin": 0.1, "min_texts": 20}


def compare(counts, **changes):
    """counts: {source: (texts, contradictions)}"""
    sources = [source for source, (texts, _) in counts.items() for _ in range(texts)]
    contradicts = [i < wrong for texts, wrong in counts.values() for i in range(texts)]
    return contradicting_sources(sources, np.array(contradicts, bool), **OPTIONS | changes)


def outliers(counts, **changes):
    return [result.source for result in compare(counts, **changes) if result.is_outlier]


def test_the_p_value_is_fishers_and_holm_corrects_it():
    counts = {"a": (50, 9), "b": (200, 18), "c": (100, 11), "few": (19, 19)}
    results = {result.source: result for result in compare(counts, margin=0.9)}
    assert len(results) == 4
    p_values = {}
    for name in ("a", "b", "c"):
        texts, wrong = counts[name]
        others, other_wrong = 369 - texts, 57 - wrong
        table = [[wrong, texts - wrong], [other_wrong, others - other_wrong]]
        p_values[name] = fisher_exact(table, alternative="greater").pvalue
        assert results[name].p == pytest.approx(p_values[name])
        assert (results[name].others, results[name].other_contradictions) == (others, other_wrong)
    assert results["few"].p == results["few"].adjusted_p == 1
    smallest = min(p_values, key=p_values.get)
    assert results[smallest].adjusted_p == pytest.approx(min(1, 3 * p_values[smallest]))


def test_three_labels_in_ten_flipped_are_found():
    # The model errs on 10 %: a flip makes a right answer a contradiction, and a wrong one an agreement.
    assert outliers({"web": (400, 40), "shop": (300, 30), "bad": (100, 34)}) == ["bad"]


@pytest.mark.parametrize(
    "counts",
    [
        {"only": (500, 400)},
        {"": (500, 400)},
        {"films": (1000, 80), "products": (1000, 125)},  # a drift, as it was measured from films to products
        {"all": (500, 150), "have": (500, 155), "drifted": (500, 160)},
        {"web": (400, 40), "few": (19, 19)},
        {"web": (400, 40), "chance": (20, 5)},
        {"web": (50_000, 5000), "large": (50_000, 9900)},  # significant, but not far
        {},
    ],
)
def test_nobody_is_set_aside(counts):
    assert outliers(counts) == []


def test_the_margin_is_reached_or_not():
    assert outliers({"web": (10_000, 1000), "bad": (10_000, 2000)}) == ["bad"]
    assert outliers({"web": (10_000, 1001), "bad": (10_000, 2000)}) == []


def test_one_bad_source_does_not_hide_another():
    counts = {"web": (500, 50), "worst": (2000, 1900), "bad": (200, 80)}
    assert 80 / 200 < 1950 / 2500, "beside the worst it looks good"
    results = compare(counts)
    assert [(result.source, result.is_outlier) for result in results] == [
        ("worst", True),
        ("bad", True),
        ("web", False),
    ]
    assert (results[1].others, results[1].other_contradictions) == (500, 50)
    assert results[1].excess == pytest.approx(0.3)


def test_false_alarms_stay_within_alpha():
    """Ten honest sources: that any is set aside is rarer than alpha, even without the margin."""
    rng = np.random.default_rng(0)
    names = [f"s{i}" for i in range(10)]
    alarms = sum(
        bool(outliers({name: (80, int(rng.binomial(80, 0.1))) for name in names}, alpha=0.05, margin=0.0))
        for _ in range(400)
    )
    assert alarms <= 400 * 0.05 + 1.645 * (400 * 0.05 * 0.95) ** 0.5


def test_the_order_of_the_texts_makes_no_difference():
    rng = np.random.default_rng(1)
    sources = rng.choice(["a", "b", "c"], 600)
    contradicts = rng.random(600) < np.where(sources == "c", 0.4, 0.1)
    shuffled = rng.permutation(600)
    assert contradicting_sources(sources.tolist(), contradicts, **OPTIONS) == contradicting_sources(
        sources[shuffled].tolist(), contradicts[shuffled], **OPTIONS
    )
