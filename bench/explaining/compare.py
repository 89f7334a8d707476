"""Explanations next to shap's PartitionExplainer, leave-one-out and random values, on the same model and texts.

Deletion curves: the words with the largest values for the predicted class are removed, and its probability must fall.
All methods with the same baseline evaluate the same function. Each result is a line of --results; a repeated run skips
what is there.

    python bench/explaining/compare.py --input reviews.csv --results explaining.jsonl

See bench/README.md.
"""

import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

if not __package__:  # Run as a file: put the repository root on the path.
    sys.path[0] = str(Path(__file__).resolve().parents[2])

import click
import numpy as np
from scipy.stats import spearmanr

from bench.errors import BenchError
from bench.explaining.problem import Masks, Problem, Values, read_problem
from bench.explaining.workers import Line, Worker
from bench.machine import describe_machine
from bench.reports import chosen_names
from inference import Inference
from textclf.cli.commands import Command
from textclf.data.scoring_input import open_input
from textclf.explain.explainer import DEFAULT_EVALUATIONS
from textclf.explain.masked_text import ATTENTION, BASELINES, DELETION, MASK
from textclf.explain.owen import owen_values

SHARES = (0.1, 0.2)
# How words are removed from the text that is measured.
REMOVALS = (DELETION, MASK)
_WORKER = Path(__file__).with_name("shap_worker.py")


@dataclass(frozen=True)
class Found:
    """Values of the words for the predicted class, [words], and the evaluations that they took."""

    values: Values
    evaluations: int


def owen(baseline: str) -> Callable[[Problem, int, "Shap | None"], Found]:
    """This project's values."""

    def method(problem: Problem, evaluations: int, _shap: "Shap | None") -> Found:
        found = owen_values(problem.function(baseline), problem.tree, evaluations)
        return Found(found.values[:, problem.predicted], found.evaluations)

    return method


def leave_one_out(problem: Problem, _evaluations: int, _shap: "Shap | None") -> Found:
    """The fall of the probability without one word."""
    masks = np.concatenate([np.ones((1, len(problem)), np.bool_), ~np.eye(len(problem), dtype=np.bool_)])
    values = problem.function(DELETION)(masks)[:, problem.predicted]
    return Found(values[0] - values[1:], len(masks))


def random_values(problem: Problem, _evaluations: int, _shap: "Shap | None") -> Found:
    """Random numbers, equal for equal texts."""
    seed = [ord(char) for char in problem.text[:50]]
    return Found(np.random.default_rng(seed).random(len(problem)), 0)


def shap_values(baseline: str) -> Callable[[Problem, int, "Shap | None"], Found]:
    """shap's PartitionExplainer with the same function of masks."""

    def method(problem: Problem, evaluations: int, shap: "Shap | None") -> Found:
        if shap is None:
            raise BenchError("shap: expected --shap-python, got none; give it, or choose other --methods")
        return shap.values(problem, problem.function(baseline), evaluations)

    return method


METHODS: dict[str, Callable[[Problem, int, "Shap | None"], Found]] = {
    "owen-deletion": owen(DELETION),
    "owen-mask": owen(MASK),
    "owen-attention": owen(ATTENTION),
    "shap-mask": shap_values(MASK),
    "shap-deletion": shap_values(DELETION),
    "leave-one-out": leave_one_out,
    "random": random_values,
}


class Shap:
    """The worker process of shap, in an environment of its own.

    Args:
        python: interpreter that has shap.
    """

    def __init__(self, python: Path) -> None:
        self._worker = Worker(python, _WORKER)

    def values(self, problem: Problem, function: Callable[[Masks], Values], evaluations: int) -> Found:
        """Values for the predicted class."""
        names = list(problem.predictor.class_names)
        answer = self._worker.ask({"words": problem.word_texts, "evaluations": evaluations, "classes": names})
        used = 0
        while "masks" in answer:
            masks = np.array(answer["masks"], np.bool_)
            used += len(masks)
            answer = self._worker.ask({"values": function(masks).tolist()})
        return Found(np.array(answer["result"])[:, problem.predicted], used)

    def close(self) -> None:
        """End the process."""
        self._worker.close()


def falls(problem: Problem, values: Values) -> Line:
    """The fall of the predicted class's probability without the words with the largest values, by removal and share."""
    order = np.argsort(-values, kind="stable")
    masks = [np.ones(len(problem), np.bool_)]
    for share in SHARES:
        mask = np.ones(len(problem), np.bool_)
        mask[order[: int(np.ceil(share * len(problem)))]] = False
        masks.append(mask)
    found: Line = {}
    for removal in REMOVALS:
        probabilities = problem.function(removal)(np.array(masks))[:, problem.predicted]
        for share, probability in zip(SHARES, probabilities[1:], strict=True):
            found[f"{removal} {share:.0%}"] = float(probabilities[0] - probability)
    return found


def read_lines(path: Path) -> list[Line]:
    """Read the results so far; a last line that a killed run left incomplete is not one."""
    if not path.exists():
        return []
    complete = path.read_text(encoding="utf-8").rpartition("\n")[0]
    return [json.loads(line) for line in complete.splitlines()]


def texts_of(path: Path, count: int, seed: int) -> list[str]:
    """A random choice of the texts of a table."""
    table = open_input(path, "text")

    def refuse(_row: int, error: Exception) -> None:
        raise error

    texts = [str(fields[table.columns.text]) for _, fields in table.rows(refuse)]
    return [texts[at] for at in np.random.default_rng(seed).permutation(len(texts))[:count]]


def report(lines: list[Line]) -> str:
    """Tables of means: falls of the probability, evaluations and seconds by method, and rank correlations."""
    columns = [f"{removal} {share:.0%}" for removal in REMOVALS for share in SHARES]
    rows = [
        f"| method | texts | {' | '.join(columns)} | evaluations | seconds, median |",
        f"| --- |{' ---: |' * (len(columns) + 3)}",
    ]
    for method in METHODS:
        if own := [line for line in lines if line["method"] == method]:
            means = (f"{np.mean([line['falls'][column] for line in own]):.3f}" for column in columns)
            evaluations = np.mean([line["evaluations"] for line in own])
            seconds = np.median([line["seconds"] for line in own])
            rows.append(f"| {method} | {len(own)} | {' | '.join(means)} | {evaluations:.0f} | {seconds:.2f} |")
    for baseline in BASELINES:
        if own := [line for line in lines if line["method"] == f"ranks-{baseline}"]:
            ranks = [line["rank_correlation"] for line in own]
            rows.append(
                f"\nrank correlation with {own[0]['times']} times the evaluations, {baseline}: median "
                f"{np.median(ranks):.3f}, lowest {min(ranks):.3f} ({len(ranks)} texts)"
            )
    return "\n".join(rows)


@click.command(cls=Command)
@click.option("--input", "input_path", required=True, type=click.Path(path_type=Path), help="Table of texts.")
@click.option("--results", required=True, type=click.Path(dir_okay=False, path_type=Path), help="JSON lines.")
@click.option("--model-path", default="model", help="Model store.")
@click.option("--with-cascade", is_flag=True, help="Explain both stages together; by default the encoder alone.")
@click.option("--methods", "method_names", default=",".join(METHODS), help="Names, separated by commas.")
@click.option("--texts", default=20, type=click.IntRange(1), help="Number of texts.")
@click.option("--max-length", default=128, type=click.IntRange(3), help="Wordpieces at which a text is cut.")
@click.option("--evaluations", default=DEFAULT_EVALUATIONS, type=click.IntRange(2), help="Evaluations of a text.")
@click.option("--times", default=20, type=click.IntRange(2), help="Factor of the evaluations for rank correlations.")
@click.option("--ranked", default=0, type=click.IntRange(0), help="Number of texts for rank correlations.")
@click.option("--baseline", type=click.Choice(BASELINES), default=DELETION, help="Baseline of the rank correlations.")
@click.option("--seed", default=0, help="Random seed of the choice of texts.")
@click.option("--shap-python", type=click.Path(path_type=Path), help="Interpreter that has shap.")
def main(
    input_path: Path,
    results: Path,
    model_path: str,
    with_cascade: bool,
    method_names: str,
    texts: int,
    max_length: int,
    evaluations: int,
    times: int,
    ranked: int,
    baseline: str,
    seed: int,
    shap_python: Path | None,
) -> None:
    """Compare explanations, and print tables."""
    methods = chosen_names(method_names, list(METHODS), "--methods")
    click.echo(describe_machine())
    predictor = Inference(model_path, cascade=with_cascade).predictor
    predictor.warm_up()
    lines = read_lines(results)
    done = {(line["at"], line["method"], line["evaluations_allowed"]) for line in lines}
    shap = Shap(shap_python) if shap_python is not None else None
    with open(results, "a", encoding="utf-8") as file:

        def keep(line: Line) -> None:
            lines.append(line)
            file.write(json.dumps(line) + "\n")
            file.flush()

        for at, text in enumerate(texts_of(input_path, texts, seed)):
            problem = read_problem(text, predictor, max_length)
            if problem is None:
                continue
            shared = {"at": at, "words": len(problem), "evaluations_allowed": evaluations}
            for method in methods:
                if (at, method, evaluations) in done:
                    continue
                start = time.perf_counter()
                found = METHODS[method](problem, evaluations, shap)
                seconds = time.perf_counter() - start
                keep(
                    shared
                    | {
                        "method": method,
                        "evaluations": found.evaluations,
                        "seconds": seconds,
                        "falls": falls(problem, found.values),
                    }
                )
            name = f"ranks-{baseline}"
            if at < ranked and (at, name, evaluations) not in done:
                few, many = (
                    owen(baseline)(problem, count, None).values for count in (evaluations, times * evaluations)
                )
                keep(
                    shared | {"method": name, "times": times, "rank_correlation": float(spearmanr(few, many).statistic)}
                )
    if shap is not None:
        shap.close()
    click.echo(report([line for line in lines if line["evaluations_allowed"] == evaluations]))


if __name__ == "__main__":
    main()
