"""Labels that somebody poisons: what combining takes out, and what the gate then says of a model trained on the rest.

The models are linear and learn in milliseconds from words that mean nothing; what decides about them is the real thing.
"""

from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pytest
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression

from textclf.data.datasets import Counts, Dataset
from textclf.data.labelled_reviews import LabelledReview
from textclf.data.splits import Split
from textclf.retraining.combining import Combined, combine
from textclf.retraining_options import CombineOptions, GateOptions
from textclf.stats.gate import GateDecision, PairedPredictions, decide_promotion

NAMES = ("neg", "pos")
OLD, NEW, GOLDEN = 2000, 1000, 4000
SHOPS = ("north", "south", "east", "west")
MARGIN = GateOptions().margin


def texts_of(kind: str, count: int, seed: int, class_id: int | None = None) -> Split:
    """Texts of "film" or "product" words: each kind has telling words of its own, and some in common."""
    random = np.random.default_rng([seed, len(kind)])
    labels = random.integers(2, size=count) if class_id is None else np.full(count, class_id)
    texts = []
    for label in labels:
        own = [f"{kind}{NAMES[label ^ (random.random() < 0.2)]}{at}" for at in random.integers(60, size=5)]
        common = [f"common{NAMES[label ^ (random.random() < 0.3)]}{at}" for at in random.integers(60, size=2)]
        words = [*own, *common, *(f"{kind}word{at}" for at in random.integers(400, size=12))]
        texts.append(" ".join(random.permutation(words)))
    return Split(tuple(texts), labels.astype(np.int32))


class Model:
    """Words counted, and a logistic regression."""

    def __init__(self, split: Split) -> None:
        self._words = CountVectorizer(binary=True)
        self._regression = LogisticRegression(C=0.3).fit(self._words.fit_transform(split.texts), split.labels)

    def probabilities(self, split: Split) -> np.ndarray:
        return self._regression.predict_proba(self._words.transform(split.texts))


class World(NamedTuple):
    old: Dataset
    golden: Split
    champion: Model
    clean: tuple[LabelledReview, ...]


@pytest.fixture(scope="module")
def world() -> World:
    films = texts_of("film", OLD, seed=1)
    rows = np.arange(OLD)
    parts = [
        Split(tuple(np.array(films.texts, object)[rows % 10 == k]), films.labels[rows % 10 == k]) for k in range(10)
    ]
    train = Split(
        tuple(text for part in parts[2:] for text in part.texts), np.concatenate([p.labels for p in parts[2:]])
    )
    golden = texts_of("film", GOLDEN, seed=2)
    counts = Counts(OLD, GOLDEN, 0, 0, 0, 0, 0, 0, 0, 0)
    old = Dataset(NAMES, train, parts[0], parts[1], golden, counts, "", None)
    return World(old, golden, Model(train), reviews(texts_of("product", NEW, seed=3), SHOPS))


def reviews(split: Split, sources: tuple[str, ...]) -> tuple[LabelledReview, ...]:
    """With the sources in turns."""
    return tuple(
        LabelledReview(text, NAMES[label], sources[at % len(sources)])
        for at, (text, label) in enumerate(zip(split.texts, split.labels, strict=True))
    )


def flipped(review: LabelledReview, source: str | None = None) -> LabelledReview:
    return LabelledReview(review.text, NAMES[1 - NAMES.index(review.label)], source or review.source)


class Outcome(NamedTuple):
    combined: Combined
    decision: GateDecision

    @property
    def removed(self) -> Counter[str]:
        return Counter(str(removed.reason) for removed in self.combined.removed)

    @property
    def golden_difference(self) -> float:
        return self.decision.figures["golden"]["difference"]

    @property
    def holdout_difference(self) -> float:
        return self.decision.figures["holdout"]["difference"]


def retrained(world: World, new: tuple[LabelledReview, ...], options: CombineOptions | None = None) -> Outcome:
    """The steps of `retraining.py run` with another kind of model."""
    texts = Split(tuple(review.text for review in new), np.zeros(len(new), np.int32))
    predicted = [NAMES[label] for label in world.champion.probabilities(texts).argmax(axis=1)]
    combined = combine(world.old, new, world.golden, predicted, options or CombineOptions())
    challenger = Model(combined.train)
    return Outcome(
        combined,
        decide_promotion(
            paired(world.golden, world.champion, challenger),
            paired(combined.holdout, world.champion, challenger),
            GateOptions(),
            class_names=NAMES,
        ),
    )


def paired(split: Split, champion: Model, challenger: Model) -> PairedPredictions:
    tables = [model.probabilities(split) for model in (champion, challenger)]
    lengths = np.array([len(text.split()) for text in split.texts])
    return PairedPredictions(split.labels, *tables, *(table.argmax(axis=1) for table in tables), lengths)


def poisoned(world: World, share: float) -> tuple[LabelledReview, ...]:
    """All labels flipped in that share of the new reviews, which comes from one more source."""
    return tuple(flipped(review, "mallory") if at < share * NEW else review for at, review in enumerate(world.clean))


def partly_flipped(world: World) -> tuple[LabelledReview, ...]:
    """One label in ten of one of the shops."""
    return tuple(flipped(review) if at % (10 * len(SHOPS)) == 0 else review for at, review in enumerate(world.clean))


def copies(world: World) -> tuple[LabelledReview, ...]:
    """10,000 of one review with the wrong label, half of them a little changed."""
    wrong = flipped(reviews(texts_of("product", 1, seed=4), ("mallory",))[0])
    changed = (LabelledReview(f"{wrong.text} word{at}", wrong.label, wrong.source) for at in range(5000))
    return (*world.clean, *[wrong] * 5000, *changed)


def flood(world: World, kind: str, label: str, class_id: int | None = None) -> tuple[LabelledReview, ...]:
    """2,000 reviews of one label from one source; right or wrong, or right where they are of that class."""
    texts = texts_of(kind, 2000, seed=5, class_id=class_id).texts
    return (*world.clean, *(LabelledReview(text, label, "mallory") for text in texts))


# The reviews sent, and the numbers that combining removes, by reason.
SCENARIOS: dict[str, tuple[Callable[[World], tuple[LabelledReview, ...]], dict[str, int]]] = {
    "clean": (lambda world: world.clean, {}),
    "one label in ten of one source": (partly_flipped, {}),
    "a tenth of all, from one source": (lambda world: poisoned(world, 0.1), {"contradicting_source": 100}),
    "three tenths of all, from one source": (lambda world: poisoned(world, 0.3), {"contradicting_source": 300}),
    "copies": (copies, {"duplicate": 4999, "near_duplicate": 5000}),
    "a flood of one label": (lambda world: flood(world, "product", "pos"), {"contradicting_source": 2000}),
}


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_poison_is_taken_out_and_what_is_left_is_promoted(world, scenario):
    send, removed = SCENARIOS[scenario]
    outcome = retrained(world, send(world))
    assert outcome.removed == removed
    assert outcome.decision.verdict == "promote"
    assert outcome.golden_difference >= -MARGIN
    assert outcome.holdout_difference >= 0.015


def test_a_flood_of_right_labels_does_not_become_the_class_mix(world):
    outcome = retrained(world, flood(world, "product", "pos", class_id=1))
    assert {"source_quota", "new_share"} >= set(outcome.removed)
    of_mallory = Counter(review.source == "mallory" for review in outcome.combined.added)
    assert of_mallory[True] <= of_mallory[False]
    assert outcome.decision.verdict == "promote"


@pytest.mark.parametrize("attack", ["one label", "flipped"])
def test_what_combining_lets_through_the_gate_rejects(world, attack):
    """Wrong labels of film reviews reduce the accuracy on the test set most."""
    if attack == "one label":
        new = flood(world, "film", "pos", class_id=0)
    else:
        new = (*world.clean, *map(flipped, reviews(texts_of("film", 2000, seed=6), ("mallory",))))
    careful = retrained(world, new)
    assert careful.removed == {"contradicting_source": 2000}
    assert careful.decision.verdict == "promote"
    trusting = retrained(world, new, CombineOptions(trusted_sources=("mallory",)))
    assert trusting.removed["contradicting_source"] == 0
    assert trusting.golden_difference < -MARGIN
    assert trusting.holdout_difference > 0.015  # The holdout is poisoned, too.
    assert trusting.decision.verdict == "reject"


@pytest.mark.parametrize("kind", ["product", "film"])
def test_test_set_still_decides_if_the_only_source_lies(world, kind):
    """There is no other source to compare with, and the holdout has the wrong labels, too."""
    outcome = retrained(world, tuple(map(flipped, reviews(texts_of(kind, NEW, seed=7), ("mallory",)))))
    assert outcome.removed["contradicting_source"] == 0
    assert outcome.golden_difference >= -MARGIN or outcome.decision.verdict != "promote"
    if kind == "film":
        assert outcome.decision.verdict == "reject"
