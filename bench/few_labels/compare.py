"""Few labels per class: this project's recipe next to a probe, TF-IDF, plain fine-tuning and SetFit.

Each sample has the same number of texts of each class. All methods learn from the same samples and are measured on the
same test texts. Each result is a line of --results; a repeated run skips what is there.

    python bench/few_labels/compare.py --data-dir DATA --results few-labels.jsonl

DATA contains the sets of bench.few_labels.samples. See bench/README.md.
"""

import json
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

if not __package__:  # Run as a file: put the repository root on the path.
    sys.path[0] = str(Path(__file__).resolve().parents[2])

import click
import numpy as np
from sklearn.metrics import log_loss

from bench.few_labels.methods import METHODS, Answer, Bench, Problem
from bench.few_labels.report import Line, advantage_table, figures_table, sets_table
from bench.few_labels.samples import SETS, Task, read_task
from bench.machine import describe_machine
from bench.reports import chosen_names
from textclf.cli.commands import Command
from textclf.encoder_handles import EMBEDDED_ENCODER
from textclf.stats.calibration import expected_calibration_error

SIZES = (8, 16, 32, 64, 128)


def figures_of(answer: Answer, task: Task) -> dict[str, float]:
    """Return accuracy, log loss, calibration error and seconds."""
    truth = task.tested.labels
    return {
        "accuracy": float(np.mean(answer.probabilities.argmax(axis=1) == truth)),
        "log_loss": float(log_loss(truth, answer.probabilities, labels=range(len(task.class_names)))),
        "ece": expected_calibration_error(answer.probabilities, truth),
        "seconds": answer.seconds,
    }


def read_lines(path: Path) -> list[Line]:
    """Read the results so far; a last line that a killed run left incomplete is not one."""
    if not path.exists():
        return []
    complete = path.read_text(encoding="utf-8").rpartition("\n")[0]
    return [json.loads(line) for line in complete.splitlines()]


def planned(sizes: tuple[int, ...], sets: list[str], seeds: int, methods: list[str]) -> Iterator[dict[str, Any]]:
    """Yield all runs; an interrupted comparison has few samples of everything rather than all of something."""
    for seed in range(seeds):
        for size in sizes:
            for name in sets:
                for method in methods:
                    yield {"set": name, "size": size, "seed": seed, "method": method}


@click.command(cls=Command)
@click.option(
    "--data-dir",
    required=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder with folders named after the sets.",
)
@click.option("--results", required=True, type=click.Path(dir_okay=False, path_type=Path), help="JSON lines.")
@click.option("--sets", "set_names", default=",".join(SETS), help="Names, separated by commas.")
@click.option("--methods", "method_names", default=",".join(METHODS), help="Names, separated by commas.")
@click.option("--size", "sizes", type=click.IntRange(1), multiple=True, default=SIZES, help="Labels per class.")
@click.option("--samples", default=5, type=click.IntRange(1), help="Samples of each size and set.")
@click.option("--max-tested", default=600, type=click.IntRange(1), help="Maximum number of test texts of a set.")
@click.option("--encoder", default=EMBEDDED_ENCODER, help="Encoder of all methods but TF-IDF.")
@click.option("--max-length", default=128, type=click.IntRange(3), help="Wordpieces at which a text is cut.")
@click.option("--recipe-options", default="--recipe auto", help="Options of train_model.py for the recipe.")
@click.option(
    "--setfit-python",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Interpreter with bench/requirements-setfit.txt.",
)
@click.option(
    "--checkpoint",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder of the encoder for sentence-transformers.",
)
@click.option("--only-report", is_flag=True, help="Print the tables of the results so far.")
def main(
    data_dir: Path,
    results: Path,
    set_names: str,
    method_names: str,
    sizes: tuple[int, ...],
    samples: int,
    max_tested: int,
    encoder: str,
    max_length: int,
    recipe_options: str,
    setfit_python: Path | None,
    checkpoint: Path | None,
    only_report: bool,
) -> None:
    """Measure accuracy with few labels per class, next to other methods."""
    sets = chosen_names(set_names, list(SETS), "--sets")
    methods = chosen_names(method_names, list(METHODS), "--methods")
    bench = Bench(encoder, checkpoint, max_length, tuple(recipe_options.split()), setfit_python)
    click.echo(describe_machine())
    if not only_report:
        compare(bench, sets, methods, sizes, samples, data_dir, max_tested, results)
    click.echo(tables(read_lines(results), sets, methods, sizes))


def compare(
    bench: Bench,
    sets: list[str],
    methods: list[str],
    sizes: tuple[int, ...],
    samples: int,
    data_dir: Path,
    max_tested: int,
    results: Path,
) -> None:
    """Do every run that has no line in `results`.

    Raises:
        BenchError: if a set is missing or a method fails.
    """
    say = partial(click.echo, err=True)
    lines = read_lines(results)
    done = {(line["set"], line["size"], line["seed"], line["method"]) for line in lines}
    tasks = {name: read_task(name, data_dir, max_tested) for name in sets}
    results.parent.mkdir(parents=True, exist_ok=True)
    results.write_text("".join(f"{json.dumps(line)}\n" for line in lines), encoding="utf-8")
    for which in planned(sizes, sets, samples, methods):
        if tuple(which[key] for key in ("set", "size", "seed", "method")) in done:
            continue
        task = tasks[which["set"]]
        problem = Problem(task, task.sample(which["size"], which["seed"]), which["seed"])
        line = {**which, "texts": len(problem.sample.texts), "tested": len(task.tested.texts)}
        line |= figures_of(METHODS[which["method"]][1](bench, problem), task)
        with results.open("a", encoding="utf-8") as file:
            file.write(f"{json.dumps(line)}\n")
        say(f"{which['set']} {which['size']} {which['seed']} {which['method']}: {line['accuracy']:.1%}")


def tables(lines: list[Line], sets: list[str], methods: list[str], sizes: tuple[int, ...]) -> str:
    """Return all tables of the chosen sets, methods and sizes."""
    chosen = [line for line in lines if line["set"] in sets]
    titles = {name: METHODS[name][0] for name in methods}
    parts = [
        "A cell has the mean over the sets that a method has, and their number and that of the samples. Methods with "
        "other numbers are not comparable; the differences are.",
        f"Accuracy:\n\n{figures_table(chosen, titles, sizes, 'accuracy', '{:.1%}')}",
        f"Calibration error:\n\n{figures_table(chosen, titles, sizes, 'ece', '{:.3f}')}",
        f"Seconds:\n\n{figures_table(chosen, titles, sizes, 'seconds', '{:.0f}')}",
        sets_table(chosen, titles, sizes, sets),
    ]
    if "recipe" in methods:
        paired = advantage_table(chosen, "recipe", titles, sizes)
        parts.insert(2, f"Difference of accuracy in points, 95% interval, and samples:\n\n{paired}")
    return "\n\n".join(parts)


if __name__ == "__main__":
    main()
