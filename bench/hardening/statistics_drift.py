"""Simulations of drift decisions: labels of no class, a CUSUM over many windows, intervals of class shares.

    python -m bench.hardening.statistics_drift --json statistics_drift.json

Each rule runs next to the rule that it replaced, on the same draws. The old rules are the reference functions below.
"""

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

from bench.hardening.target import report
from textclf.cli.commands import Command
from textclf.drift.audit_run import AuditRun
from textclf.stats.drift_tests.error_cusum import cusum_against, in_control_heights
from textclf.stats.drift_tests.error_rate_drift import AuditEvidence, error_rate_test, label_counts
from textclf.stats.drift_tests.label_shift import bbse_prior

HELD_OUT_ERRORS, HELD_OUT_TEXTS = 80, 1000
START = AuditRun(HELD_OUT_ERRORS, HELD_OUT_TEXTS, shift=0.1)
MIN_RISE, SIMULATIONS = 0.05, 1999
# The default alpha, for one of two tests in the family, after Holm's correction over all seven families.
LEVEL = 0.01 / 2 / 7


def unknown_labels(rng: np.random.Generator, runs: int) -> dict[str, Any]:
    """Audits of 200 texts, 40% of a class that the model does not have; it errs on 17.5% of the others."""
    rates: dict[str, list[float]] = {"true": [], "before": [], "after": []}
    for _ in range(runs):
        is_other, is_wrong = rng.random(200) < 0.4, rng.random(200) < 0.175
        predicted = np.zeros(200, np.int64)
        labels = np.where(is_other, -2, is_wrong.astype(np.int64))
        for name, used in (("before", ~is_other), ("after", np.ones(200, bool))):
            count = int(used.sum())
            times, everything = np.arange(count, dtype=np.float64), np.ones(count, bool)
            counts = label_counts(
                AuditEvidence(labels[used], predicted[used], times, everything, HELD_OUT_ERRORS, HELD_OUT_TEXTS)
            )
            rates[name].append(counts.audit_errors / counts.audit_texts)
        rates["true"].append(float((is_other | is_wrong).mean()))
    return {f"error_rate_{name}": round(float(np.mean(values)), 4) for name, values in rates.items()}


@functools.lru_cache(maxsize=256)
def _start_heights(audits: int) -> NDArray[np.float64]:
    """Simulated statistics of a first window."""
    return in_control_heights(START, audits, SIMULATIONS, np.random.default_rng(audits))


def _tests(is_wrong: NDArray[np.bool_], *, continues: bool, rng: np.random.Generator) -> NDArray[np.float64]:
    """For each window [windows, audits] the p of the CUSUM, and 1 if the family of errors alarms, else 0.

    `continues` is the new rule.
    """
    run, results = START, []
    for window in is_wrong:
        heights = in_control_heights(run, len(window), SIMULATIONS, rng) if run.audits else _start_heights(len(window))
        over_time = cusum_against(heights, window, run)
        rate = error_rate_test(window, HELD_OUT_ERRORS, HELD_OUT_TEXTS)
        is_alarm = any(test.p < LEVEL and test.rise > MIN_RISE for test in (over_time, rate))
        results.append((over_time.p, float(is_alarm)))
        run = over_time.run if continues else START
    return np.array(results)


def rise(rng: np.random.Generator, runs: int, quiet: int, risen: int, audits: int, errors: float) -> dict[str, Any]:
    """`quiet` windows with 8% errors, then `risen` windows with more; how many of these alarm?"""
    found: dict[str, list[NDArray[np.bool_]]] = {"before": [], "after": []}
    together = 0
    for _ in range(runs):
        rates = np.repeat([0.08, errors], [quiet, risen])
        is_wrong = rng.random((quiet + risen, audits)) < rates[:, None]
        for name, alarms in found.items():
            alarms.append(_tests(is_wrong, continues=name == "after", rng=rng)[quiet:, 1] > 0)
        together += bool(_tests(is_wrong[quiet:].reshape(1, -1), continues=False, rng=rng)[0, 1])
    results: dict[str, Any] = {"all_audits_in_one_window": together / runs}
    for name, alarms in found.items():
        results[f"windows_{name}"] = round(float(np.mean(alarms)), 4)
        results[f"series_{name}"] = round(float(np.mean([each.any() for each in alarms])), 4)
        results[f"two_of_three_{name}"] = round(float(np.mean([_calls(each) > 0 for each in alarms])), 4)
    return results


def no_change(rng: np.random.Generator, runs: int, windows: int, audits: int) -> dict[str, Any]:
    """A year without a change; the true rate is one that the reference leaves open."""
    found: dict[str, list[NDArray[np.float64]]] = {"before": [], "after": []}
    for rate in rng.beta(HELD_OUT_ERRORS + 0.5, HELD_OUT_TEXTS - HELD_OUT_ERRORS + 0.5, size=runs):
        is_wrong = rng.random((windows, audits)) < rate
        for name, tests in found.items():
            tests.append(_tests(is_wrong, continues=name == "after", rng=rng))
    results: dict[str, Any] = {}
    for name, tests in found.items():
        p_values, flags = np.array(tests)[:, :, 0], np.array(tests)[:, :, 1] > 0
        begins = flags & ~np.pad(flags, ((0, 0), (1, 0)))[:, :-1]
        results[f"cusum_p_up_to_1%_{name}"] = float(f"{(p_values <= 0.01).mean():.2g}")
        results[f"cusum_p_up_to_5%_{name}"] = float(f"{(p_values <= 0.05).mean():.2g}")
        results[f"alarms_per_window_{name}"] = float(f"{flags.mean():.2g}")
        results[f"alarms_a_year_{name}"] = round(float(begins.sum() / runs), 3)
        results[f"two_of_three_a_year_{name}"] = round(sum(map(_calls, flags)) / runs, 3)
    return results


def _calls(alarms: NDArray[np.bool_]) -> int:
    """How often two of the last three windows begin to alarm."""
    calls = np.convolve(alarms, np.ones(3))[: len(alarms)] >= 2
    return int(np.sum(calls[1:] & ~calls[:-1]) + calls[0])


def class_shares(
    rng: np.random.Generator, runs: int, accuracy: float, held_out: int, latest: int, true_prior: Sequence[float]
) -> dict[str, Any]:
    """Coverage and width of the interval, for a reference with equal classes and errors spread evenly."""
    prior, classes = np.array(true_prior), len(true_prior)
    covered, widths, errors = [], [], []
    for _ in range(runs):
        labels, new = rng.integers(0, classes, held_out), rng.choice(classes, latest, p=prior)
        predicted, of_new = (
            np.where(rng.random(len(ids)) < accuracy, ids, (ids + rng.integers(1, classes, len(ids))) % classes)
            for ids in (labels, new)
        )
        found = bbse_prior(labels, predicted, of_new, classes)
        if found.latest is not None:
            low, high = np.array(found.latest_low), np.array(found.latest_high)
            covered.append((low <= prior) & (prior <= high))
            widths.append(high - low)
            errors.append(np.abs(np.array(found.latest) - prior))
    return {
        "estimated": len(covered) / runs,
        "mean_error_of_the_estimate": round(float(np.mean(errors)), 4),
        "coverage": round(float(np.mean(covered)), 4),
        "width": round(float(np.mean(widths)), 4),
    }


@click.command(cls=Command)
@click.option("--runs", default=300, help="Simulated series of each scenario.", show_default=True)
@click.option("--seed", default=16, help="Random seed.", show_default=True)
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write the results to this file.")
def main(runs: int, seed: int, json_path: Path | None) -> None:
    """Compare the rules of drift decisions with those that they replaced, on the same draws."""
    scenarios: dict[str, Callable[[np.random.Generator], dict[str, Any]]] = {
        "40% of the audits are of an unknown class": lambda rng: unknown_labels(rng, runs),
    }
    for quiet, errors in ((0, 0.16), (20, 0.16), (20, 0.12)):
        scenarios[f"12 windows of 50 audits at {errors:.0%} errors after {quiet} at 8%"] = functools.partial(
            rise, runs=runs, quiet=quiet, risen=12, audits=50, errors=errors
        )
    scenarios["a year of weekly windows of 50 audits without a change"] = functools.partial(
        no_change, runs=runs, windows=52, audits=50
    )
    for accuracy, held_out, latest, prior in (
        (0.85, 1000, 300, (0.5, 0.5)),
        (0.85, 1000, 300, (0.8, 0.2)),
        (0.85, 200, 100, (0.97, 0.03)),
        (0.97, 1000, 3000, (0.8, 0.2)),
        (0.8, 200, 100, (0.55, 0.15, 0.15, 0.15)),
        (0.8, 1000, 3000, (0.25, 0.25, 0.25, 0.25)),
        (0.95, 1000, 3000, (0.97, 0.01, 0.01, 0.01)),
    ):
        name = f"shares {prior}, accuracy {accuracy}, {held_out} held-out and {latest} latest texts"
        scenarios[name] = functools.partial(
            class_shares, runs=5 * runs, accuracy=accuracy, held_out=held_out, latest=latest, true_prior=prior
        )
    results = {name: run(np.random.default_rng([seed, at])) for at, (name, run) in enumerate(scenarios.items())}
    report({"simulation": "statistics_drift", "runs": runs, "seed": seed, **results}, json_path)


if __name__ == "__main__":
    main()
