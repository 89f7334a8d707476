"""The request of an index: a pure function of seed, index and world."""

import itertools
import random
from collections.abc import Callable, Sequence

from bench.hardening.hostile.bodies import BODIES
from bench.hardening.hostile.framing import FRAMING
from bench.hardening.hostile.request import Hostile, Maker, World

KINDS: dict[Callable[[Maker], Hostile], float] = {**BODIES, **FRAMING}
_FUNCTIONS: Sequence[Callable[[Maker], Hostile]] = tuple(KINDS)
_SHARES = tuple(itertools.accumulate(KINDS.values()))


def request_of(seed: int, index: int, world: World) -> Hostile:
    """Return request `index` of a seed."""
    chance = random.Random((seed << 40) + index)  # noqa: S311
    (function,) = chance.choices(_FUNCTIONS, cum_weights=_SHARES)
    return function(Maker(world, chance, index, function.__name__))
