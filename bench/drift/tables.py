"""Rates of alarms over the resamples of the drift benchmark, their bounds, and tables of them."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

from scipy import stats

from bench.arithmetic import markdown_table
from bench.drift.resamples import Resample
from bench.drift.scenarios import CLASS_MIX, FALSE_ALARMS, POWER, Scenario

ALPHAS = (0.05, 0.01)
# Level for power.
STRICT_ALPHA = 0.01
MAX_CLASS_MIX_ALARMS = 0.02

Result = Mapping[str, Any]
Results = Mapping[Resample, Result]


class Rate(NamedTuple):
    """Rate of `hits` in `total`."""

    hits: int
    total: int

    @property
    def value(self) -> float:
        """Return the share; nan if `total` is 0."""
        return self.hits / self.total if self.total else float("nan")

    @property
    def interval(self) -> tuple[float, float]:
        """Return the 95% interval (Wilson, JASA 22, 1927)."""
        found = stats.binomtest(self.hits, self.total).proportion_ci(0.95, method="wilson")
        return float(found.low), float(found.high)


def is_significant(result: Result, alpha: float) -> bool:
    """Return whether any family is significant, after Holm and before the minimum effects."""
    return any(family["adjusted_p"] < alpha for family in result["families"].values())


def is_alarm(result: Result, alpha: float) -> bool:
    """Return whether a test is significant and its effect is above its minimum."""
    return any(family_alarms(family, alpha) for family in result["families"].values())


def family_alarms(family: Result, alpha: float) -> bool:
    """Return whether a test of the family raises an alarm."""
    return any(test["adjusted_p"] < alpha and test["effect"] > test["floor"] for test in family["tests"].values())


def max_by_chance(alpha: float, total: int) -> float:
    """Return the 95% quantile of the rate of alarms in `total` tests of true size `alpha` (binomial)."""
    return float(stats.binom.ppf(0.95, total, alpha)) / total


def rates(results: Results, scenario: Scenario, holds: Callable[[Result], bool]) -> dict[int, Rate]:
    """Return how often `holds` is true, by the size of the window, for sizes that have resamples."""
    found = {}
    for size in scenario.resamples:
        result = [each for key, each in results.items() if key.scenario == scenario.name and key.size == size]
        if result:
            found[size] = Rate(sum(map(holds, result)), len(result))
    return found


def false_alarm_table(results: Results, scenarios: Sequence[Scenario]) -> str:
    """Return a table of false alarms, with the 95% quantile of their rate."""
    rows = []
    for scenario in _of(scenarios, FALSE_ALARMS):
        for alpha in ALPHAS:
            alarms = rates(results, scenario, partial(is_alarm, alpha=alpha))
            significant = rates(results, scenario, partial(is_significant, alpha=alpha))
            for size, rate in alarms.items():
                max_rate = max_by_chance(alpha, rate.total)
                within = max(rate.value, significant[size].value) <= max_rate
                cells = [f"{size:,}", f"{rate.total:,}", f"{alpha:g}", _share(rate), _share(significant[size])]
                rows.append([*cells, f"{max_rate:.4f}", _yes(within)])
    header = [
        "texts in the window",
        "resamples",
        "alpha",
        "alarms",
        "significant before the floors",
        "at most",
        "holds",
    ]
    return markdown_table(header, rows)


def family_table(results: Results, scenarios: Sequence[Scenario], holds: Callable[[Result], bool]) -> str:
    """Return a table of how often `holds` is true of each family."""
    families = list(dict.fromkeys(name for result in results.values() for name in result["families"]))
    rows = []
    for scenario in scenarios:
        by_family = {
            name: rates(results, scenario, partial(_family_holds, name=name, holds=holds)) for name in families
        }
        for size in scenario.resamples:
            if families and size in by_family[families[0]]:
                cells = [f"{by_family[name][size].value:.3f}" for name in families]
                rows.append([f"{scenario.name}, {size:,}", *cells])
    return markdown_table(["", *families], rows)


def power_table(results: Results, scenarios: Sequence[Scenario]) -> str:
    """Return a table of the rates of alarms, each with the required rate."""
    chosen = _of(scenarios, POWER)
    found = {each.name: rates(results, each, partial(is_alarm, alpha=STRICT_ALPHA)) for each in chosen}
    sizes = sorted({size for by_size in found.values() for size in by_size})
    rows = []
    for scenario in chosen:
        cells, holds = [], []
        for size in sizes:
            rate, required = found[scenario.name].get(size), scenario.required.get(size, 0.0)
            cells.append("" if rate is None else f"{rate.value:.3f} of {required:g}")
            holds.append(rate is None or rate.value >= required)
        rows.append([scenario.name, *cells, _yes(all(holds))])
    return markdown_table(["", *(f"{size:,} texts" for size in sizes), "holds"], rows)


def class_mix_table(results: Results, scenarios: Sequence[Scenario]) -> str:
    """Return a table for a negligible shift in a large sample: it may be significant, but should not raise an alarm."""
    rows = []
    for scenario in _of(scenarios, CLASS_MIX):
        for alpha in ALPHAS:
            alarms = rates(results, scenario, partial(is_alarm, alpha=alpha))
            significant = rates(results, scenario, partial(is_significant, alpha=alpha))
            for size, rate in alarms.items():
                # Every alarm is significant; the other significant results are negligible.
                negligible = Rate(significant[size].hits - rate.hits, significant[size].hits)
                cells = [scenario.name, f"{size:,}", f"{rate.total:,}", f"{alpha:g}", _share(rate)]
                share = f"{negligible.hits} of {negligible.total}"
                rows.append([*cells, _share(significant[size]), share, _yes(rate.value <= MAX_CLASS_MIX_ALARMS)])
    header = ["", "texts", "resamples", "alpha", "alarms", "significant", "of these negligible", "alarms <= 2%"]
    return markdown_table(header, rows)


def _family_holds(result: Result, name: str, holds: Callable[[Result], bool]) -> bool:
    return name in result["families"] and holds(result["families"][name])


def _of(scenarios: Sequence[Scenario], part: str) -> list[Scenario]:
    return [scenario for scenario in scenarios if scenario.part == part]


def _share(rate: Rate) -> str:
    return f"{rate.value:.4f}"


def _yes(holds: bool) -> str:
    return "yes" if holds else "NO"
