"""Plot of the drift benchmark: power by the size of the window, and false alarms with their bound."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure

from bench.drift.scenarios import FALSE_ALARMS, POWER, Scenario
from bench.drift.tables import (
    ALPHAS,
    STRICT_ALPHA,
    Rate,
    Results,
    is_alarm,
    is_significant,
    max_by_chance,
    rates,
)
from textclf.files import atomic_file


def write_plot(results: Results, scenarios: Sequence[Scenario], path: Path) -> None:
    """Write the plot as a PNG; a part without resamples stays empty."""
    figure = Figure(figsize=(15, 5), layout="constrained")
    FigureCanvasAgg(figure)
    power, *false_alarms = figure.subplots(1, 1 + len(ALPHAS))
    _draw_power(power, results, [each for each in scenarios if each.part == POWER])
    for axis, alpha in zip(false_alarms, ALPHAS, strict=True):
        _draw_false_alarms(axis, results, [each for each in scenarios if each.part == FALSE_ALARMS], alpha)
    with atomic_file(path, "wb") as file:
        figure.savefig(file, format="png", dpi=150)


def _draw_power(axis: Axes, results: Results, scenarios: Sequence[Scenario]) -> None:
    sizes: set[int] = set()
    for scenario in scenarios:
        found = rates(results, scenario, partial(is_alarm, alpha=STRICT_ALPHA))
        if not found:
            continue
        sizes |= set(found)
        lines = _draw_rates(axis, found, scenario.name)
        required = {size: scenario.required[size] for size in found if size in scenario.required}
        axis.plot(list(required), list(required.values()), "_", color=lines[0].get_color(), markersize=14)
    axis.set(title=f"Power, alpha {STRICT_ALPHA:g} with floors (dashes: required)", ylim=(0, 1.03))
    _finish(axis, "share of windows that alarm", sizes)


def _draw_false_alarms(axis: Axes, results: Results, scenarios: Sequence[Scenario], alpha: float) -> None:
    sizes: set[int] = set()
    for scenario in scenarios:
        significant = rates(results, scenario, partial(is_significant, alpha=alpha))
        if not significant:
            continue
        sizes |= set(significant)
        _draw_rates(axis, significant, "significant, before the floors")
        _draw_rates(axis, rates(results, scenario, partial(is_alarm, alpha=alpha)), "alarms")
        bounds = [max_by_chance(alpha, rate.total) for rate in significant.values()]
        axis.plot(list(significant), bounds, "k--", label="95% quantile of a binomial rate of alpha")
    axis.axhline(alpha, color="grey", linewidth=0.8)
    axis.set(title=f"No drift, alpha {alpha:g}")
    axis.set_ylim(bottom=0)
    _finish(axis, "share of windows", sizes)


def _draw_rates(axis: Axes, found: dict[int, Rate], label: str) -> ErrorbarContainer:
    values = [rate.value for rate in found.values()]
    below = [max(0.0, rate.value - rate.interval[0]) for rate in found.values()]
    above = [max(0.0, rate.interval[1] - rate.value) for rate in found.values()]
    return axis.errorbar(list(found), values, yerr=[below, above], marker="o", capsize=3, label=label)


def _finish(axis: Axes, what: str, sizes: set[int]) -> None:
    axis.set(xscale="log", xlabel="texts in the window", ylabel=f"{what} (95% intervals)")
    if sizes:
        axis.set_xticks(sorted(sizes), labels=[f"{size:,}" for size in sorted(sizes)])
        axis.minorticks_off()
        axis.legend(fontsize=8)
