"""Decisions of the gate and the cascade that were wrong by chance or by sum: how often, by the old and the new rules.

Each simulation draws from one seed and applies both rules to the same draws. The old rules are the functions `old_*`.
"""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

from bench.reports import write_json
from textclf.cli.commands import Command
from textclf.errors import TooFewTextsError
from textclf.retraining.best_version import best_in_log
from textclf.retraining.preflight import check_holdout
from textclf.retraining_options import CombineOptions, GateOptions
from textclf.stats.calibration import expected_calibration_error, softmax
from textclf.stats.calibration_loss import calibration_losses, mean_bounds
from textclf.stats.cascade_fit import fit_cascade
from textclf.stats.cascade_objective import Objective
from textclf.stats.cascade_rules import StageOutputs, exits, final_logits
from textclf.stats.gate import PairedPredictions, decide_promotion
from textclf.stats.holm import holm
from textclf.stats.paired_accuracy import gains_for_margin, is_within_margin, mcnemar_p, tango_lower_bound

OPTIONS = GateOptions()
OLD_CALIBRATION_MARGIN = 0.02
Result = dict[str, Any]
Floats = NDArray[np.floating[Any]]
Labels = NDArray[np.integer[Any]]


def two_models(
    random: np.random.Generator, n: int, classes: int = 4, noise: float = 0.7
) -> tuple[Labels, Floats, Floats]:
    """Labels and the logits of two equally good, calibrated models that share most of their evidence."""
    labels = random.integers(0, classes, n)
    shared = random.normal(0, noise * math.sqrt(0.8), (n, classes))

    def logits() -> Floats:
        own = random.normal(0, noise * math.sqrt(0.2), (n, classes))
        return np.asarray((np.eye(classes)[labels] + shared + own) / noise**2)

    return labels, logits(), logits()


def old_calibration_rejects(champion: Floats, challenger: Floats, labels: Labels) -> bool:
    """The rise of the calibration error, without its chance."""
    before, after = (expected_calibration_error(table, labels) for table in (champion, challenger))
    return after - before > OLD_CALIBRATION_MARGIN


def new_calibration_rejects(champion: Floats, challenger: Floats, labels: Labels) -> bool:
    """The confidence bound of the rise of the calibration loss."""
    rise = calibration_losses(challenger, labels) - calibration_losses(champion, labels)
    return mean_bounds(rise, OPTIONS.alpha).lower > OPTIONS.calibration_margin**2


def calibration(repetitions: int) -> dict[str, Result]:
    """Share of challengers rejected for their calibration: equal to the champion, or with a wrong temperature."""
    rules = {"before": old_calibration_rejects, "after": new_calibration_rejects}
    rejected: dict[str, Result] = {name: {} for name in rules}
    for texts in (500, 2000):
        for temperature in (1.0, 2.0, 0.5):
            random, counts = np.random.default_rng(0), dict.fromkeys(rules, 0)
            for _ in range(repetitions):
                labels, one, other = two_models(random, texts)
                tables = softmax(one), softmax(other, temperature)
                for name, rule in rules.items():
                    counts[name] += rule(*tables, labels)
            for name in rules:
                rejected[name][f"{texts} texts, temperature {temperature:g}"] = counts[name] / repetitions
    return rejected


def old_gate_rejects(test_set: PairedPredictions, holdout: PairedPredictions, decision_slices: list[Result]) -> bool:
    """The holdout is tested at the whole level next to the slices, and the calibration without its chance."""
    right = holdout.champion_is_right, holdout.challenger_is_right
    losses, gains = int((right[0] & ~right[1]).sum()), int((~right[0] & right[1]).sum())
    adjusted = holm([mcnemar_p(result["losses"], result["gains"]) for result in decision_slices])
    return bool(
        mcnemar_p(losses, gains) < OPTIONS.alpha
        or (adjusted < OPTIONS.alpha).any()
        or old_calibration_rejects(test_set.champion_probabilities, test_set.challenger_probabilities, test_set.labels)
    )


def whole_gate(repetitions: int) -> dict[str, Result]:
    """Share of equal challengers that the gate rejects: several tests together."""
    random, counts = np.random.default_rng(1), {"before": 0, "after": 0}

    def pairs(n: int) -> PairedPredictions:
        labels, one, other = two_models(random, n)
        before, after = softmax(one), softmax(other)
        predicted = before.argmax(axis=1), after.argmax(axis=1)
        return PairedPredictions(labels, before, after, *predicted, random.integers(5, 100, n))

    for _ in range(repetitions):
        test_set, holdout = pairs(2400), pairs(600)
        decision = decide_promotion(test_set, holdout, OPTIONS)
        counts["before"] += old_gate_rejects(test_set, holdout, decision.figures["slices"])
        counts["after"] += decision.verdict == "reject"
    return {name: {"equal models rejected": count / repetitions} for name, count in counts.items()}


def smallest_test_set() -> dict[str, Result]:
    """The number of test texts from which a promotion is possible, with one gain and without any."""
    margin, alpha = OPTIONS.margin, OPTIONS.alpha
    names = {1: "one gain and no loss", 0: "no prediction differs"}
    return {
        "before": dict.fromkeys(names.values(), 268),
        "after": {
            name: next(n for n in range(1, 500) if gains_for_margin(n, margin, alpha) == gains)
            for gains, name in names.items()
        },
        "by the exact decision": {
            name: next(n for n in range(2, 500) if tango_lower_bound(0, gains, n, alpha) >= -margin)
            for gains, name in names.items()
        },
    }


def wasted_trainings(repetitions: int) -> dict[str, Result]:
    """Trainings that could not be decided before the first that can, if 200 labels arrive between two retrainings."""
    random, wasted = np.random.default_rng(2), {"before": 0, "after": 0}
    for _ in range(repetitions):
        held_out = 0
        while held_out < OPTIONS.min_holdout:
            held_out += int(random.binomial(200, CombineOptions().holdout_share))
            if held_out >= OPTIONS.min_holdout:
                break
            wasted["before"] += 1
            try:
                check_holdout(held_out, OPTIONS, CombineOptions())
            except TooFewTextsError:
                continue
            wasted["after"] += 1
    return {name: {"trainings without a decision": count / repetitions} for name, count in wasted.items()}


def step(random: np.random.Generator, is_right: NDArray[np.bool_], change: float) -> NDArray[np.bool_]:
    """Which texts the next version has right: 3% of all texts change, and accuracy changes by `change`."""
    share = is_right.mean()
    lost, won = (0.03 - change) / 2 / share, (0.03 + change) / 2 / (1 - share)
    chance = random.random(len(is_right))
    return np.asarray(np.where(is_right, chance >= lost, chance < won))


def retrainings(repetitions: int, texts: int = 25_000, steps: int = 10) -> dict[str, Result]:
    """Ten challengers, each half a point worse than the champion; then one half a point better than the best."""
    results = {}
    for name, compares in (("before", False), ("after", True)):
        random, lost, all_passed, better_passed = np.random.default_rng(3), [], 0, 0
        for _ in range(repetitions):
            versions = {"v0": random.random(texts) < 0.9}
            entries: list[Result] = []
            champion = "v0"

            def passes(right: NDArray[np.bool_], reference: str, versions: Result = versions) -> tuple[bool, float]:
                before = versions[reference]
                losses, gains = int((before & ~right).sum()), int((~before & right).sum())
                within = bool(is_within_margin(losses, gains, texts, OPTIONS.margin, OPTIONS.alpha))
                return within, tango_lower_bound(losses, gains, texts, OPTIONS.alpha)

            for number in range(steps):
                right, best = step(random, versions[champion], -0.005), best_in_log(entries, champion)
                if passes(right, champion)[0] and (not compares or passes(right, best)[0]):
                    figures = {"best": {"lower_bound": passes(right, best)[1]}}
                    challenger = f"v{number + 1}"
                    versions[challenger] = right
                    entries.append(
                        {
                            "action": "promote",
                            "champion": champion,
                            "challenger": challenger,
                            "data": {"best": best},
                            "gate": {"figures": figures},
                        }
                    )
                    champion = challenger
            lost.append(float(versions["v0"].mean() - versions[champion].mean()))
            all_passed += len(entries) == steps
            best = best_in_log(entries, champion)
            better = step(random, versions[best], 0.005)
            better_passed += passes(better, champion)[0] and (not compares or passes(better, best)[0])
        results[name] = {
            "all ten promoted": all_passed / repetitions,
            "lost more than 4 points": float(np.mean(np.array(lost) > 0.04)),
            "mean loss": float(np.mean(lost)),
            "a better one promoted": better_passed / repetitions,
        }
    return results


def rare_class(random: np.random.Generator, n: int) -> tuple[StageOutputs, Labels]:
    """One text in fifty is rare; the encoder finds it, and the linear stage is sure of the frequent class."""
    labels = (random.random(n) < 0.02).astype(np.int64)
    margins = np.where(labels == 1, random.normal(1.5, 2.5, n), random.normal(6, 2, n))
    said = np.where(random.random(n) < 0.998, labels, 1 - labels)
    encoder = np.eye(2)[said] * math.log(0.998 / 0.002)
    return StageOutputs(encoder, np.stack([margins, np.zeros(n)], axis=1), 1.0), labels


def cascade(repetitions: int) -> dict[str, Result]:
    """Macro F1 that early exits lose on new texts, if the training selected macro F1."""
    results = {}
    for name, objective in (("before", Objective()), ("after", Objective("macro_f1"))):
        random, lost, shares = np.random.default_rng(4), [], []
        for _ in range(repetitions):
            settings = fit_cascade(*rare_class(random, 20_000), objective=objective).settings
            outputs, labels = rare_class(random, 20_000)
            if settings is not None:
                is_exit = exits(settings, outputs.linear_logits)
                both = [final_logits(settings, outputs, rows) for rows in (np.zeros_like(is_exit), is_exit)]
                before, after = (Objective("macro_f1").values(logits, np.eye(2)[labels])[1] for logits in both)
                lost.append(before - after)
                shares.append(is_exit.mean())
        results[name] = {"macro F1 lost": float(np.mean(lost)), "early exits": float(np.mean(shares))}
    return results


def simulations(repetitions: int) -> dict[str, Callable[[], dict[str, Result]]]:
    """Simulations by name; each returns results of the rules before and after."""
    return {
        "calibration": lambda: calibration(repetitions),
        "whole_gate": lambda: whole_gate(repetitions),
        "smallest_test_set": smallest_test_set,
        "wasted_trainings": lambda: wasted_trainings(10 * repetitions),
        "retrainings": lambda: retrainings(repetitions),
        "cascade": lambda: cascade(max(repetitions // 50, 1)),
    }


@click.command(cls=Command)
@click.option("--repetitions", default=400, help="Repetitions of each simulation.", show_default=True)
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Also write the results here.")
def main(repetitions: int, json_path: Path | None) -> None:
    """Compare the rules before and after on the same draws."""
    results = {}
    for name, simulate in simulations(repetitions).items():
        results[name] = simulate()
        click.echo(f"{name}: {json.dumps(results[name], indent=1)}")
    if json_path is not None:
        write_json(json_path, results)


if __name__ == "__main__":
    main()
