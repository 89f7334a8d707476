"""What the resamples of the drift benchmark come to: rates, their bounds, and tables of them."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

from scipy import stats

from bench.arithmetic import markdown_table
from bench.drift.resamples import Resample
from bench.drift.scenarios import CLASS_MIX, FALSE_ALARMS, POWER, Scenario

ALPHAS = (0.05, 0.01)
# Power is measured at this one.
STRICT_ALPHA = 0.01
MAX_CLASS_MIX_ALARMS = 0.02

Figures = Mapping[str, Any]
Results = Mapping[Resample, Figures]


class Rate(NamedTuple):
    """`hits` of `total`."""

    hits: int
    total: int

    @property
    def value(self) -> float:
        """As a share; nan of none."""
        return self.hits / self.total if self.total else float("nan")

    @property
    def interval(self) -> tuple[float, float]:
        """95 % of it (Wilson, JASA 22, 1927)."""
        found = stats.binomtest(self.hits, self.total).proportion_ci(0.95, method="wilson")
        return float(found.low), float(found.high)


def is_significant(figures: Figures, alpha: float) -> bool:
    """Whether any family is, after Holm and before the floors."""
    return any(family["adjusted_p"] < alpha for family in figures["families"].values())


def is_alarm(figures: Figures, alpha: float) -> bool:
    """Whether a test is significant and its effect above its floor."""
    return any(family_alarms(family, alpha) for family in figures["families"].values())


def family_alarms(family: Figures, alpha: float) -> bool:
    """Whether one of its tests alarms."""
    return any(test["adjusted_p"] < alpha and test["effect"] > test["floor"] for test in family["tests"].values())


def max_by_chance(alpha: float, total: int) -> float:
    """The 95 % quantile of the rate of alarms in `total` tests of true size `alpha` (binomial)."""
    return float(stats.binom.ppf(0.95, total, alpha)) / total


def rates(results: Results, scenario: Scenario, holds: Callable[[Figures], bool]) -> dict[int, Rate]:
    """How often it holds, by the size of the window, for the sizes that there are resamples of."""
    found = {}
    for size in scenario.resamples:
        figures = [each for key, each in results.items() if key.scenario == scenario.name and key.size == size]
        if figures:
            found[size] = Rate(sum(map(holds, figures)), len(figures))
    return found


def false_alarm_table(results: Results, scenarios: Sequence[Scenario]) -> str:
    """Alarms where nothing has changed, beside the most that chance explains."""
    rows = []
    for scenario in _of(scenarios, FALSE_ALARMS):
        for alpha in ALPHAS:
            alarms = rates(results, scenario, partial(is_alarm, alpha=alpha))
            significant = rates(results, scenario, partial(is_significant, alpha=alpha))
            for size, rate in alarms.items():
                most = max_by_chance(alpha, rate.total)
                within = max(rate.value, significant[size].value) <= most
                cells = [f"{size:,}", f"{rate.total:,}", f"{alpha:g}", _share(rate), _share(significant[size])]
                rows.append([*cells, f"{most:.4f}", _yes(within)])
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


def family_table(results: Results, scenarios: Sequence[Scenario], holds: Callable[[Figures], bool]) -> str:
    """How often it holds of each family."""
    families = list(dict.fromkeys(name for figures in results.values() for name in figures["families"]))
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
    """Rates of alarms, each beside what it must reach."""
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
    """A shift too small to matter in a large sample: it should be called negligible wherever it is significant."""
    rows = []
    for scenario in _of(scenarios, CLASS_MIX):
        for alpha in ALPHAS:
            alarms = rates(results, scenario, partial(is_alarm, alpha=alpha))
            significant = rates(results, scenario, partial(is_significant, alpha=alpha))
            for size, rate in alarms.items():
                # An alarm is significant, so that the others of these are the negligible ones.
                negligible = Rate(significant[size].hits - rate.hits, significant[size].hits)
                cells = [scenario.name, f"{size:,}", f"{rate.total:,}", f"{alpha:g}", _share(rate)]
                share = f"{negligible.hits} of {negligible.total}"
                rows.append([*cells, _share(significant[size]), share, _yes(rate.value <= MAX_CLASS_MIX_ALARMS)])
    header = ["", "texts", "resamples", "alpha", "alarms", "significant", "of these negligible", "alarms <= 2 %"]
    return markdown_table(header, rows)


def _family_holds(figures: Figures, name: str, holds: Callable[[Figures], bool]) -> bool:
    return name in figures["families"] and holds(figures["families"][name])


def _of(scenarios: Sequence[Scenario], part: str) -> list[Scenario]:
    return [scenario for scenario in scenarios if scenario.part == part]


def _share(rate: Rate) -> str:
    return f"{rate.value:.4f}"


def _yes(holds: bool) -> str:
    return "yes" if holds else "NO"
