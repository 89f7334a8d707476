"""The results of bench/accuracy/cascade.py as tables."""

from collections.abc import Mapping

from bench.accuracy.cascade_variants import CASCADE, COMBINATION, ENCODER, LINEAR
from bench.arithmetic import markdown_table
from bench.retraining.runs import points
from bench.steps import Figures


def sets_table(figures: Mapping[str, Figures]) -> str:
    """Accuracy, a row a set; differences from the encoder alone in points, with their 95 % interval."""
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
        for name, found in figures.items()
    ]
    return markdown_table([*header, *(f"{_TITLES[name]} - encoder" for name in compared)], rows)


def exits_table(figures: Mapping[str, Figures]) -> str:
    """Accuracy on the texts that the linear stage answers, a row a set."""
    rows = [
        [name, *(_share(found["accuracy_on_exits"][stage]) for stage in (LINEAR, ENCODER))]
        for name, found in figures.items()
    ]
    return markdown_table(["on the texts that exit", "linear stage", "encoder"], rows)


def calibration_table(figures: Mapping[str, Figures]) -> str:
    """Expected calibration errors, a row a set."""
    columns = {
        ENCODER: "encoder alone",
        CASCADE: "cascade",
        "linear_stage": "texts that exit",
        "encoder_stage": "the others",
    }
    rows = []
    for name, found in figures.items():
        errors = [found["expected_calibration_error"][column] for column in columns]
        rows.append([name, *("" if error is None else f"{error:.4f}" for error in errors)])
    return markdown_table(["expected calibration error", *columns.values()], rows)


def stuffing_table(figures: Mapping[str, Figures]) -> str:
    """How many texts each way calls what the attacker wants, and how many exit; a row an attack."""
    ways = (ENCODER, LINEAR, COMBINATION, CASCADE)
    rows = [
        [name, *(f"{found['fooled'][way]:.1%}" for way in ways), f"{found['exit_share']:.1%}"]
        for name, found in figures.items()
    ]
    return markdown_table(["praise", *(_TITLES[way] for way in ways), "exit"], rows)


_TITLES = {
    ENCODER: "encoder",
    LINEAR: "linear",
    COMBINATION: "combination",
    CASCADE: "cascade",
}


def _interval(found: Figures) -> str:
    return f"{points(found['difference'])} ({points(found['low'])} to {points(found['high'])})"


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.2%}"
