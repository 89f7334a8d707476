"""The time that rules add to the prediction of a short text, and its share of the prediction.

    python -m bench.serving.rules --model-path model --rules docs/examples/rules.toml

One process predicts the text with and without rules in turn, so that a busy machine slows both. A request also costs
HTTP, so its share is lower. The cascade is off: texts that the linear stage predicts take a tenth of the time.
"""

import itertools
import sys
import time
from pathlib import Path
from typing import Any

if not __package__:  # Run as a file: put the repository root on the path.
    sys.path[0] = str(Path(__file__).resolve().parents[2])

import click

from bench.arithmetic import spread
from bench.machine import describe_machine
from bench.reports import write_json
from inference import Inference
from textclf.cli.commands import Command

# About 16 wordpieces.
_TEXT = "A clever and very funny film, with a lovely ending for all."


def overhead(plain: Inference, ruled: Inference, text: str, rounds: int, pairs: int) -> dict[str, Any]:
    """Return the microseconds of a prediction without rules, those that rules add, and their share.

    Each round gives the medians of its pairs; the values are the median, lowest and highest of the rounds.
    """
    predictors = plain.predictor, ruled.predictor
    for predictor, _ in itertools.product(predictors, range(20)):
        predictor.predict([text])
    without, added, shares = [], [], []
    for _ in range(rounds):
        times: tuple[list[float], list[float]] = ([], [])
        for pair in range(pairs):
            for side in (0, 1) if pair % 2 else (1, 0):
                start = time.perf_counter()
                predictors[side].predict([text])
                times[side].append(1e6 * (time.perf_counter() - start))
        base = spread(times[0]).median
        difference = spread([with_rules - alone for alone, with_rules in zip(*times, strict=True)]).median
        without.append(base)
        added.append(difference)
        shares.append(difference / base)
    return {name: vars(spread(values)) for name, values in (("without", without), ("added", added), ("share", shares))}


@click.command(cls=Command)
@click.option("--model-path", default="model", help="A model store, or a version's folder.")
@click.option("--rules", required=True, type=click.Path(path_type=Path), help="File of rules.")
@click.option("--rounds", default=9, help="Number of rounds.")
@click.option("--pairs", default=200, help="Pairs of predictions in a round.")
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="File for the numbers.")
def main(model_path: str, rules: Path, rounds: int, pairs: int, json_path: Path | None) -> None:
    """Measure what rules cost a short text.

    \b
    Example:
      python bench/serving/rules.py --model-path model --rules docs/examples/rules.toml
    """
    click.echo(describe_machine())
    plain, ruled = (Inference(model_path, threads=1, cascade=False, rules=each) for each in (None, rules))
    found = overhead(plain, ruled, _TEXT, rounds, pairs)
    for name, unit, factor in (("without", "microseconds", 1), ("added", "microseconds", 1), ("share", "%", 100)):
        values = {key: factor * value for key, value in found[name].items()}
        click.echo(f"{name}: {values['median']:.2f} {unit} ({values['low']:.2f} to {values['high']:.2f})")
    if json_path is not None:
        write_json(json_path, found)


if __name__ == "__main__":
    main()
