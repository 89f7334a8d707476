"""What is compared with what: how each scenario of the drift benchmark draws a reference and a window.

Reference and window never share a review. Every resample has a random generator of its own, made of the scenario's
name, the size of the window and the resample's number: which ran before it, and in which process, changes nothing.
"""

import dataclasses
import functools
import hashlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bench.drift.features import ScoredTexts, read_scored
from bench.drift.resamples import Figures, Resample
from bench.drift.texts import CUT, FILMS, PRODUCTS, TRAINED, TYPOS
from bench.errors import BenchError
from textclf.config import DriftOptions
from textclf.drift.features import TextFeatures
from textclf.drift.reference import MAX_TEXTS, Projection, projection_of
from textclf.stats.drift_tests.compare import compare

FALSE_ALARMS, POWER, CLASS_MIX, COST = "false-alarms", "power", "class-mix", "cost"
PARTS = (FALSE_ALARMS, POWER, CLASS_MIX, COST)
POSITIVE = "pos"


@dataclass(frozen=True, eq=False)
class Pool:
    """Texts to draw from.

    Attributes:
        features: of n texts, their embeddings projected.
        labels: class names, [n].
    """

    features: TextFeatures
    labels: NDArray[np.str_]

    def __len__(self) -> int:
        return len(self.features)


# By source (bench.drift.texts): row i of FILMS, TYPOS and CUT is the same review.
Pools = Mapping[str, Pool]


class Drawn(NamedTuple):
    """Which texts are compared.

    Attributes:
        reference: rows of FILMS.
        source: where the window comes from.
        window: rows of it.
    """

    reference: NDArray[np.intp]
    source: str
    window: NDArray[np.intp]


# Pools, texts in the reference, texts in the window, chance.
Draw = Callable[[Pools, int, int, np.random.Generator], Drawn]


@dataclass(frozen=True)
class Scenario:
    """A kind of drift, or none.

    Attributes:
        name: for tables and files.
        part: one of PARTS.
        draw: makes a resample.
        resamples: how many, by the size of the window.
        required: of power, the rate of alarms that it must reach, by the size of the window.
    """

    name: str
    part: str
    draw: Draw
    resamples: Mapping[int, int]
    required: Mapping[int, float] = dataclasses.field(default_factory=dict)


def rewritten(source: str) -> Draw:
    """The window's reviews in the form that `source` has them, FILMS itself included; none of them in the reference."""

    def draw(pools: Pools, reference: int, size: int, rng: np.random.Generator) -> Drawn:
        _check_enough(len(pools[FILMS]), reference + size, "film reviews")
        order = rng.permutation(len(pools[FILMS]))
        return Drawn(order[:reference], source, order[reference : reference + size])

    return draw


def replaced_by(source: str) -> Draw:
    """A window of other texts."""

    def draw(pools: Pools, reference: int, size: int, rng: np.random.Generator) -> Drawn:
        _check_enough(len(pools[FILMS]), reference, "film reviews")
        _check_enough(len(pools[source]), size, source)
        films, others = rng.permutation(len(pools[FILMS])), rng.permutation(len(pools[source]))
        return Drawn(films[:reference], source, others[:size])

    return draw


def class_mix(share: float) -> Draw:
    """A reference of which one half is labelled positive, and a window where each text is with probability `share`."""

    def draw(pools: Pools, reference: int, size: int, rng: np.random.Generator) -> Drawn:
        is_positive = pools[FILMS].labels == POSITIVE
        sides = [rng.permutation(np.flatnonzero(is_positive)), rng.permutation(np.flatnonzero(~is_positive))]
        half = reference // 2
        positive = int(rng.binomial(size, share))
        for side, count in zip(sides, (positive, size - positive), strict=True):
            _check_enough(len(side), half + count, "film reviews of one class")
        window = [side[half : half + count] for side, count in zip(sides, (positive, size - positive), strict=True)]
        return Drawn(np.concatenate([side[:half] for side in sides]), FILMS, np.concatenate(window))

    return draw


_POWER_RESAMPLES = {100: 200, 200: 200, 500: 200, 1000: 200}


def _required(*rates: float) -> Mapping[int, float]:
    return dict(zip(_POWER_RESAMPLES, rates, strict=True))


SCENARIOS = (
    Scenario("films -> films", FALSE_ALARMS, rewritten(FILMS), {200: 1000, 1000: 1000, 5000: 200}),
    Scenario(
        "films -> products", POWER, replaced_by(PRODUCTS), _POWER_RESAMPLES, required=_required(0.95, 0.99, 1.0, 1.0)
    ),
    Scenario("positive 50 -> 80 %", POWER, class_mix(0.8), _POWER_RESAMPLES, required=_required(0.9, 0.99, 1.0, 1.0)),
    Scenario(
        "typos in 10 % of words",
        POWER,
        rewritten(TYPOS),
        _POWER_RESAMPLES,
        required=_required(0.3, 0.6, 0.95, 0.99),
    ),
    Scenario("cut to a quarter", POWER, rewritten(CUT), _POWER_RESAMPLES, required=_required(0.95, 1.0, 1.0, 1.0)),
    Scenario("positive 50 -> 52 %", CLASS_MIX, class_mix(0.52), {5000: 200}),
)


def rng_of(resample: Resample, seed: int) -> np.random.Generator:
    """The resample's own."""
    digest = hashlib.sha256(f"{seed}\n{resample.scenario}\n{resample.size}\n{resample.number}".encode()).digest()
    return np.random.default_rng(int.from_bytes(digest))


def compared(resample: Resample, pools: Pools, options: DriftOptions, seed: int, reference: int = MAX_TEXTS) -> Figures:
    """Draw, compare, and keep the figures, as JSON holds them.

    Raises:
        BenchError: there are too few texts.
    """
    rng = rng_of(resample, seed)
    scenario = next(each for each in SCENARIOS if each.name == resample.scenario)
    drawn = scenario.draw(pools, reference, resample.size, rng)
    before = pools[FILMS].features.take(drawn.reference)
    latest = pools[drawn.source].features.take(drawn.window)
    figures = compare(before, latest, options, rng, class_count=before.logits.shape[1], clock=time.perf_counter)
    return {
        **resample._asdict(),
        "families": {
            family.name: {
                "adjusted_p": family.adjusted_p,
                "p": family.p,
                "seconds": family.seconds,
                "tests": {
                    test.name: {"adjusted_p": test.adjusted_p, "p": test.p, "effect": test.effect, "floor": test.floor}
                    for test in family.tests
                },
            }
            for family in figures.families
        },
    }


def comparer(
    caches: Mapping[str, Path], options: DriftOptions, seed: int, reference: int
) -> Callable[[Resample], Figures]:
    """Compares resamples of the scored texts in these files; for the processes of bench.drift.resamples."""
    texts = {source: read_scored(cache) for source, cache in caches.items()}
    pools = pools_of(texts, projection_of(texts[TRAINED].pooled))
    return functools.partial(compared, pools=pools, options=options, seed=seed, reference=reference)


def pools_of(texts: Mapping[str, ScoredTexts], projection: Projection | None) -> dict[str, Pool]:
    """Scored texts by source, their pooled outputs projected as a version projects them."""
    return {
        source: Pool(
            dataclasses.replace(
                each.features, embeddings=None if projection is None else projection.apply(each.pooled)
            ),
            each.labels,
        )
        for source, each in texts.items()
    }


def _check_enough(found: int, needed: int, what: str) -> None:
    if found < needed:
        raise BenchError(f"expected {needed:,} {what}, found {found:,}; take smaller --sizes or --reference")
