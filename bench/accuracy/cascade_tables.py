"""Tables of the results of bench/accuracy/cascade.py."""

from collections.abc import Mapping

from bench.accuracy.cascade_variants import CASCADE, COMBINATION, ENCODER, LINEAR
from bench.arithmetic import markdown_table
from bench.retraining.runs import points
from bench.steps import Result


def sets_table(results: Mapping[str, Result]) -> str:
    """Return accuracy, a row per set; differences from the encoder alone in points, with 95% intervals."""
    header = ["set", "texts", "exit", *(_TITLES[name] for name in (ENCODER, LINEAR, COMBINATION, CASCADE))]
    compared = (COMBINATION, CASCADE)
    rows = [
        [
            name,
            f"{found['texts']:,}",
            f"{found['exit_share']:.1%}",
            *(f"{found['accuracy'][column]:.2%}" for column in (ENCODER, LINEAR, COMBINATION, CASCADE)),
            *(_interval(found["differences"][column]) for column in compared),
        ]
        for name, found in results.items()
    ]
    return markdown_table([*header, *(f"{_TITLES[name]} - encoder" for name in compared)], rows)


def exits_table(results: Mapping[str, Result]) -> str:
    """Return accuracy on the texts that the linear stage predicts, a row per set."""
    rows = [
        [name, *(_share(found["accuracy_on_exits"][stage]) for stage in (LINEAR, ENCODER))]
        for name, found in results.items()
    ]
    return markdown_table(["on the texts that exit", "linear stage", "encoder"], rows)


def calibration_table(results: Mapping[str, Result]) -> str:
    """Return expected calibration errors, a row per set."""
    columns = {
        ENCODER: "encoder alone",
        CASCADE: "cascade",
        "linear_stage": "texts that exit",
        "encoder_stage": "the others",
    }
    rows = []
    for name, found in results.items():
        errors = [found["expected_calibration_error"][column] for column in columns]
        rows.append([name, *("" if error is None else f"{error:.4f}" for error in errors)])
    return markdown_table(["expected calibration error", *columns.values()], rows)


def stuffing_table(results: Mapping[str, Result]) -> str:
    """Return the share of texts that each variant assigns to the wanted class, and that exit; a row per attack."""
    ways = (ENCODER, LINEAR, COMBINATION, CASCADE)
    rows = [
        [name, *(f"{found['fooled'][way]:.1%}" for way in ways), f"{found['exit_share']:.1%}"]
        for name, found in results.items()
    ]
    return markdown_table(["praise", *(_TITLES[way] for way in ways), "exit"], rows)


_TITLES = {
    ENCODER: "encoder",
    LINEAR: "linear",
    COMBINATION: "combination",
    CASCADE: "cascade",
}


def _interval(found: Result) -> str:
    return f"{points(found['difference'])} ({points(found['low'])} to {points(found['high'])})"


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.2%}"
