"""Engines without HTTP: texts per second by batch and length, next to the measured roofline.

    python -m bench.serving.engines --peers-python /path/to/peers/bin/python

Every engine has its own process and the same number of threads. Engines take turns in each round: a busy machine slows
all of them. See bench/README.md.
"""

import contextlib
import dataclasses
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

if not __package__:  # Run as a file: put the repository root on the path.
    sys.path[0] = str(Path(__file__).resolve().parents[2])

import click
import numpy as np

from bench.arithmetic import EncoderShape, markdown_table, ratios, roofline, spread, texts_at
from bench.errors import BenchError
from bench.machine import describe_machine, keep_to_cores
from bench.reports import chosen_names, write_json
from bench.serving.peer_models import make_peer_models
from bench.serving.servers import ROOT
from textclf.cli.commands import Command
from textclf.store.model_store import open_model
from textclf.tokenization.tokenizer import Tokenizer

OURS = "project"
TITLES = {
    OURS: "this project",
    "saved-model": "SavedModel float32",
    "torch": "PyTorch float32",
    "torch-bfloat16": "PyTorch bfloat16",
    "onnx": "ONNX Runtime int8",
}
# [m, k] x [k, n]: a large square product, and the feed-forward layer of a small BERT at 8 x 128 and 1 x 256 tokens.
PRODUCTS = ((2048, 2048, 2048), (1024, 384, 1536), (256, 384, 1536))
# Workers that multiply matrices -> precision. CPUs with AMX multiply tiles of bfloat16 and int8.
PRODUCT_WORKERS = {
    "gemm-numpy": "float32",
    "gemm-torch": "float32",
    "gemm-bfloat16": "bfloat16",
    "gemm-int8": "int8",
}
# Thread pools spin for a moment after their work, on the cores of the next engine.
_PAUSE_SECONDS = 0.25


class Shape(NamedTuple):
    """Batch of texts of one length in tokens, [CLS] and [SEP] included."""

    batch: int
    tokens: int

    def __str__(self) -> str:
        return f"{self.batch} x {self.tokens}"


SHAPES = tuple(Shape(*pair) for pair in ((1, 16), (1, 64), (1, 128), (1, 256), (8, 32), (8, 128), (8, 256), (32, 128)))


class Worker:
    """Engine in its own process, which runs bench.serving.engine_worker or bench.drift.mmd_worker.

    Args:
        name: name of the engine.
        python: interpreter to run.
        folder: folder or file that the engine reads.
        threads: number of compute threads.
        log: file for the output of the process.
        module: module to run.

    Raises:
        BenchError: if the process ends before it responds.
    """

    def __init__(
        self,
        name: str,
        python: str,
        folder: Path,
        threads: int,
        log: Path,
        module: str = "bench.serving.engine_worker",
    ) -> None:
        self.name = name
        self.log = log
        command = [python, "-m", module, name, str(folder), str(threads)]
        limits = {variable: str(threads) for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}
        quiet = {"TF_CPP_MIN_LOG_LEVEL": "3", "HF_HUB_OFFLINE": "1"}
        with open(log, "w") as errors:
            self._process = subprocess.Popen(  # noqa: S603 (an interpreter that the user named)
                command,
                cwd=ROOT,
                env={**os.environ, **limits, **quiet},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
        self._read()

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """Send a request; return the response."""
        time.sleep(_PAUSE_SECONDS)
        if self._process.stdin is not None:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
        return self._read()

    def stop(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate()

    def _read(self) -> dict[str, Any]:
        line = self._process.stdout.readline() if self._process.stdout is not None else ""
        if not line:
            last = self.log.read_text(encoding="utf-8", errors="replace").strip().rpartition("\n")[2]
            raise BenchError(f"{self.name}: ended before it responded; {self.log}: {last[:300]}")
        response: dict[str, Any] = json.loads(line)
        return response


@dataclasses.dataclass(frozen=True)
class Results:
    """Results of all rounds.

    Attributes:
        texts_per_second: one value per round, by engine and shape.
        float32_flops: fastest matrix product of each round, in operations per second.
        product_flops: rate of each matrix product in each round, by precision and size.
        logits: logits of the first round, [batch, classes], by engine and shape.
    """

    texts_per_second: dict[str, dict[Shape, list[float]]]
    float32_flops: list[float]
    product_flops: dict[str, dict[tuple[int, int, int], list[float]]]
    logits: dict[str, dict[Shape, Any]]

    def best_flops(self) -> list[float]:
        """Return the fastest matrix product of each round in bfloat16 or int8, of any size."""
        rates = [values for name, sizes in self.product_flops.items() if name != "float32" for values in sizes.values()]
        return [max(round_) for round_ in zip(*rates, strict=True)]


def encoder_shape(hugging_face: Path) -> EncoderShape:
    """Read the sizes from the config.json that bench.serving.to_hugging_face wrote."""
    config = json.loads((hugging_face / "config.json").read_text(encoding="utf-8"))
    return EncoderShape(
        config["num_hidden_layers"], config["hidden_size"], config["intermediate_size"], len(config["id2label"])
    )


def texts_of_length(tokens: int, count: int, tokenizer: Tokenizer, seed: int = 0) -> list[str]:
    """Return texts of exactly `tokens` wordpieces, [CLS] and [SEP] included, from random one-piece words.

    The words of a text do not change the time to compute it.
    """
    words = [piece for piece in tokenizer.vocabulary if piece.isascii() and piece.isalpha() and piece.islower()]
    chance = random.Random(seed)  # noqa: S311
    return [" ".join(chance.choices(words, k=tokens - 2)) for _ in range(count)]


def requests_of(shapes: Sequence[Shape], tokenizer: Tokenizer, seconds: float) -> dict[Shape, dict[str, Any]]:
    """Return the request to the workers for each shape.

    Raises:
        BenchError: if a text does not have the length of its shape.
    """
    requests = {}
    for shape in shapes:
        texts = texts_of_length(shape.tokens, shape.batch, tokenizer)
        ids = [text.ids for text in tokenizer(texts)]
        if {len(row) for row in ids} != {shape.tokens}:
            raise BenchError(f"expected texts of {shape.tokens} wordpieces, got {sorted({len(row) for row in ids})}")
        requests[shape] = {"texts": texts, "ids": ids, "seconds": seconds}
    return requests


def measure(
    engines: Sequence[Worker],
    gemms: Sequence[Worker],
    requests: Mapping[Shape, dict[str, Any]],
    rounds: int,
    seconds: float,
) -> Results:
    """Measure all engines in turn, shape by shape, in reverse order every second round."""
    found = Results(
        {each.name: {shape: [] for shape in requests} for each in engines},
        [],
        {name: {product: [] for product in PRODUCTS} for name in PRODUCT_WORKERS.values()},
        {each.name: {} for each in engines},
    )
    for number in range(rounds):
        click.echo(f"round {number + 1} of {rounds}", err=True)
        for product in PRODUCTS:
            rates: dict[str, float] = {}
            for worker in gemms:
                response = worker.ask({"product": product, "seconds": seconds})
                name = PRODUCT_WORKERS[worker.name]
                rate = 2.0 * product[0] * product[1] * product[2] / response["seconds"]
                rates[name] = max(rate, rates.get(name, 0.0))
            for name, rate in rates.items():
                found.product_flops[name][product].append(rate)
        found.float32_flops.append(max(values[-1] for values in found.product_flops["float32"].values()))
        for shape, request in requests.items():
            for worker in engines if number % 2 == 0 else reversed(engines):
                response = worker.ask(request)
                found.texts_per_second[worker.name][shape].append(shape.batch / response["seconds"])
                found.logits[worker.name].setdefault(shape, response["logits"])
    return found


def speed_table(found: Results, shape_of_encoder: EncoderShape) -> str:
    """Return a table of texts per second (medians), and this project's shares of the rooflines."""
    names = list(found.texts_per_second)
    rows = []
    for shape in found.texts_per_second[names[0]]:
        rates = {name: found.texts_per_second[name][shape] for name in names}
        roofs = [roofline(flops, shape_of_encoder, shape.tokens) for flops in found.float32_flops]
        cells = [str(shape), *(f"{spread(rates[name]).median:.1f}" for name in names), f"{spread(roofs).median:.0f}"]
        if OURS in names:
            best = [texts_at(flops, shape_of_encoder, shape.tokens) for flops in found.best_flops()]
            cells += [f"{ratios(rates[OURS], roof).median:.0%}" for roof in (roofs, best)]
        rows.append(cells)
    share = [f"{TITLES[OURS]} / roofline", "/ fastest product"] if OURS in names else []
    return markdown_table(["batch x tokens", *(TITLES[name] for name in names), "roofline", *share], rows)


def product_table(found: Results) -> str:
    """Return a table of the rates of matrix products in GFLOP/s: median and range of the rounds."""
    rows = []
    for product in PRODUCTS:
        cells = [spread([rate / 1e9 for rate in sizes[product]]) for sizes in found.product_flops.values()]
        rows.append([" x ".join(map(str, product)), *(f"{c.median:.0f} ({c.low:.0f} to {c.high:.0f})" for c in cells)])
    return markdown_table(["GFLOP/s, m x k x n", *found.product_flops], rows)


def ratio_table(found: Results) -> str:
    """Return a table of ratios of this project to each engine: median and range of the rounds."""
    names = [name for name in found.texts_per_second if name != OURS]
    rows = []
    for shape, ours in found.texts_per_second[OURS].items():
        cells = [ratios(ours, found.texts_per_second[name][shape]) for name in names]
        rows.append([str(shape), *(f"{cell.median:.2f} ({cell.low:.2f} to {cell.high:.2f})" for cell in cells)])
    return markdown_table([f"{TITLES[OURS]} /", *(TITLES[name] for name in names)], rows)


def largest_differences(found: Results, reference: str) -> dict[str, float]:
    """Return the maximum difference of each engine's logits from those of the reference engine."""
    return {
        name: max(float(np.abs(np.subtract(logits[shape], found.logits[reference][shape])).max()) for shape in logits)
        for name, logits in found.logits.items()
        if name != reference
    }


def _shapes(_context: click.Context, _parameter: click.Parameter, text: str) -> list[Shape]:
    try:
        shapes = [Shape(*map(int, part.split("x"))) for part in text.split(",")]
    except (ValueError, TypeError):
        raise click.BadParameter(f"expected BATCHxTOKENS, separated by commas, got {text!r}") from None
    if any(shape.batch < 1 or shape.tokens < 3 for shape in shapes):
        raise click.BadParameter(f"expected a batch of at least 1 text and 3 tokens, got {text!r}")
    return shapes


@click.command(cls=Command)
@click.option("--model-path", default="model", help="Model store, or folder of a version with its saved_model/.")
@click.option("--engines", default=",".join(TITLES), help="Names, separated by commas.")
@click.option(
    "--shapes",
    default=",".join(f"{a}x{b}" for a, b in SHAPES),
    callback=_shapes,
    help="BATCHxTOKENS, separated by commas.",
)
@click.option("--threads", default=2, type=click.IntRange(1), help="Number of threads of each engine, and of cores.")
@click.option(
    "--rounds", default=5, type=click.IntRange(1), help="Number of rounds; each measures every engine with every shape."
)
@click.option("--seconds", default=1.0, type=click.FloatRange(0.01), help="Seconds of each measurement.")
@click.option(
    "--python", default=sys.executable, help="Interpreter for this project's engine.", show_default="this one"
)
@click.option(
    "--peers-python",
    default=sys.executable,
    help="Interpreter with bench/requirements.txt.",
    show_default="this one",
)
@click.option(
    "--work-dir",
    default="runs/bench",
    type=click.Path(path_type=Path),
    help="Working folder for the models of the peers and the logs.",
)
@click.option(
    "--json",
    "json_path",
    type=click.Path(path_type=Path),
    help="Also write all results of every round to this JSON file.",
)
def main(
    model_path: str,
    engines: str,
    shapes: list[Shape],
    threads: int,
    rounds: int,
    seconds: float,
    python: str,
    peers_python: str,
    work_dir: Path,
    json_path: Path | None,
) -> None:
    """Measure engines without HTTP."""
    names = chosen_names(engines, list(TITLES), "--engines")
    keep_to_cores(threads)
    version = open_model(model_path)
    longest = max(shape.tokens for shape in shapes)
    if longest > version.manifest.max_length:
        raise BenchError(f"--shapes: expected at most the model's {version.manifest.max_length} tokens, got {longest}")
    work = (work_dir / version.id).absolute()
    make_peer_models(version, work, peers_python)
    encoder = encoder_shape(work / "hugging_face")
    requests = requests_of(shapes, Tokenizer.load(version.part("engine")), seconds)
    machine = describe_machine()
    click.echo(f"{machine}\nmodel {version.id}, {threads} threads")

    with contextlib.ExitStack() as stack:

        def start(name: str, interpreter: str, folder: Path) -> Worker:
            worker = Worker(name, interpreter, folder, threads, work / f"engine-{name}.log")
            stack.callback(worker.stop)
            return worker

        folders = {OURS: version.path.absolute(), "saved-model": work / "saved_model", "onnx": work / "onnx"}
        workers = [
            start(name, python if name == OURS else peers_python, folders.get(name, work / "hugging_face"))
            for name in names
        ]
        gemms = [start(name, python if name == "gemm-numpy" else peers_python, work) for name in PRODUCT_WORKERS]
        found = measure(workers, gemms, requests, rounds, seconds)

    click.echo(f"\nMatrix products:\n\n{product_table(found)}")
    click.echo(f"\nTexts per second, medians of {rounds} rounds of {seconds:g} s:\n\n{speed_table(found, encoder)}")
    if OURS in names and len(names) > 1:
        click.echo(f"\nRatios, round by round:\n\n{ratio_table(found)}")
    if "saved-model" in names:
        for name, difference in largest_differences(found, "saved-model").items():
            click.echo(f"logits of {TITLES[name]}: within {difference:.2g} of the SavedModel's")
    if json_path is not None:
        write_json(
            json_path,
            {
                "machine": machine,
                "model": version.id,
                "options": click.get_current_context().params,
                "float32_flops": found.float32_flops,
                "product_flops": {
                    name: {"x".join(map(str, product)): rates for product, rates in sizes.items()}
                    for name, sizes in found.product_flops.items()
                },
                "gflop_a_text": {str(shape): encoder.flops(shape.tokens) / 1e9 for shape in shapes},
                "texts_per_second": {
                    name: {str(shape): values for shape, values in rates.items()}
                    for name, rates in found.texts_per_second.items()
                },
            },
        )


if __name__ == "__main__":
    main()
