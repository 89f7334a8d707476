"""Time of one explanation: this project's, and shap's on a Hugging Face pipeline with the same weights.

    python bench/explaining/speed.py --model-path STORE --input reviews.csv --hugging-face FOLDER --shap-python PYTHON

Both explain each text in turn, with the same maximum number of evaluations. See bench/README.md.
"""

import sys
import time
from pathlib import Path

if not __package__:  # Run as a file: put the repository root on the path.
    sys.path[0] = str(Path(__file__).resolve().parents[2])

import click
import numpy as np

from bench.arithmetic import markdown_table, quantile
from bench.errors import BenchError
from bench.explaining.compare import texts_of
from bench.explaining.problem import read_problem
from bench.explaining.workers import Line, Worker
from bench.machine import describe_machine
from bench.reports import write_json
from inference import Inference
from textclf.cli.commands import Command
from textclf.explain.explainer import DEFAULT_EVALUATIONS, Explainer
from textclf.runtime.cascade import LINEAR

_WORKER = Path(__file__).with_name("pipeline_worker.py")
# The first explanations of both load code.
_WARM_UP = 2


def explained(explainer: Explainer, text: str, evaluations: int) -> Line:
    """Explain a text; {"seconds", "evaluations", "stage"}."""
    start = time.perf_counter()
    (found,) = explainer.explain([text], max_evaluations=evaluations)
    return {"seconds": time.perf_counter() - start, "evaluations": found.evaluations, "stage": found.stage}


def report(lines: dict[str, list[Line]]) -> str:
    """A table of times and evaluations, and the ratio of the times."""
    rows = []
    for name, own in lines.items():
        if own:
            seconds = [line["seconds"] for line in own]
            evaluations = np.mean([line["evaluations"] for line in own])
            times = (f"{1000 * quantile(seconds, share):.1f}" for share in (0.5, 0.95))
            rows.append([name, str(len(own)), *times, f"{evaluations:.0f}"])
    table = markdown_table(["explanation", "texts", "p50 ms", "p95 ms", "evaluations"], rows)
    if not lines["pipeline"]:
        return table
    ratios = [
        theirs["seconds"] / ours["seconds"] for theirs, ours in zip(lines["pipeline"], lines["project"], strict=True)
    ]
    return f"{table}\n\npipeline / project, by text: median {np.median(ratios):.1f}, lowest {min(ratios):.1f}"


@click.command(cls=Command)
@click.option("--input", "input_path", required=True, type=click.Path(path_type=Path), help="Table of texts.")
@click.option("--model-path", default="model", help="Model store.")
@click.option("--texts", default=40, type=click.IntRange(1), help="Number of texts.")
@click.option("--max-length", default=128, type=click.IntRange(3), help="Wordpieces at which a text is cut.")
@click.option("--evaluations", default=DEFAULT_EVALUATIONS, type=click.IntRange(2), help="Evaluations of a text.")
@click.option("--seed", default=0, help="Random seed of the choice of texts.")
@click.option("--hugging-face", "folder", type=click.Path(exists=True, path_type=Path), help="Model of the pipeline.")
@click.option("--shap-python", type=click.Path(path_type=Path), help="Interpreter that has shap and transformers.")
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Also write the times to this JSON file.")
def main(
    input_path: Path,
    model_path: str,
    texts: int,
    max_length: int,
    evaluations: int,
    seed: int,
    folder: Path | None,
    shap_python: Path | None,
    json_path: Path | None,
) -> None:
    """Measure the time of explanations."""
    if (folder is None) != (shap_python is None):
        raise BenchError("expected --hugging-face and --shap-python together, got one of them; give both or none")
    click.echo(describe_machine())
    encoder = Explainer(Inference(model_path, cascade=False).predictor)
    cascade = Explainer(Inference(model_path).predictor)
    pipeline = None
    if folder is not None and shap_python is not None:
        pipeline = Worker(shap_python, _WORKER, str(folder), str(max_length))
    problems = (read_problem(text, encoder.predictor, max_length) for text in texts_of(input_path, texts, seed))
    cut = [problem.text for problem in problems if problem is not None]
    lines: dict[str, list[Line]] = {"project": [], "linear stage": [], "pipeline": []}
    for position, text in enumerate([*cut[:_WARM_UP], *cut]):
        found = {
            "project": explained(encoder, text, evaluations),
            "linear stage": explained(cascade, text, evaluations),
        }
        if pipeline is not None:
            found["pipeline"] = pipeline.ask({"text": text, "evaluations": evaluations})
        if position >= _WARM_UP:
            for name, line in found.items():
                if name != "linear stage" or line["stage"] == LINEAR:
                    lines[name].append(line)
    if pipeline is not None:
        pipeline.close()
    click.echo(report(lines))
    if json_path is not None:
        write_json(json_path, {"machine": describe_machine(), "lines": lines})


if __name__ == "__main__":
    main()
