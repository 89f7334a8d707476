"""Scenarios of the drift benchmark: how each draws a reference and a window.

Reference and window never share a review. Every resample has its own random generator, seeded with the scenario's name,
the size of the window and the resample's number: the order of the resamples and their processes do not matter.
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
from bench.drift.resamples import Resample, Result
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
        features: features of n texts, with projected embeddings.
        labels: class names, [n].
    """

    features: TextFeatures
    labels: NDArray[np.str_]

    def __len__(self) -> int:
        return len(self.features)


# Pools by source (bench.drift.texts); row i of FILMS, TYPOS and CUT is the same review.
Pools = Mapping[str, Pool]


class Drawn(NamedTuple):
    """Texts to compare.

    Attributes:
        reference: rows of FILMS.
        source: source of the window.
        window: rows of that source.
    """

    reference: NDArray[np.intp]
    source: str
    window: NDArray[np.intp]


# Takes pools, sizes of reference and window, and a random generator.
Draw = Callable[[Pools, int, int, np.random.Generator], Drawn]


@dataclass(frozen=True)
class Scenario:
    """A kind of drift, or none.

    Attributes:
        name: name in tables and files.
        part: one of PARTS.
        draw: draws a reference and a window.
        resamples: number of resamples, by the size of the window.
        required: minimum rate of alarms of a power scenario, by the size of the window.
    """

    name: str
    part: str
    draw: Draw
    resamples: Mapping[int, int]
    required: Mapping[int, float] = dataclasses.field(default_factory=dict)


def rewritten(source: str) -> Draw:
    """Draw the window from `source`, a changed form of FILMS or FILMS itself, without reviews of the reference."""

    def draw(pools: Pools, reference: int, size: int, rng: np.random.Generator) -> Drawn:
        _check_enough(len(pools[FILMS]), reference + size, "film reviews")
        order = rng.permutation(len(pools[FILMS]))
        return Drawn(order[:reference], source, order[reference : reference + size])

    return draw


def replaced_by(source: str) -> Draw:
    """Draw the window from another source."""

    def draw(pools: Pools, reference: int, size: int, rng: np.random.Generator) -> Drawn:
        _check_enough(len(pools[FILMS]), reference, "film reviews")
        _check_enough(len(pools[source]), size, source)
        films, others = rng.permutation(len(pools[FILMS])), rng.permutation(len(pools[source]))
        return Drawn(films[:reference], source, others[:size])

    return draw


def class_mix(share: float) -> Draw:
    """Draw a reference with one half positive, and a window of texts that are positive with probability `share`."""

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
    """Return the random generator of a resample."""
    digest = hashlib.sha256(f"{seed}\n{resample.scenario}\n{resample.size}\n{resample.number}".encode()).digest()
    return np.random.default_rng(int.from_bytes(digest))


def compared(resample: Resample, pools: Pools, options: DriftOptions, seed: int, reference: int = MAX_TEXTS) -> Result:
    """Draw and compare; return the results as a JSON object.

    Raises:
        BenchError: if there are too few texts.
    """
    rng = rng_of(resample, seed)
    scenario = next(each for each in SCENARIOS if each.name == resample.scenario)
    drawn = scenario.draw(pools, reference, resample.size, rng)
    before = pools[FILMS].features.take(drawn.reference)
    latest = pools[drawn.source].features.take(drawn.window)
    results = compare(before, latest, options, rng, class_count=before.logits.shape[1], clock=time.perf_counter)
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
            for family in results.families
        },
    }


def comparer(
    caches: Mapping[str, Path], options: DriftOptions, seed: int, reference: int
) -> Callable[[Resample], Result]:
    """Return a function that compares resamples of cached texts, for the processes of bench.drift.resamples."""
    texts = {source: read_scored(cache) for source, cache in caches.items()}
    pools = pools_of(texts, projection_of(texts[TRAINED].pooled))
    return functools.partial(compared, pools=pools, options=options, seed=seed, reference=reference)


def pools_of(texts: Mapping[str, ScoredTexts], projection: Projection | None) -> dict[str, Pool]:
    """Return a pool for each source, with pooled outputs projected like those of a version."""
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
